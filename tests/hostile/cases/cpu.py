"""CPU time of the whole tree: burnt in one process, in many, in children nobody waits for, and after the kernel's warning."""

from hostile.expect import limit_reported
from hostile.model import COMPLETED, Case

#: Half a second of CPU; the wall clock is far away, because several attackers share the machine's cores.
HALF_A_SECOND = {"cpu_seconds": 0.5}
PATIENCE = 30

CASES = [
    Case(
        name="busy-loop",
        why="keep a core until somebody stops it",
        programs={
            "python3": "while True: pass",
            "node": "for (;;) ;",
            "bash": "while :; do :; done",
            "ruby": "loop {}",
        },
        verdict="timeout",
        checks=(limit_reported,),
    ),
    Case(
        name="cpu-limit",
        why="the same under a limit of CPU seconds",
        programs={
            "python3": "while True: pass",
            "node": "for (;;) ;",
            "bash": "while :; do :; done",
            "ruby": "loop {}",
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="warning-ignored",
        why="the kernel's SIGXCPU is only a suggestion when a program ignores it",
        programs={
            "python3": """
                import signal
                signal.signal(signal.SIGXCPU, signal.SIG_IGN)
                while True: pass
            """,
            "bash": """
                trap '' XCPU
                while :; do :; done
            """,
            "ruby": """
                trap("XCPU", "IGNORE")
                loop {}
            """,
            "node": """
                process.on("SIGXCPU", () => 0);
                for (;;) ;
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="warning-answered-with-success",
        why="end with exit code 0 when the warning comes, so that the limit never shows",
        programs={
            "python3": """
                import os, signal
                signal.signal(signal.SIGXCPU, lambda *_: os._exit(0))
                while True: pass
            """,
            "bash": """
                trap 'exit 0' XCPU
                while :; do :; done
            """,
            "ruby": """
                trap("XCPU") { exit! 0 }
                loop {}
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="sequential-children",
        why="the kernel's limit is per process: burn a little in each of many",
        programs={
            "python3": """
                import os, time
                while True:
                    if os.fork() == 0:
                        end = time.process_time() + 0.3
                        while time.process_time() < end: pass
                        os._exit(0)
                    os.wait()
            """,
            "bash": """
                while :; do
                    ( i=0; while [ $i -lt 40000 ]; do i=$((i + 1)); done )
                done
            """,
            "ruby": """
                loop do
                  Process.wait(fork { till = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) + 0.3
                                      nil while Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) < till
                                      exit! 0 })
                end
            """,
            "node": """
                const { spawnSync } = require("node:child_process");
                for (;;) spawnSync("bash", ["-c", "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done"]);
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="unwaited-children",
        why="children of a parent that ignores SIGCHLD vanish from its account",
        programs={
            "python3": """
                import os, signal, time
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                while True:
                    if os.fork() == 0:
                        end = time.process_time() + 0.2
                        while time.process_time() < end: pass
                        os._exit(0)
                    time.sleep(0.3)
            """,
            "ruby": """
                trap("CHLD", "IGNORE")
                loop do
                  fork { till = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) + 0.2
                         nil while Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) < till
                         exit! 0 }
                  sleep 0.3
                end
            """,
        },
        verdict=("cpu", "processes"),  # where the CPU is scarce they pile up
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="orphans",
        why="each burner is given away to pid 1 before it burns, and pid 1 is woken so that it reaps them at once",
        programs={
            "python3": """
                import os, signal, time
                while True:
                    if os.fork() == 0:
                        if os.fork() == 0:
                            os.setsid()
                            end = time.process_time() + 0.1
                            while time.process_time() < end: pass
                            os.kill(1, signal.SIGCONT)
                        os._exit(0)
                    os.wait()
                    while len([p for p in os.listdir("/proc") if p.isdigit()]) > 4: time.sleep(0.01)
            """,
            "bash": """
                while :; do
                    ( (i=0; while [ $i -lt 10000 ]; do i=$((i + 1)); done; kill -CONT 1) & )
                    while set -- /proc/[0-9]* && [ $# -gt 5 ]; do sleep 0.02; done
                done
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="parallel-burn",
        why="several processes at once multiply what one second means",
        programs={
            "python3": """
                import os
                for _ in range(6): os.fork() or exec("while True: pass")
                os.wait()
            """,
            "bash": """
                for i in 1 2 3 4 5 6; do while :; do :; done & done
                wait
            """,
            "node": """
                const { Worker } = require("node:worker_threads");
                for (let i = 0; i < 3; i++) new Worker("for (;;) ;", { eval: true });
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="limits-raised",
        why="take the limit off before burning",
        programs={
            "python3": """
                import resource
                for name in ("CPU", "AS", "DATA", "NPROC", "NOFILE", "FSIZE", "STACK", "CORE"):
                    limit = getattr(resource, "RLIMIT_" + name)
                    soft, hard = resource.getrlimit(limit)
                    for wish in (resource.RLIM_INFINITY, hard + 1 if hard >= 0 else resource.RLIM_INFINITY):
                        if hard == wish: continue
                        try:
                            resource.setrlimit(limit, (soft, wish)); print("REACH" + "ED", name, hard, wish)
                        except (ValueError, OSError): pass
                while True: pass
            """,
            "bash": """
                for flag in t v u n f s c; do
                    before=$(ulimit -H$flag)
                    [ "$before" = unlimited ] && continue
                    ulimit -H$flag unlimited 2>/dev/null && echo REACH"ED" $flag
                done
                while :; do :; done
            """,
            "ruby": """
                %i[CPU AS DATA NPROC NOFILE FSIZE STACK CORE].each do |name|
                  soft, hard = Process.getrlimit(name)
                  next if hard == Process::RLIM_INFINITY
                  begin
                    Process.setrlimit(name, soft, hard + 1); puts "REACH" + "ED #{name}"
                  rescue SystemCallError
                  end
                end
                loop {}
            """,
        },
        verdict="cpu",
        manifest=HALF_A_SECOND,
        timeout=PATIENCE,
    ),
    Case(
        name="priority-games",
        why="ask for a better place than the neighbours",
        programs={
            "python3": """
                import os
                before = os.nice(0)
                for attempt in (lambda: os.nice(-5), lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
                                lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
                                lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))):
                    try:
                        attempt()
                    except OSError as error:
                        print("refused", error)
                print("REACH" + "ED" if os.nice(0) < before or os.sched_getscheduler(0) in (1, 2) else "priority kept")
            """,
            "bash": """
                before=$(nice)
                nice -n -5 bash -c 'n=$(nice); [ "$n" -lt '"$before"' ] && echo REACH"ED" $n' 2>/dev/null
                renice -n -10 $$ >/dev/null 2>&1 && [ "$(nice)" -lt "$before" ] && echo REACH"ED"
                [ "$(nice)" -ge "$before" ] && echo priority kept
            """,
            "node": """
                const os = require("node:os");
                const before = os.getPriority();
                try { os.setPriority(0, -20); } catch (error) { console.log("refused", error.code); }
                console.log(os.getPriority() < before ? "REACH" + "ED" : "priority kept");
            """,
            "ruby": """
                before = Process.getpriority(Process::PRIO_PROCESS, 0)
                begin
                  Process.setpriority(Process::PRIO_PROCESS, 0, -20)
                rescue SystemCallError => error
                  puts "refused #{error.class}"
                end
                puts Process.getpriority(Process::PRIO_PROCESS, 0) < before ? "REACH" + "ED" : "priority kept"
            """,
        },
        verdict=COMPLETED,
        prints=("priority kept",),
    ),
    Case(
        name="one-endless-operation",
        why="a single operation that never returns to the interpreter, so that no handler of its own can run",
        programs={
            "python3": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
            "node": "/^(a+)+$/.test('a'.repeat(64) + 'b')",
            "bash": "echo $(( 2 ** 62 )) | sed -E ':a; s/(.*)/\\1/; ta'",
            "ruby": "(10**9999999) ** 99 % 7 while true",
        },
        verdict=("timeout", "memory"),
    ),
]
