"""Forged verdicts: programs that try to end as something they are not.

The supervisor's own record decides. What a program prints, which code it exits with and whom it kills change nothing.
"""

from hostile.expect import exit_code_is, no_limit_reported, output_count_true, signal_is
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
        name="killed-by-itself",
        why="SIGKILL from inside looks like a kill for memory or time",
        programs={
            "python3": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "node": "process.kill(process.pid, 'SIGKILL'); setInterval(() => 0, 1000)",
            "bash": "kill -KILL $$",
            "ruby": "Process.kill(:KILL, Process.pid); sleep",
        },
        verdict="signal",
        checks=(signal_is(9), no_limit_reported),
        timeout=10,
    ),
    *(
        Case(
            name=f"signal-{name.lower()}",
            why="signals that also stand for a limit, sent by the program to itself",
            programs={
                "python3": f"import os, signal; signal.signal({number}, signal.SIG_DFL); os.kill(os.getpid(), {number})",
                "bash": f"kill -{number} $$; sleep 5",
            },
            verdict="signal",
            checks=(signal_is(number), no_limit_reported),
            timeout=10,
        )
        for name, number in (
            ("TERM", 15),
            ("ABRT", 6),
            ("SEGV", 11),
            ("SYS", 31),
            ("XCPU", 24),
            ("XFSZ", 25),
            ("ALRM", 14),
        )
    ),
    Case(
        name="real-crash",
        why="a null pointer, an abort and a broken stack are the program's own end",
        programs={
            "python3": "import ctypes; ctypes.string_at(0)",
            "node": "process.abort()",
            "ruby": "require 'fiddle'; Fiddle::Pointer.new(8)[0, 1]",
        },
        verdict="signal",
        checks=(no_limit_reported,),
        timeout=10,
    ),
    Case(
        name="endless-recursion",
        why="exhaust the stack: the language's own error, not the service's",
        programs={
            "python3": "import sys; sys.setrecursionlimit(10**8)\nf = lambda: f()\nf()",
            "node": "const f = () => f() + 1; f()",
            "bash": "f() { f; }; f",
            "ruby": "def f = f() + 1\nf",
        },
        verdict=("exit", "signal", "memory", "timeout"),
        timeout=5,
    ),
    Case(
        name="kills-parent-and-init",
        why="without its parent the program would be its own judge",
        programs={
            "python3": """
                import os, signal, sys, time
                for target in (os.getppid(), 1):
                    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGABRT):
                        try:
                            os.kill(target, number)
                        except OSError as error:
                            print("refused", error)
                time.sleep(0.3)
                print("still here"); sys.exit(5)
            """,
            "node": """
                for (const pid of [process.ppid, 1])
                    for (const name of ["SIGKILL", "SIGTERM", "SIGINT"]) try { process.kill(pid, name); } catch {}
                setTimeout(() => { console.log("still here"); process.exit(5); }, 300);
            """,
            "bash": """
                kill -KILL $PPID 1; kill -TERM $PPID 1; kill -SEGV 1
                sleep 0.3; echo still here; exit 5
            """,
            "ruby": """
                [Process.ppid, 1].each { |pid| %i[KILL TERM INT SEGV].each { |s| Process.kill(s, pid) rescue nil } }
                sleep 0.3; puts "still here"; exit 5
            """,
        },
        verdict="exit",
        prints=("still here",),
        checks=(exit_code_is(5),),
        timeout=10,
    ),
    Case(
        name="kills-everyone",
        why="kill(-1) reaches everything with the same user id that can be seen",
        programs={
            "python3": """
                import os, signal, sys, time
                try:
                    os.kill(-1, signal.SIGKILL)
                except OSError as error:
                    print("refused", error)
                time.sleep(0.3)
                print("still here"); sys.exit(5)
            """,
            "node": """
                try { process.kill(-1, "SIGKILL"); } catch {}
                setTimeout(() => { console.log("still here"); process.exit(5); }, 300);
            """,
            "bash": """
                kill -KILL -1
                sleep 0.3; echo still here; exit 5
            """,
            "ruby": """
                Process.kill(:KILL, -1) rescue nil
                sleep 0.3; puts "still here"; exit 5
            """,
        },
        # bash's own kill -1 spares itself as kill(2) does; node's and ruby's runtime threads belong to the same process.
        verdict="exit",
        prints=("still here",),
        checks=(exit_code_is(5),),
        timeout=10,
    ),
    Case(
        name="kills-its-group",
        why="kill(0) takes the program and whatever shares its group: it must not share one with the supervisor",
        programs={
            "python3": "import os, signal, time; os.kill(0, signal.SIGKILL); time.sleep(5)",
            "bash": "kill -KILL 0; sleep 5",
            "ruby": "Process.kill(:KILL, 0); sleep 5",
            "node": "process.kill(0, 'SIGKILL'); setInterval(() => 0, 1000)",
        },
        verdict="signal",
        checks=(signal_is(9),),
        timeout=10,
    ),
    Case(
        name="success-left-to-a-child",
        why="the main program dies of a signal while a child goes on and exits with 0",
        programs={
            "bash": """
                ( sleep 0.3; echo child done; exit 0 ) &
                kill -KILL $$
            """,
            "python3": """
                import os, signal, time
                if os.fork() == 0:
                    time.sleep(0.3); os._exit(0)
                os.kill(os.getpid(), signal.SIGKILL)
            """,
        },
        verdict="signal",
        checks=(signal_is(9),),
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
    *(
        Case(
            name=f"first-process-taken-over-{label}",
            why="pid 1 of the sandbox reports how the program ended: fill its memory with other code and be its judge",
            programs={
                "python3": f"""
                    import os, platform, sys, time
                    if platform.machine() != "x86_64": sys.exit(0)
                    code = bytes.fromhex("{code}")
                    try:
                        with open("/proc/1/maps") as maps, open("/proc/1/mem", "r+b", buffering=0) as memory:
                            for line in maps:
                                bounds, rights = line.split()[:2]
                                if "x" not in rights or "vsyscall" in line: continue
                                start, end = (int(bound, 16) for bound in bounds.split("-"))
                                try:
                                    memory.seek(start); memory.write(b"\\x90" * (end - start - len(code)) + code)
                                except OSError as error:
                                    print("refused", error)
                    except OSError as error:
                        print("refused", error)
                    os.kill(1, 18)  # SIGCONT: a supervisor may hold it
                    if os.fork() == 0:
                        os._exit(0)
                    time.sleep(0.2); sys.exit(3)
                """,
            },
            verdict=("exit", "signal", COMPLETED, "timeout"),
            timeout=2,
        )
        for label, code in (
            ("success", "31ffb8e70000000f05"),  # exit_group(0)
            ("sleep", "b8220000000f05ebf7"),  # pause() without end
            ("crash", "0f0b"),
            ("stop", "bf0100000031f6b8130000000f05ebfe"),
        )
    ),
    Case(
        name="first-process-woken",
        why="a supervisor that holds pid 1 to read exit records from it: wake it up all the time",
        programs={
            "python3": """
                import os, signal, sys, time
                if os.fork() == 0:
                    while True: os.kill(1, signal.SIGCONT)
                for _ in range(20):
                    if os.fork() == 0:
                        if os.fork() == 0: time.sleep(0.01)
                        os._exit(0)
                    os.wait()
                time.sleep(0.2); sys.exit(5)
            """,
            "bash": """
                (while :; do kill -CONT 1; done) &
                for i in 1 2 3 4 5; do (sleep 0.02 &) ; done
                sleep 0.2; exit 5
            """,
        },
        verdict="exit",
        checks=(exit_code_is(5), no_limit_reported),
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
