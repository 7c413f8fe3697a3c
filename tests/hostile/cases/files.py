"""What a job leaves behind: links, FIFOs, names and amounts meant for whoever collects it."""

from hostile.expect import (
    ended_within,
    files_are,
    files_at_most,
    files_hold_no_secret,
    files_include,
    limit_reported,
    only_plain_members,
)
from hostile.model import COMPLETED, Case

#: No collection of one job has a reason to be larger: files, and bytes of them.
FILES, BYTES = 5000, 256 << 20
SAFE = (files_hold_no_secret, only_plain_members)
BOUNDED = (files_at_most(FILES, BYTES), *SAFE)
#: A program that leaves oddities ends normally: it is the collector that must cope.
FINE = (COMPLETED,)
FULL = ("disk", "exit", "memory", "signal")

CASES = [
    Case(
        name="links-out",
        why="links to files of the container, followed by whoever collects",
        programs={
            "python3": """
                import os
                for i, target in enumerate(("/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/environ", "/",
                                            "../../../../etc/passwd", "/etc", "loop", "/dev/stdin", "/proc/self/fd/0")):
                    os.symlink(target, f"link{i}.txt")
                os.symlink("loop", "loop"); os.symlink("/etc", "directory"); os.symlink(".", "again")
                open("good.txt", "w").write("good")
            """,
            "node": """
                const fs = require("node:fs");
                ["/etc/passwd", "/proc/self/environ", "/", "../../../../etc/passwd", "loop"].forEach(
                    (target, i) => fs.symlinkSync(target, `link${i}.txt`));
                fs.symlinkSync("loop", "loop"); fs.writeFileSync("good.txt", "good");
            """,
            "bash": """
                ln -s /etc/passwd a.txt; ln -s /proc/self/environ b.txt; ln -s / c; ln -s loop loop; ln -s .. d
                ln -s ../../../../../../etc/passwd e.txt
                printf good > good.txt
            """,
            "ruby": """
                File.symlink("/etc/passwd", "a.txt"); File.symlink("/proc/self/environ", "b.txt"); File.symlink("/", "c")
                File.symlink("loop", "loop"); File.symlink("../../../../etc/passwd", "e.txt")
                File.write("good.txt", "good")
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_are("good.txt"), *BOUNDED),
    ),
    Case(
        name="blocking-files",
        why="FIFOs and sockets make a reader wait forever",
        programs={
            "python3": """
                import os, socket
                os.mkfifo("fifo.txt"); os.mkfifo("fifo2")
                socket.socket(socket.AF_UNIX).bind("socket.txt")
                open("good.txt", "w").write("good")
            """,
            "bash": """
                mkfifo fifo.txt other; mkdir d; mkfifo d/deep
                printf good > good.txt
            """,
            "ruby": """
                require "socket"
                File.mkfifo("fifo.txt"); UNIXServer.new("socket.txt")
                File.write("good.txt", "good")
            """,
            "node": """
                const { execFileSync } = require("node:child_process");
                execFileSync("mkfifo", ["fifo.txt"]);
                const server = require("node:net").createServer().listen("socket.txt", () => {
                    require("node:fs").writeFileSync("good.txt", "good"); process.exit(0);
                });
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_are("good.txt"), ended_within(9), *BOUNDED),
    ),
    Case(
        name="devices",
        why="a device node that the collector reads has no end",
        programs={
            "python3": """
                import os, stat
                for kind, major, minor in ((stat.S_IFCHR, 1, 5), (stat.S_IFCHR, 1, 1), (stat.S_IFBLK, 8, 0)):
                    try:
                        os.mknod("device", kind | 0o666, os.makedev(major, minor)); print("REACH" + "ED")
                    except OSError as error:
                        print("refused", error)
                open("good.txt", "w").write("good")
            """,
            "bash": """
                mknod zero c 1 5 2>/dev/null && echo REACH"ED"; mknod disk b 8 0 2>/dev/null && echo REACH"ED"
                printf good > good.txt
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_are("good.txt"), *BOUNDED),
    ),
    Case(
        name="sparse-terabyte",
        why="a size that is claimed and not there",
        programs={
            "python3": """
                import os
                open("good.txt", "w").write("good")
                try:
                    with open("sparse.bin", "wb") as file:
                        os.truncate(file.fileno(), 1 << 40)
                except OSError as error:
                    print(error)
            """,
            "bash": """
                printf good > good.txt
                trap '' XFSZ
                truncate -s 1T sparse.bin
                exit 0
            """,
            "ruby": """
                File.write("good.txt", "good")
                trap("XFSZ", "IGNORE")
                begin
                  File.open("sparse.bin", "w") { |f| f.truncate(1 << 40) }
                rescue SystemCallError => error
                  puts error.class
                end
            """,
        },
        verdict=(COMPLETED, "signal", "disk"),
        timeout=10,
        collect=True,
        checks=(files_include("good.txt"), *BOUNDED),
    ),
    Case(
        name="many-sparse-files",
        why="each below the limit of one file, together terabytes",
        programs={
            "python3": """
                import os
                for i in range(500):
                    with open(f"sparse{i}", "wb") as file:
                        os.truncate(file.fileno(), 8 << 20)
            """,
        },
        verdict=(COMPLETED, "exit", "disk"),
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="links-multiply",
        why="one file under a thousand names is one megabyte on disk and a gigabyte in an archive",
        programs={
            "python3": """
                import os
                open("one", "wb").write(os.urandom(1 << 20))
                for i in range(1500):
                    os.link("one", f"name{i}")
            """,
            "bash": """
                head -c 1048576 /dev/urandom > one
                for i in {1..300}; do ln one name$i; done
            """,
        },
        verdict=(COMPLETED, "exit", "disk"),
        timeout=15,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="a-hundred-thousand-files",
        why="more entries than anybody wants to list",
        programs={
            "python3": """
                import os
                made = 0
                try:
                    for i in range(100_000):
                        os.close(os.open(f"{i:x}", os.O_CREAT | os.O_WRONLY)); made += 1
                except OSError as error:
                    print("stopped by", error)
                print("made", made)
            """,
            "ruby": """
                made = 0
                begin
                  100_000.times { |i| File.new(i.to_s(36), "w").close; made += 1 }
                rescue SystemCallError => error
                  puts "stopped by #{error.class}"
                end
                puts "made #{made}"
            """,
            "node": """
                const fs = require("node:fs");
                let made = 0;
                try { for (; made < 100000; made++) fs.closeSync(fs.openSync(made.toString(36), "w")); }
                catch (error) { console.log("stopped by", error.code); }
                console.log("made", made);
            """,
            "bash": """
                i=0; while [ $i -lt 40000 ]; do : > f$i || exit 1; i=$((i + 1)); done 2>/dev/null
                echo made
            """,
        },
        verdict=(COMPLETED, "disk", "memory", "exit"),
        timeout=30,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="inode-bomb",
        why="empty files cost no blocks, only kernel memory",
        programs={
            "python3": """
                import itertools, os
                for where in itertools.cycle(("/tmp", ".", "/dev/shm")):
                    for i in range(1000):
                        os.mkdir(f"{where}/{os.urandom(8).hex()}")
            """,
            "bash": """
                cd /tmp; i=0
                while : > f$i; do i=$((i + 1)); [ $((i % 500)) = 0 ] && { mkdir -p s$i && cd s$i; }; done 2>/dev/null
                exit 1
            """,
            "ruby": """
                i = 0
                loop { Dir.mkdir("/tmp/#{i += 1}") }
            """,
        },
        verdict=FULL,
        timeout=30,
    ),
    Case(
        name="disk-full",
        why="write until nothing fits",
        programs={
            "python3": """
                with open("fill", "wb") as file:
                    while True: file.write(b"x" * (1 << 20))
            """,
            "node": """
                const fs = require("node:fs");
                const fd = fs.openSync("fill", "w"), block = Buffer.alloc(1 << 20, 1);
                for (;;) fs.writeSync(fd, block);
            """,
            "bash": """
                set -e
                cat /dev/zero > fill
            """,
            "ruby": """
                File.open("fill", "w") { |f| loop { f.write("x" * (1 << 20)) } }
            """,
        },
        verdict="disk",
        timeout=20,
        memory_mb=512,
        checks=(limit_reported,),
    ),
    Case(
        name="disk-full-in-many-files",
        why="no single file is large; several places at once",
        programs={
            "python3": """
                import itertools
                for i in itertools.count():
                    for where in (".", "/tmp"):
                        with open(f"{where}/{i}", "wb") as file: file.write(b"x" * 500_000)
            """,
            "bash": """
                i=0
                while head -c 1000000 /dev/zero > /tmp/$i && head -c 1000000 /dev/zero > $i; do i=$((i + 1)); done
                exit 1
            """,
        },
        verdict="disk",
        timeout=20,
        memory_mb=512,
        checks=(limit_reported,),
    ),
    Case(
        name="shared-memory-directory-full",
        why="/dev/shm is memory: filling it must be bounded too",
        programs={
            "python3": """
                import time
                held = 0
                try:
                    with open("/dev/shm/fill", "wb", buffering=0) as file:
                        while True: held += file.write(b"x" * (1 << 20))
                except OSError as error:
                    print("stopped by", error)
                print("held", held >> 20)
            """,
            "bash": """
                cat /dev/zero > /dev/shm/fill
                [ $(stat -c %s /dev/shm/fill) -lt 600000000 ] && echo bounded
            """,
        },
        verdict=(COMPLETED, "disk", "memory", "exit", "signal"),
        timeout=10,
    ),
    Case(
        name="three-thousand-levels",
        why="a path that no call can name and a recursive walk cannot finish",
        programs={
            "python3": """
                import os
                open("good.txt", "w").write("good")
                for _ in range(3000):
                    os.mkdir("d"); os.chdir("d")
                open("bottom.txt", "w").write("deep")
            """,
            "bash": """
                printf good > good.txt
                for i in {1..3000}; do mkdir d && cd -P d 2>/dev/null || break; done
                exit 0
            """,
            "ruby": """
                File.write("good.txt", "good")
                3000.times { Dir.mkdir("d"); Dir.chdir("d") }
            """,
        },
        # The shell looks at the whole path at each step: it may not get to the bottom in time.
        verdict=(COMPLETED, "exit", "disk", "timeout"),
        timeout=8,
        collect=True,
        checks=(files_include("good.txt"), *BOUNDED),
    ),
    Case(
        name="names",
        why="names that break listings, headers, archives, JSON, shells and web pages",
        programs={
            "python3": r"""
                import os
                for name in (b"new\nline", b"carriage\r\nSet-Cookie: a=b", b"\xff\xfe bad utf-8", b"spaces  inside", b" ", b"-rf",
                             b"quote\"s'", b"back\\slash", b"<script>alert(1)<", b"%2e%2e%2fetc%2fpasswd", b"tab\there",
                             b"\xe2\x80\xaegnp.exe", b"x" * 255, "ü".encode(), "u\u0308".encode(), b"..hidden", b"...",
                             b"con", b"a:b", b"~", b"$HOME", b"`id`", b"\x1b[31mred", b"\x7f", b"*"):
                    try:
                        with open(name, "wb") as file: file.write(b"content")
                    except OSError as error:
                        print(error)
                open("good.txt", "w").write("good")
            """,
            "ruby": r"""
                ["new\nline", "cr\r\nSet-Cookie: a=b", "\xff\xfe bad".b, " ", "-rf", "back\\slash", "<script>", "%2e%2e%2fpasswd",
                 "x" * 255, "..hidden", "\e[31m"].each { |name| File.write(name, "content") }
                File.write("good.txt", "good")
            """,
            "bash": r"""
                for name in $'new\nline' $'cr\r\nX: y' $'\xff\xfe' ' ' '-rf' 'a\b' '<b>' '%2e%2e%2f' '*' '$(id)'; do
                    echo content > ./"$name"
                done
                printf good > good.txt
            """,
            "node": r"""
                const fs = require("node:fs");
                for (const name of ["new\nline", "cr\r\nX: y", " ", "-rf", "a\\b", "<b>", "%2e%2e%2f", "*", "x".repeat(255)])
                    fs.writeFileSync(name, "content");
                fs.writeFileSync(Buffer.from([0xff, 0xfe]), "content");
                fs.writeFileSync("good.txt", "good");
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_include("good.txt"), *BOUNDED),
    ),
    Case(
        name="unreadable",
        why="files and directories that their owner may not read",
        programs={
            "python3": """
                import os
                open("good.txt", "w").write("good")
                open("secret", "w").write("x"); os.chmod("secret", 0)
                os.mkdir("closed"); open("closed/f", "w").write("x"); os.chmod("closed", 0)
                os.mkdir("listed"); open("listed/f", "w").write("x"); os.chmod("listed", 0o400)
            """,
            "bash": """
                printf good > good.txt; echo x > secret; mkdir closed; echo x > closed/f; chmod 0 secret closed
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_include("good.txt"), *BOUNDED),
    ),
    Case(
        name="closed-working-directory",
        why="take away every permission from the directory that will be collected",
        programs={
            "python3": "import os; open('good.txt', 'w').write('good'); os.chmod('.', 0)",
            "bash": "printf good > good.txt; chmod 0 .",
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="working-directory-replaced",
        why="put a link to somewhere else where the collector expects the directory",
        programs={
            "python3": """
                import os
                here = os.getcwd()
                for attempt in (lambda: os.rename(here, here + "x"), lambda: os.rmdir(here), lambda: os.symlink("/etc", here),
                                lambda: os.rename(here, "/tmp/moved")):
                    try:
                        attempt()
                    except OSError as error:
                        print("refused", error)
                open("good.txt", "w").write("good")
            """,
            "bash": """
                here=$PWD; cd /
                mv "$here" /tmp/x 2>/dev/null; rm -rf "$here" 2>/dev/null; ln -s /etc "$here" 2>/dev/null
                exit 0
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="swapped-while-collected",
        why="a process left behind exchanges files and links as fast as it can while they are read",
        programs={
            "python3": """
                import os
                open("file", "w").write("plain"); os.mkdir("dir"); open("dir/passwd", "w").write("plain")
                os.symlink("/etc/passwd", "link"); os.symlink("/etc", "dirlink")
                if os.fork() == 0:
                    os.setsid()
                    while True:
                        for a, b in (("file", "link"), ("dir", "dirlink")):
                            os.rename(a, "t"); os.rename(b, a); os.rename("t", b)
                import time; time.sleep(0.3)
            """,
            "bash": """
                printf plain > file; ln -s /etc/passwd link
                ( while :; do mv -T file t; mv -T link file; mv -T t link; done ) 2>/dev/null &
                sleep 0.3
            """,
            "ruby": """
                File.write("file", "plain"); File.symlink("/etc/passwd", "link")
                fork { loop { File.rename("file", "t"); File.rename("link", "file"); File.rename("t", "link") } }
                sleep 0.3
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="growing-while-collected",
        why="a file that grows faster than it is read",
        programs={
            "python3": """
                import os, time
                if os.fork() == 0:
                    os.setsid()
                    with open("grows", "ab", buffering=0) as file:
                        while True: file.write(b"x" * 65536)
                time.sleep(0.02)
            """,
            "bash": """
                ( while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxx; done >> grows ) &
                sleep 0.1
            """,
        },
        verdict=(COMPLETED, "disk"),
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="special-modes",
        why="setuid and world-writable files in the archive that an administrator unpacks as root",
        programs={
            "python3": """
                import os
                open("good.txt", "w").write("good")
                for mode in (0o4777, 0o2777, 0o1777, 0o6755):
                    open(f"m{mode:o}", "w").write("x"); os.chmod(f"m{mode:o}", mode)
            """,
            "bash": """
                printf good > good.txt; cp /bin/true tool; chmod 6777 tool
            """,
        },
        verdict=FINE,
        timeout=10,
        collect=True,
        checks=(files_include("good.txt"), *BOUNDED),
    ),
    Case(
        name="named-like-our-own",
        why="files named like what the service itself keeps",
        programs={
            "python3": """
                import os
                for name in ("manifest", "manifest.json", "job.json", "status.json", "stdout", "stderr", "result.json", ".done",
                             "metadata.json", "outputs.tar.gz", "main.py"):
                    open(name, "w").write('{"status": "completed", "exit_code": 0}')
                os._exit(6)
            """,
            "bash": """
                for name in manifest job.json status stdout stderr exit_code .lock; do echo '{"exit_code":0}' > $name; done
                exit 6
            """,
        },
        verdict="exit",
        timeout=10,
        collect=True,
        checks=BOUNDED,
    ),
    Case(
        name="patterns-out",
        why="ask for files that are not the job's",
        programs={
            "python3": "open('good.txt', 'w').write('good')",
            "bash": "printf good > good.txt",
        },
        manifest={
            "outputs": [
                "/etc/*",
                "../../*",
                "**/../../etc/passwd",
                "/proc/*/environ",
                "~/*",
                "/",
                "..",
                "good.txt",
                "/var/lib/node/*",
                "//etc/passwd",
                "./../*",
            ],
        },
        verdict=(COMPLETED, "refused"),
        timeout=10,
        collect=True,
        checks=(files_hold_no_secret, only_plain_members),
    ),
    Case(
        name="patterns-that-never-end",
        why="a pattern and a name that make a careless matcher try for years",
        programs={
            "python3": """
                open("a" * 250, "w").write("x"); open("a" * 249 + "b", "w").write("x")
                import os; os.makedirs("/".join(["a" * 100] * 6))
                open("/".join(["a" * 100] * 6) + "/a", "w").write("x")
            """,
        },
        manifest={
            "outputs": [
                "*a" * 60 + "c",
                "**/" * 40 + "c",
                "[" * 500,
                "?" * 1000,
                "[!a-z]" * 50,
                "*" * 1000 + "b",
                "**/*a*/**/*a*/**/*a*/**/b",
            ],
        },
        verdict=(COMPLETED, "refused"),
        timeout=10,
        collect=True,
        checks=(files_hold_no_secret,),
    ),
    Case(
        name="read-only-places",
        why="write where every job and the node itself read",
        programs={
            "python3": """
                import os
                for path in ("/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/bin", "/lib", "/dev", "/proc", "/proc/sys/kernel"):
                    try:
                        open(path + "/planted", "w").close(); print("REACH" + "ED", path)
                    except OSError as error:
                        print("refused", error)
                for path in ("/etc/passwd", "/usr/bin/env", "/etc/ld.so.cache", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
                             "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
                             "/proc/sys/kernel/modprobe", "/proc/sys/user/max_user_namespaces",):
                    try:
                        open(path, "r+b").close(); print("REACH" + "ED", path)
                    except OSError as error:
                        print("refused", error)
                try:
                    os.link("/usr/bin/env", "linked"); print("REACH" + "ED link")
                except OSError as error:
                    print("refused", error)
            """,
            "bash": """
                for path in / /usr /usr/bin /etc /bin /lib /dev /proc; do
                    : 2>/dev/null > $path/planted && echo REACH"ED" $path
                done 2>/dev/null
                for path in /etc/passwd /usr/bin/env /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname; do
                    { : >> $path; } 2>/dev/null && echo REACH"ED" $path
                done
                rm -rf --no-preserve-root /usr/bin/env /etc 2>/dev/null && echo REACH"ED" rm
                [ -x /usr/bin/env ] && echo intact
            """,
            "node": """
                const fs = require("node:fs");
                for (const dir of ["/", "/usr", "/usr/bin", "/etc", "/dev", "/proc"])
                    try { fs.writeFileSync(dir + "/planted", ""); console.log("REACH" + "ED", dir); } catch {}
                for (const path of ["/etc/passwd", "/usr/bin/env", "/proc/sys/kernel/core_pattern"])
                    try { fs.closeSync(fs.openSync(path, "r+")); console.log("REACH" + "ED", path); } catch {}
            """,
            "ruby": """
                %w[/ /usr /usr/bin /etc /dev /proc].each do |dir|
                  begin; File.write(dir + "/planted", ""); puts "REACH" + "ED #{dir}"; rescue SystemCallError; end
                end
            """,
        },
        verdict=(COMPLETED, "exit"),
        timeout=10,
    ),
]
