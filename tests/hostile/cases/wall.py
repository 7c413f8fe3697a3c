"""Wall clock: programs that simply do not end, whatever they do with signals, stops and pipes."""

from hostile.expect import limit_reported
from hostile.model import COMPLETED, Case

CASES = [
    Case(
        name="sleep",
        why="hold a slot without using anything",
        programs={
            "python3": "import time; time.sleep(1e6)",
            "node": "setInterval(() => 0, 1e6)",
            "bash": "sleep 1000000",
            "ruby": "sleep",
        },
        verdict="timeout",
        checks=(limit_reported,),
    ),
    Case(
        name="all-signals-ignored",
        why="whoever asks politely is not answered",
        programs={
            "python3": """
                import signal, time
                for number in range(1, 65):
                    try:
                        signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                while True:
                    time.sleep(60)
            """,
            "node": """
                for (const name of Object.keys(require("node:os").constants.signals))
                    try { process.on(name, () => 0); } catch {}
                setInterval(() => 0, 1000);
            """,
            "bash": """
                for n in $(seq 1 64); do trap '' $n 2>/dev/null; done
                while :; do sleep 60; done
            """,
            "ruby": """
                (1..64).each { |n| trap(n, "IGNORE") rescue nil }
                loop { sleep 60 }
            """,
        },
        verdict="timeout",
    ),
    Case(
        name="success-when-asked-to-stop",
        why="answer the end of time with exit code 0",
        programs={
            "python3": """
                import os, signal, time
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
                    signal.signal(number, lambda *_: os._exit(0))
                while True:
                    time.sleep(60)
            """,
            "node": """
                for (const name of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(name, () => process.exit(0));
                setInterval(() => 0, 1000);
            """,
            "bash": """
                trap 'exit 0' TERM INT HUP ALRM XCPU
                while :; do sleep 0.1; done
            """,
            "ruby": """
                %w[TERM INT HUP ALRM XCPU].each { |name| trap(name) { exit! 0 } }
                loop { sleep 60 }
            """,
        },
        verdict="timeout",
    ),
    Case(
        name="stops-itself",
        why="a stopped process neither runs nor ends",
        programs={
            "python3": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
            "node": "process.kill(process.pid, 'SIGSTOP'); setInterval(() => 0, 1000)",
            "bash": "kill -STOP $$; sleep 60",
            "ruby": "Process.kill(:STOP, Process.pid); sleep",
        },
        verdict="timeout",
    ),
    Case(
        name="stops-its-group-and-parents",
        why="stop everything that can be reached, the supervisor's helper included",
        programs={
            "python3": """
                import os, signal, time
                for target in (os.getppid(), 1, 0, -1):
                    try:
                        os.kill(target, signal.SIGSTOP)
                    except OSError as error:
                        print(error, flush=True)
                time.sleep(60)
            """,
            "bash": """
                kill -STOP $PPID; kill -STOP 1; kill -STOP 0; kill -STOP -1
                sleep 60
            """,
            "ruby": """
                [Process.ppid, 1, 0, -1].each { |pid| Process.kill(:STOP, pid) rescue nil }
                sleep
            """,
            "node": """
                for (const pid of [process.ppid, 1, 0, -1]) try { process.kill(pid, "SIGSTOP"); } catch {}
                setInterval(() => 0, 1000);
            """,
        },
        verdict="timeout",
    ),
    Case(
        name="lives-on-without-output",
        why="closed pipes look like the end to whoever waits for end-of-file",
        programs={
            "python3": """
                import os, time
                os.write(1, b"before closing\\n")
                os.close(0); os.close(1); os.close(2)
                time.sleep(60)
            """,
            "node": """
                const fs = require("node:fs");
                fs.writeSync(1, "before closing\\n");
                for (const fd of [0, 1, 2]) fs.closeSync(fd);
                setInterval(() => 0, 1000);
            """,
            "bash": """
                echo before closing
                exec 0<&- 1>&- 2>&-
                sleep 60
            """,
            "ruby": """
                $stdout.syswrite("before closing\\n")
                [0, 1, 2].each { |fd| IO.for_fd(fd, autoclose: false).close }
                sleep
            """,
        },
        verdict="timeout",
        prints=("before closing",),
        timeout=6,  # it has to come as far as that
    ),
    Case(
        name="daemon-holds-the-pipe",
        why="the program ends, its daemon keeps standard output open: whoever waits for end-of-file waits forever",
        programs={
            "python3": """
                import os, time
                if os.fork() == 0:
                    os.setsid(); time.sleep(600)
                print("main ends")
            """,
            "node": """
                require("node:child_process").spawn("sleep", ["600"], { detached: true, stdio: "inherit" }).unref();
                console.log("main ends");
            """,
            "bash": """
                setsid sleep 600 &
                echo main ends
            """,
            "ruby": """
                fork { Process.setsid; sleep 600 }
                puts "main ends"
            """,
        },
        verdict=COMPLETED,
        prints=("main ends",),
        timeout=10,
        checks=(),
    ),
    Case(
        name="blocked-in-the-kernel",
        why="open a FIFO that nobody writes to",
        programs={
            "python3": "import os; os.mkfifo('/tmp/f'); open('/tmp/f').read()",
            "bash": "mkfifo /tmp/f; cat /tmp/f",
            "ruby": "File.mkfifo('/tmp/f'); File.read('/tmp/f')",
        },
        verdict="timeout",
    ),
    Case(
        name="signal-storm",
        why="interrupt everything a thousand times a second, the supervisor's reads of the pipe included",
        programs={
            "python3": """
                import os, signal
                signal.signal(signal.SIGALRM, lambda *_: os.write(1, b"."))
                signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
                while True:
                    signal.pause()
            """,
            "bash": """
                trap 'printf .' USR1
                while :; do kill -USR1 $$; done
            """,
        },
        verdict=("timeout", "output"),
    ),
    Case(
        name="clock-set",
        why="turn back the clock that the limit is read from",
        programs={
            "python3": """
                import time
                for clock in (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC):
                    try:
                        time.clock_settime(clock, 0.0); print("REACH" + "ED", clock)
                    except OSError as error:
                        print("refused", error, flush=True)
                time.sleep(60)
            """,
            "bash": """
                date -s '2001-01-01' >/dev/null 2>&1 && echo REACH"ED"
                sleep 60
            """,
        },
        verdict="timeout",
    ),
    Case(
        name="waits-for-input",
        why="read standard input that never comes: the end of input must come at once",
        programs={
            "python3": "import sys; print('read', len(sys.stdin.read()))",
            "node": "console.log('read', require('node:fs').readFileSync(0).length)",
            "bash": "echo read $(cat | wc -c)",
            "ruby": 'puts "read #{$stdin.read.size}"',
        },
        verdict=COMPLETED,
        prints=("read 0",),
        timeout=5,
    ),
    Case(
        name="input-not-read",
        why="input larger than a pipe that the program never takes",
        programs={
            "python3": "import time; time.sleep(0.2); print('not interested')",
            "bash": "sleep 0.2; echo not interested",
        },
        manifest={"stdin": "x" * 300_000},
        verdict=COMPLETED,
        prints=("not interested",),
        timeout=5,
    ),
]
