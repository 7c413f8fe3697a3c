"""Memory of the whole tree, through every channel by which a program can make the kernel hold pages for it.

A channel is closed in one of two ways: the program is stopped with verdict `memory`, or the channel itself is refused and
the program says so and ends. What must not happen is that pages pile up unseen; the runner watches the container for that.
"""

from hostile.expect import limit_reported
from hostile.model import COMPLETED, Case

#: A channel that the sandbox may refuse outright: the program prints what it got and ends by itself.
STOPPED_OR_REFUSED = ("memory", COMPLETED, "exit")

#: Seconds: a bomb among other bombs gets little of the CPU, and should still be stopped for its memory.
PATIENCE = 30

CASES = [
    Case(
        name="heap-hog",
        why="allocate and touch until the machine has nothing left",
        programs={
            "python3": """
                held = []
                while True:
                    held.append(b"x" * (4 << 20))
            """,
            "node": """
                const held = [];
                for (;;) held.push(new Array(200000).fill(Math.random()));
            """,
            "bash": """
                x=xxxxxxxxxxxxxxxx
                while :; do x=$x$x; done
            """,
            "ruby": """
                held = []
                loop { held << "x" * (4 << 20) }
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="slow-hog",
        why="grow in small steps below whatever looks for jumps",
        programs={
            "python3": """
                import time
                held = []
                while True:
                    held.append(b"x" * (1 << 20)); time.sleep(0.004)
            """,
            "ruby": """
                held = []
                loop { held << "x" * (1 << 20); sleep 0.004 }
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="buffers",
        why="memory outside the garbage-collected heap, which a heap limit does not count",
        programs={
            "node": """
                const held = [];
                const more = () => { held.push(Buffer.alloc(4 << 20, 1)); setImmediate(more); };
                more();
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="shared-array-buffers",
        why="the same through shared memory of worker threads",
        programs={
            "node": """
                const held = [];
                const more = () => {
                    const view = new Uint8Array(new SharedArrayBuffer(4 << 20)); view.fill(1);
                    held.push(view); setImmediate(more);
                };
                more();
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
    ),
    Case(
        name="many-small-processes",
        why="each process stays below the limit, together they are far above",
        programs={
            "python3": """
                import os, time
                for _ in range(12):
                    if os.fork() == 0:
                        held = b"x" * (30 << 20)
                        time.sleep(60)
                time.sleep(60)
            """,
            "node": """
                const { spawn } = require("node:child_process");
                const hog = "const b = Buffer.alloc(40 << 20, 1); setInterval(() => b.length, 1000)";
                for (let i = 0; i < 5; i++) spawn(process.execPath, ["-e", hog]);
                setInterval(() => 0, 1000);
            """,
            "bash": """
                hog() { x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 60; }
                for i in 1 2 3 4 5 6 7 8 9 10; do hog & done
                wait
            """,
            "ruby": """
                12.times { fork { held = "x" * (30 << 20); sleep 60 } }
                sleep 60
            """,
        },
        verdict=("memory", "processes"),  # where many slots share the container, fewer processes are allowed
        timeout=PATIENCE,
        checks=(limit_reported,),
    ),
    Case(
        name="sacrificed-child",
        why="a child takes the blow, the parent goes on and ends with exit code 0 as if nothing had been",
        programs={
            "python3": """
                import os, sys
                pid = os.fork()
                if pid == 0:
                    held = []
                    while True:
                        held.append(b"x" * (4 << 20))
                os.waitpid(pid, 0)
                print("parent is fine"); sys.exit(0)
            """,
            "bash": """
                trap '' TERM INT XCPU
                ( x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done )
                echo parent is fine
                exit 0
            """,
            "ruby": """
                pid = fork { held = []; loop { held << "x" * (4 << 20) } }
                Process.wait(pid)
                puts "parent is fine"
                exit! 0
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
    ),
    Case(
        name="populated-at-once",
        why="one system call that takes everything before a watcher can look",
        programs={
            "python3": """
                import mmap, time
                POPULATE = 0x8000
                held = mmap.mmap(-1, 700 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | POPULATE)
                time.sleep(60)
            """,
        },
        verdict=("memory", "exit"),
        timeout=PATIENCE,
    ),
    Case(
        name="thread-stacks",
        why="stacks are memory that no allocator reports",
        programs={
            "python3": """
                import threading, time, resource
                threading.stack_size(16 << 20)
                def deep(n):
                    return deep(n - 1) if n else time.sleep(60)
                for _ in range(200):
                    threading.Thread(target=deep, args=(800,), daemon=True).start()
                time.sleep(60)
            """,
            "ruby": """
                def deep(n) = n.zero? ? sleep(60) : deep(n - 1)
                200.times { Thread.new { deep(6000) } }
                sleep 60
            """,
            "node": """
                const { Worker } = require("node:worker_threads");
                for (let i = 0; i < 40; i++)
                    new Worker("const b = Buffer.alloc(8 << 20, 1); setInterval(() => b.length, 1000)", { eval: true })
                        .on("error", () => 0);
            """,
        },
        verdict=("memory", "timeout", "processes", "exit", "signal"),
        timeout=4,
    ),
    Case(
        name="lots-of-mappings",
        why="page tables and mapping structures are kernel memory too",
        programs={
            "python3": """
                import mmap, time
                held = []
                try:
                    while True:
                        held.append(mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
                        held[-1][0] = 1
                except (OSError, MemoryError) as error:
                    print("stopped by", type(error).__name__)
            """,
        },
        verdict=("memory", "exit", COMPLETED, "timeout"),
        timeout=4,
    ),
    Case(
        name="forged-oom-score",
        why="make the kernel choose somebody else when memory runs out",
        programs={
            "python3": """
                for value in ("-1000", "-500", "-1"):
                    try:
                        with open("/proc/self/oom_score_adj", "w") as file:
                            file.write(value)
                        print("REACH" + "ED", value)
                    except OSError as error:
                        print("refused", error)
                held = []
                while True:
                    held.append(b"x" * (4 << 20))
            """,
        },
        verdict="memory",
        timeout=PATIENCE,
    ),
]
