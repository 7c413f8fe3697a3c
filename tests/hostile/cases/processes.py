"""Processes: too many of them, hidden ones, and those that try to live on after the job."""

from hostile.expect import ended_within, limit_reported, no_more_than
from hostile.model import COMPLETED, PATIENT_SECONDS, Case

#: A bomb ends when the kernel refuses, when the supervisor acts on it, or when time is up.
BOMB = ("processes", "timeout", "memory", "exit", "signal", COMPLETED)

CASES = [
    Case(
        name="fork-bomb",
        why="double until nothing else can start",
        programs={
            "python3": """
                import os, time
                while True:
                    try:
                        os.fork()
                    except OSError:
                        time.sleep(0.01)
            """,
            "node": """
                const { spawn } = require("node:child_process");
                const again = () => {
                    try { spawn(process.execPath, [__filename], { stdio: "ignore" }).on("error", () => 0); } catch {}
                    setTimeout(again, 5);
                };
                again();
            """,
            "bash": """
                bomb() { bomb | bomb & }
                bomb
                while :; do sleep 0.1; done
            """,
            "ruby": """
                loop do
                  begin
                    fork
                  rescue SystemCallError, NoMemoryError
                    sleep 0.01
                  end
                end
            """,
        },
        verdict=BOMB,
    ),
    Case(
        name="detached-fork-bomb",
        why="the first process ends at once, the bomb goes on without it",
        programs={
            "bash": ":(){ :|:& };:",
            "python3": """
                import os, sys
                if os.fork():
                    sys.exit(0)
                os.setsid()
                while True:
                    try:
                        os.fork()
                    except OSError:
                        pass
            """,
            "ruby": """
                exit! 0 if fork
                Process.setsid
                loop { begin; fork; rescue SystemCallError; end }
            """,
        },
        verdict=BOMB,
        timeout=3,
    ),
    Case(
        name="how-many",
        why="count the processes one job can hold: its own limit must end it, not the container's",
        programs={
            "python3": """
                import os, time
                count = 0
                try:
                    while count < 3000:
                        if os.fork() == 0:
                            time.sleep(60)
                        count += 1
                except OSError as error:
                    print("stopped by", error)
                print("held", count, flush=True)
            """,
            "ruby": """
                count = 0
                begin
                  while count < 3000
                    fork { sleep 60 }
                    count += 1
                  end
                rescue SystemCallError => error
                  puts "stopped by #{error}"
                end
                puts "held #{count}"
            """,
            "node": """
                const { spawn } = require("node:child_process");
                let held = 0, open = 600;
                const done = () => { if (--open === 0) { console.log("held", held); process.exit(0); } };
                for (let i = 0; i < 600; i++) {
                    const child = spawn("sleep", ["60"], { stdio: "ignore" });
                    child.on("error", done); child.on("spawn", () => { held++; done(); });
                }
            """,
        },
        verdict=(COMPLETED, "processes", "memory", "exit"),
        checks=(no_more_than("held", 300),),
        timeout=6,
        memory_mb=512,
    ),
    Case(
        name="thread-flood",
        why="threads take the same table entries as processes",
        programs={
            "python3": """
                import threading, time
                threading.stack_size(64 << 10)
                count = 0
                try:
                    while count < 3000:
                        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                        count += 1
                except RuntimeError as error:
                    print("stopped by", error)
                print("held", count, flush=True)
                import os; os._exit(0)
            """,
            "ruby": """
                count = 0
                begin
                  while count < 3000
                    Thread.new { sleep 60 }
                    count += 1
                  end
                rescue ThreadError => error
                  puts "stopped by #{error.message}"
                end
                puts "held #{count}"
                $stdout.flush
                exit! 0
            """,
        },
        verdict=(COMPLETED, "processes", "memory", "exit", "signal", "timeout"),
        checks=(no_more_than("held", 300),),
        timeout=6,
        memory_mb=512,
    ),
    Case(
        name="daemon",
        why="fork twice, leave the session and go on working after the job has ended",
        programs={
            "python3": """
                import os, sys, time
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        time.sleep(1.5)
                        os.write(1, b"OUT" + b"LIVED")
                        open("late.txt", "w").write("x")
                        time.sleep(600)
                    os._exit(0)
                os.wait()
                print("parent ends")
            """,
            "node": """
                const { spawn } = require("node:child_process");
                spawn("bash", ["-c", "sleep 1.5; echo OUT'LIVED'; touch late.txt; sleep 600"],
                      { detached: true, stdio: "inherit" }).unref();
                console.log("parent ends");
            """,
            "bash": """
                ( setsid bash -c "sleep 1.5; echo OUT'LIVED'; touch late.txt; sleep 600" & )
                echo parent ends
            """,
            "ruby": """
                pid = fork { Process.daemon(true, true); sleep 1.5; print "OUT" + "LIVED"; $stdout.flush
                             File.write("late.txt", "x"); sleep 600 }
                Process.wait(pid)
                puts "parent ends"
            """,
        },
        verdict=COMPLETED,
        prints=("parent ends",),
        timeout=10,
        checks=(ended_within(PATIENT_SECONDS - 2),),
    ),
    Case(
        name="daemon-immune-to-signals",
        why="the same, with every signal ignored and the pipes closed",
        programs={
            "python3": """
                import os, signal, time
                if os.fork() == 0:
                    for number in range(1, 65):
                        try:
                            signal.signal(number, signal.SIG_IGN)
                        except (OSError, ValueError):
                            pass
                    os.setsid(); os.closerange(0, 256)
                    while True:
                        time.sleep(1)
                print("parent ends")
            """,
            "bash": """
                ( trap '' HUP INT QUIT TERM PIPE ALRM CHLD TSTP TTIN TTOU USR1 USR2
                  exec 0<&- 1>&- 2>&-
                  setsid sleep 600 ) &
                disown
                echo parent ends
            """,
            "ruby": """
                fork do
                  (1..64).each { |n| trap(n, "IGNORE") rescue nil }
                  Process.setsid
                  [$stdin, $stdout, $stderr].each(&:close)
                  loop { sleep 1 }
                end
                puts "parent ends"
            """,
        },
        verdict=COMPLETED,
        prints=("parent ends",),
        timeout=10,
        checks=(ended_within(PATIENT_SECONDS - 2),),
    ),
    Case(
        name="exit-and-respawn",
        why="a process that replaces itself forever is never there when somebody looks",
        programs={
            "python3": """
                import os
                while True:
                    if os.fork():
                        os._exit(0)
                    os.setsid()
            """,
            "ruby": """
                loop do
                  exit! 0 if fork
                  Process.setsid
                end
            """,
        },
        verdict=(COMPLETED, "timeout", "cpu", "exit"),
        timeout=3,
    ),
    Case(
        name="exec-forever",
        why="replace the program by itself: one pid, never the same process image",
        programs={
            "bash": 'exec bash "$0"',
            "python3": "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv])",
        },
        verdict=("timeout", "exit"),
    ),
    Case(
        name="zombies",
        why="children that nobody waits for stay in the process table",
        programs={
            "python3": """
                import os
                count = 0
                try:
                    while count < 2000:
                        if os.fork() == 0:
                            os._exit(0)
                        count += 1
                except OSError as error:
                    print("stopped by", error)
                print("held", count)
            """,
            "bash": """
                exec perl -e 'my $n = 0; while ($n < 2000) { my $p = fork; last unless defined $p; exit 0 unless $p; $n++ }
                              print "held $n\\n"'
            """,
        },
        verdict=(COMPLETED, "processes"),
        checks=(no_more_than("held", 300),),
        timeout=6,
    ),
    Case(
        name="process-churn",
        why="thousands of short processes keep the supervisor's accounting busy",
        programs={
            "bash": "while :; do /bin/true; done",
            "ruby": "loop { Process.wait(fork { exit! 0 }) }",
        },
        verdict="timeout",
        checks=(limit_reported,),
    ),
    Case(
        name="many-programs-in-one-pipeline",
        why="a legal but long pipeline must not need more than it is given, or fail with a word that says so",
        programs={
            "bash": """
                pipeline="echo start"
                for i in $(seq 400); do pipeline="$pipeline | cat"; done
                eval "$pipeline" 2>&1 | tail -c 300
            """,
        },
        verdict=(COMPLETED, "exit", "processes", "timeout", "signal"),
    ),
]
