"""Memory of the whole tree, through every channel by which a program can make the kernel hold pages for it.

A channel is closed in one of two ways: the program is stopped with verdict `memory`, or the channel itself is refused and
the program says so and ends. What must not happen is that pages pile up unseen; the runner watches the container for that.
"""

from hostile.expect import limit_reported, no_more_than
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
        name="shared-mapping",
        why="anonymous shared pages count as 'shared', which naive accounting subtracts",
        programs={
            "python3": """
                import mmap, time
                size = 600 << 20
                shared = mmap.mmap(-1, size)
                for offset in range(0, size, 1 << 20):
                    shared[offset:offset + (1 << 20)] = b"x" * (1 << 20)
                time.sleep(60)
            """,
            "ruby": """
                require "fiddle"
                mmap = Fiddle::Function.new(Fiddle::Handle::DEFAULT["mmap"],
                  [Fiddle::TYPE_VOIDP, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_INT, Fiddle::TYPE_INT, Fiddle::TYPE_INT,
                   Fiddle::TYPE_LONG], Fiddle::TYPE_VOIDP)
                size = 600 << 20
                shared = mmap.call(nil, size, 3, 0x21, -1, 0)
                shared.size = size
                block = "x" * (1 << 20)
                600.times { |i| shared[i << 20, 1 << 20] = block }
                sleep 60
            """,
        },
        verdict=("memory", "signal"),
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
        name="memfd",
        why="files without a name: in no process's resident set and in no tmpfs of the job",
        programs={
            "python3": """
                import os, time
                held = 0
                try:
                    for _ in range(8):
                        fd = os.memfd_create("m")
                        for _ in range(60):
                            held += os.write(fd, b"x" * (1 << 20))
                    time.sleep(60)
                except (OSError, AttributeError) as error:
                    print("stopped by", error)
                print("held", held >> 20)
            """,
            "ruby": """
                held = 0
                number = RUBY_PLATFORM.start_with?("aarch64") ? 279 : 319
                begin
                  8.times do
                    file = IO.for_fd(syscall(number, "m", 0), "w")
                    60.times { held += file.syswrite("x" * (1 << 20)) }
                  end
                  sleep 60
                rescue SystemCallError => error
                  puts "stopped by #{error}"
                end
                puts "held #{held >> 20}"
            """,
            "bash": """
                exec perl -e '
                    my $number = `uname -m` =~ /aarch64/ ? 279 : 319;
                    my $held = 0;
                    for (1..8) {
                        my $fd = syscall($number, "m", 0);
                        if ($fd < 0) { print "stopped by $!\\n"; last }
                        open(my $file, ">&=", $fd); push @all, $file;
                        for (1..60) { $held += syswrite($file, "x" x (1 << 20)) }
                    }
                    print "held ", $held >> 20, "\\n";
                    sleep 60 if $held;
                '
            """,
        },
        verdict=STOPPED_OR_REFUSED,
        checks=(no_more_than("held", 200),),
        timeout=6,
    ),
    Case(
        name="system-v-shared-memory",
        why="segments that outlive the process which made them",
        programs={
            "python3": """
                import ctypes, time
                libc = ctypes.CDLL(None, use_errno=True)
                libc.shmat.restype = ctypes.c_void_p
                held = 0
                for _ in range(8):
                    segment = libc.shmget(0, ctypes.c_size_t(40 << 20), 0o1600)
                    if segment < 0:
                        print("stopped by errno", ctypes.get_errno()); break
                    address = libc.shmat(segment, None, 0)
                    if address in (None, ctypes.c_void_p(-1).value):
                        print("stopped by errno", ctypes.get_errno()); break
                    ctypes.memset(address, 1, 40 << 20)
                    libc.shmdt(ctypes.c_void_p(address))
                    held += 40
                print("held", held, flush=True)
                time.sleep(60 if held else 0)
            """,
            "bash": """
                exec perl -e '
                    my $held = 0;
                    for (1..8) {
                        my $id = shmget(0, 40 << 20, 01600);
                        if (!defined $id) { print "stopped by $!\\n"; last }
                        if (!shmwrite($id, "x" x (40 << 20), 0, 40 << 20)) { print "stopped by $!\\n"; last }
                        $held += 40;
                    }
                    $| = 1; print "held $held\\n"; sleep 60 if $held;
                '
            """,
        },
        verdict=STOPPED_OR_REFUSED,
        checks=(no_more_than("held", 200),),
        timeout=6,
    ),
    Case(
        name="system-v-messages",
        why="message queues hold kernel memory that belongs to no process",
        programs={
            "bash": """
                exec perl -e '
                    my $held = 0;
                    for (1..2000) {
                        my $id = msgget(0, 01600);
                        if (!defined $id) { print "stopped by $!\\n"; last }
                        $held++ while msgsnd($id, pack("l! a8000", 1, "x"), 04000);
                    }
                    print "held ", int($held * 8 / 1024), "\\n";
                '
            """,
        },
        verdict=STOPPED_OR_REFUSED,
        checks=(no_more_than("held", 64),),
    ),
    Case(
        name="socket-buffers",
        why="kernel buffers of unix sockets, raised as far as the kernel lets them",
        programs={
            "python3": """
                import socket, time
                held, pairs = 0, []
                try:
                    for _ in range(400):
                        a, b = socket.socketpair()
                        for s in (a, b):
                            s.setblocking(False)
                            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
                            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                        pairs.append((a, b))
                        for s in (a, b):
                            try:
                                while True:
                                    held += s.send(b"x" * 65536)
                            except BlockingIOError:
                                pass
                except OSError as error:
                    print("stopped by", error)
                print("held", held >> 20)
            """,
            "ruby": """
                require "socket"
                held, pairs = 0, []
                begin
                  400.times do
                    pair = UNIXSocket.pair
                    pairs << pair
                    pair.each do |s|
                      s.setsockopt(:SOCKET, :SNDBUF, 4 << 20)
                      held += 65536 while s.write_nonblock("x" * 65536, exception: false).is_a?(Integer)
                    end
                  end
                rescue SystemCallError => error
                  puts "stopped by #{error.class}"
                end
                puts "held #{held >> 20}"
            """,
        },
        verdict=STOPPED_OR_REFUSED,
        checks=(no_more_than("held", 160),),
        timeout=6,
    ),
    Case(
        name="pipe-buffers",
        why="a megabyte of kernel memory for each pipe, counted per user id and so shared with the neighbours",
        programs={
            "python3": """
                import fcntl, os, time
                held = 0
                try:
                    for _ in range(400):
                        r, w = os.pipe()
                        os.set_blocking(w, False)
                        try:
                            fcntl.fcntl(w, 1031, 1 << 20)
                        except OSError:
                            pass
                        try:
                            while True:
                                held += os.write(w, b"x" * 65536)
                        except BlockingIOError:
                            pass
                except OSError as error:
                    print("stopped by", error)
                print("held", held >> 20, flush=True)
                time.sleep(1)
            """,
        },
        verdict=STOPPED_OR_REFUSED,
        checks=(no_more_than("held", 160),),
        timeout=6,
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
        name="deleted-but-open-files",
        why="a file without a name still holds its blocks",
        programs={
            "python3": """
                import os, time
                held, files = 0, []
                try:
                    while held < 4 << 30:
                        name = f"/tmp/{len(files)}"
                        file = open(name, "wb", buffering=0); os.unlink(name); files.append(file)
                        for _ in range(4):
                            held += file.write(b"x" * (1 << 20))
                except OSError as error:
                    print("stopped by", error, flush=True)
                print("held", held >> 20, flush=True)
                time.sleep(60)
            """,
        },
        verdict=("memory", "disk", "timeout", "signal"),
        checks=(no_more_than("held", 600),),
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
