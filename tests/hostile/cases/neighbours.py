"""Other jobs: their files, processes, sockets and output. A neighbour with a secret runs beside every one of these."""

from hostile.model import COMPLETED, Case

#: How every neighbour's secret begins; split in programs so that their own text does not match.
CASES = [
    Case(
        name="secrets",
        why="search everything readable for what the neighbour has in its files, arguments and environment",
        programs={
            "python3": """
                import os
                word = ("NEIGH" + "BOUR-").encode()
                for top in ("/tmp", "/job", "/dev/shm", "/var", "/run", "/home", "/proc"):
                    for directory, names, files in os.walk(top):
                        names[:] = [n for n in names if n not in ("task", "map_files", "net", "sys", "bus", "irq", "tty", "fs", "driver", "attr")]
                        for name in files:
                            path = os.path.join(directory, name)
                            if name in ("kmsg", "kcore", "kpagecount", "kpageflags", "kpagecgroup", "clear_refs", "pagemap", "mem"): continue
                            try:
                                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                                if word in os.read(fd, 1 << 16): print("STOL" + "EN", path)
                                os.close(fd)
                            except OSError:
                                pass
                print("searched")
            """,
            "bash": """
                grep -rasl "NEIGH""BOUR-" /tmp /job /dev/shm /var /run 2>/dev/null | grep -v "$0" | grep . && echo STOL"EN"
                for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
                    grep -aq "NEIGH""BOUR-" $file 2>/dev/null && echo STOL"EN" $file
                done
                echo searched
            """,
            "node": """
                const fs = require("node:fs"), path = require("node:path"), word = "NEIGH" + "BOUR-";
                const look = directory => {
                    for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
                        const full = path.join(directory, entry.name);
                        try {
                            if (entry.isDirectory()) look(full);
                            else if (entry.isFile() && fs.readFileSync(full).includes(word)) console.log("STOL" + "EN", full);
                        } catch {}
                    }
                };
                for (const top of ["/tmp", "/job", "/dev/shm", "/var", "/run"]) try { look(top); } catch {}
                for (const pid of fs.readdirSync("/proc").filter(n => /^[0-9]+$/.test(n)))
                    for (const name of ["cmdline", "environ"])
                        try { if (fs.readFileSync(`/proc/${pid}/${name}`).includes(word)) console.log("STOL" + "EN", pid); } catch {}
                console.log("searched");
            """,
            "ruby": """
                word = "NEIGH" + "BOUR-"
                (Dir.glob("/{tmp,job,dev/shm,var,run}/**/*", File::FNM_DOTMATCH) + Dir.glob("/proc/[0-9]*/{cmdline,environ}")).each do |path|
                  begin
                    puts "STOL" + "EN #{path}" if File.file?(path) && File.binread(path, 65536).to_s.include?(word)
                  rescue SystemCallError
                  end
                end
                puts "searched"
            """,
        },
        verdict=COMPLETED,
        prints=("searched",),
        timeout=15,
    ),
    Case(
        name="signals-by-number",
        why="every process id there may be, not only those that are shown",
        programs={
            "python3": """
                import os, signal
                own = {os.getpid(), os.getppid(), 1}
                for pid in range(2, 66000):
                    if pid in own: continue
                    try:
                        os.kill(pid, signal.SIGKILL); print("REACH" + "ED", pid)
                    except OSError:
                        pass
                print("tried")
            """,
            "bash": """
                exec perl -e 'for (2 .. 66000) { next if $_ == $$ or $_ == getppid; print "REACH" . "ED $_\\n" if kill 9, $_ } print "tried\\n"'
            """,
        },
        verdict=COMPLETED,
        prints=("tried",),
        timeout=10,
    ),
    Case(
        name="kernel-budgets-of-the-user",
        why="budgets that the kernel keeps per user id are the neighbours' and the service's too",
        programs={
            "python3": """
                import fcntl, os, time
                held = []
                try:
                    while len(held) < 64:
                        r, w = os.pipe(); held.append((r, w)); fcntl.fcntl(w, 1031, 1 << 20)
                except OSError as error:
                    print("stopped by", error)
                import ctypes
                libc = ctypes.CDLL(None)
                watchers = [libc.inotify_init() for _ in range(256)]
                print("watchers", sum(fd >= 0 for fd in watchers))
                time.sleep(1.2)
            """,
        },
        verdict=COMPLETED,
        timeout=5,
    ),
    Case(
        name="predictable-places",
        why="what one job leaves in /tmp, /dev/shm or its directory must not be there for the next",
        programs={
            "bash": """
                for path in /tmp/left-behind /dev/shm/left-behind /job/left-behind ./left-behind ~/left-behind; do
                    [ -e $path ] && echo STOL"EN" $path
                done
                for path in /tmp /dev/shm /job . ~; do echo "from an earlier job" > $path/left-behind; done 2>/dev/null
                echo looked
            """,
            "python3": """
                import os
                places = ("/tmp/left-behind", "/dev/shm/left-behind", "/job/left-behind", "left-behind")
                for path in filter(os.path.exists, places): print("STOL" + "EN", path)
                for path in places:
                    try:
                        open(path, "w").write("x")
                    except OSError:
                        pass
                print("looked")
            """,
        },
        verdict=COMPLETED,
        prints=("looked",),
        timeout=5,
    ),
]
