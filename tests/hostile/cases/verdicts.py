"""Forged verdicts: programs that try to end as something they are not.

The supervisor's own record decides. What a program prints and which code it exits with change nothing.
"""

from hostile.expect import exit_code_is, no_limit_reported, output_count_true
from hostile.model import COMPLETED, Case

EXIT_CODES = (1, 2, 3, 9, 42, 124, 125, 126, 127, 128, 134, 137, 139, 143, 152, 153, 159, 255)


def exits_with(code: int) -> dict[str, str]:
    """A program that ends with this code, in every language."""
    return {
        "python3": f"import sys; print('ends with {code}'); sys.exit({code})",
        "node": f"console.log('ends with {code}'); process.exitCode = {code};",
        "bash": f"echo ends with {code}; exit {code}",
        "ruby": f"puts 'ends with {code}'; exit {code}",
    }


CASES = [
    *(
        Case(
            name=f"exit-code-{code}",
            why="codes that look like a kill, a timeout or a forbidden system call are still only exit codes",
            programs=exits_with(code) if code in (3, 137, 159, 255) else {"bash": exits_with(code)["bash"]},
            verdict="exit",
            prints=(f"ends with {code}",),
            checks=(exit_code_is(code), no_limit_reported),
            timeout=10,
        )
        for code in EXIT_CODES
    ),
    Case(
        name="exit-code-256",
        why="codes wrap at 256: a program that exits with 256 has exited with 0",
        programs={"python3": "import os; os._exit(256)", "bash": "exit 256", "ruby": "exit! 256"},
        verdict=COMPLETED,
        checks=(exit_code_is(0),),
        timeout=10,
    ),
    Case(
        name="status-words-printed",
        why="print what the service itself would say",
        programs={
            "python3": """
                import json, sys
                fake = {"status": "completed", "failure": None, "exit_code": 0, "exit-code": 0, "child-pid": 2,
                        "execution_metadata": {"exit_code": 0, "failure": None, "cpu_seconds": 0}}
                for stream in (sys.stdout, sys.stderr):
                    print(json.dumps(fake), file=stream)
                    print("[STATUS] completed\\n[DONE] Job completed\\n[STDERR]", file=stream)
                sys.exit(3)
            """,
            "node": """
                const fake = JSON.stringify({ status: "completed", failure: null, exit_code: 0, "exit-code": 0 });
                console.log(fake + "\\n[DONE] Job completed"); console.error(fake);
                process.exitCode = 3;
            """,
            "bash": """
                echo '{"status":"completed","failure":null,"exit_code":0,"exit-code":0}' | tee /dev/stderr
                echo '[DONE] Job completed'
                exit 3
            """,
            "ruby": """
                puts '{"status":"completed","failure":null,"exit_code":0,"exit-code":0}'
                puts "[DONE] Job completed"
                exit 3
            """,
        },
        verdict="exit",
        prints=("[DONE] Job completed",),
        never=(),
        checks=(exit_code_is(3), no_limit_reported),
        timeout=10,
    ),
    Case(
        name="limit-words-printed",
        why="claim a limit that was never hit, to be retried or paid for",
        programs={
            "python3": """
                import sys
                print("Killed\\nMemoryError\\nout of memory\\ntimeout: wall clock limit exceeded", file=sys.stderr)
                sys.exit(137)
            """,
            "bash": """
                echo "Killed: memory limit exceeded (oom)" >&2
                exit 137
            """,
        },
        verdict="exit",
        checks=(exit_code_is(137), no_limit_reported),
        timeout=10,
    ),
    Case(
        name="every-descriptor-written",
        why="a status pipe of the supervisor that is left open would believe us",
        programs={
            "python3": """
                import os
                for fd in range(3, 1024):
                    for text in (b'{"exit-code": 0}\\n', b'{"failure": null, "exit_code": 0}\\n'):
                        try:
                            os.write(fd, text); print("REACH" + "ED descriptor", fd)
                        except OSError:
                            pass
                os._exit(3)
            """,
            "bash": """
                for fd in 3 4 5 6 7 8 9; do  # bash keeps its own copies from 10 on
                    { eval "echo '{\\"exit-code\\": 0}' >&$fd"; } 2>/dev/null && echo REACH"ED" descriptor $fd
                done
                exit 3
            """,
            "node": """
                const fs = require("node:fs");
                const own = new Set(fs.readdirSync("/proc/self/fd").filter(fd => {
                    try { return /eventpoll|eventfd|\\/dev\\/null|pipe|io_uring/.test(fs.readlinkSync("/proc/self/fd/" + fd)); }
                    catch { return true; } }));
                for (let fd = 3; fd < 256; fd++) {
                    if (own.has(String(fd))) continue;
                    try { fs.writeSync(fd, '{"exit-code": 0}\\n'); console.log("REACH" + "ED descriptor", fd); } catch {}
                }
                process.exit(3);
            """,
            "ruby": """
                own = ObjectSpace.each_object(IO).map { |io| io.fileno rescue nil }.compact
                (3..255).each do |fd|
                  next if own.include?(fd)
                  begin
                    next if File.readlink("/proc/self/fd/#{fd}") =~ /eventfd|eventpoll|pipe/ # the interpreter's own
                    IO.for_fd(fd, "w", autoclose: false).syswrite('{"exit-code": 0}'); puts "REACH" + "ED descriptor #{fd}"
                  rescue SystemCallError, ArgumentError
                  end
                end
                exit! 3
            """,
        },
        verdict="exit",
        checks=(exit_code_is(3),),
        timeout=10,
    ),
    Case(
        name="parents-descriptors-written",
        why="the pipes of the process above are reachable through /proc if it may be opened",
        programs={
            "python3": """
                import os
                own = {"/dev/null", *(os.readlink(f"/proc/self/fd/{fd}") for fd in range(3))}
                for pid in (p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
                    try:
                        fds = os.listdir(f"/proc/{pid}/fd")
                    except OSError as error:
                        print("refused", error); continue
                    for fd in fds:
                        try:
                            target = os.readlink(f"/proc/{pid}/fd/{fd}")
                            if target in own: continue
                            with open(f"/proc/{pid}/fd/{fd}", "wb", buffering=0) as file:
                                file.write(b'{"exit-code": 0}\\n')
                            print("REACH" + "ED", pid, fd, target)
                        except OSError:
                            pass
                os._exit(3)
            """,
            "bash": """
                out=$(readlink /proc/$$/fd/1) err=$(readlink /proc/$$/fd/2)
                for fd in /proc/[0-9]*/fd/*; do
                    case $fd in /proc/$$/*) continue;; esac
                    case $(readlink $fd) in "$out"|"$err"|/dev/null|'') continue;; esac
                    [ -e "$fd" ] && { echo '{"exit-code": 0}' > "$fd"; } 2>/dev/null && echo REACH"ED" "$fd"
                done
                exit 3
            """,
        },
        verdict="exit",
        checks=(exit_code_is(3),),
        timeout=10,
    ),
    Case(
        name="uncaught-error-after-success",
        why="say that all went well, then fail",
        programs={
            "python3": "print('all tests passed'); raise SystemError('afterwards')",
            "node": "console.log('all tests passed'); throw new Error('afterwards')",
            "bash": "set -e; echo all tests passed; false",
            "ruby": "puts 'all tests passed'; raise 'afterwards'",
        },
        verdict="exit",
        prints=("all tests passed",),
        checks=(exit_code_is(1), no_limit_reported),
        timeout=10,
    ),
    Case(
        name="own-program-rewritten",
        why="what runs is what was submitted: rewriting the file while it runs changes the file, not the record",
        programs={
            "python3": "open(__file__, 'w').write('import sys; sys.exit(0)') if 0 else None\n"
            "import sys\n"
            "try:\n    open(sys.argv[0], 'w').write('pass')\nexcept OSError as error:\n    print(error)\n"
            "sys.exit(4)",
            "bash": 'echo "exit 0" > "$0" 2>/dev/null; exit 4',
        },
        verdict="exit",
        timeout=10,
    ),
    Case(
        name="counts-are-true",
        why="what was written is what is counted, to the byte, on both streams",
        programs={
            "bash": "head -c 70001 /dev/zero | tr '\\0' a; head -c 30003 /dev/zero | tr '\\0' b >&2",
            "python3": "import os; os.write(1, b'a' * 70001); os.write(2, b'b' * 30003)",
        },
        verdict=COMPLETED,
        checks=(output_count_true(70001, 30003),),
        timeout=10,
    ),
]
