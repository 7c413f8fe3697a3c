"""Forged ends: programs that kill, crash or take over what runs them, so that somebody else is to blame.

The supervisor's own record decides. Whom a program kills changes nothing.
"""

from hostile.expect import exit_code_is, no_limit_reported, signal_is
from hostile.model import COMPLETED, Case

CASES = [
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
]
