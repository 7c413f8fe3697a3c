"""Memory that the kernel holds for a program: shared, in sockets, pipes and queues, in files that are gone.

As in `memory`: the program is stopped, or the channel is refused and the program says so and ends.
"""

from hostile.cases.memory import PATIENCE, STOPPED_OR_REFUSED
from hostile.expect import no_more_than
from hostile.model import Case

CASES = [
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
        timeout=6,  # it has to come as far as that
    ),
]
