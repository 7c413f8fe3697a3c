"""What a job leaves behind: links, FIFOs, devices, names and modes meant for whoever collects it."""

from hostile.cases.left_behind import BOUNDED, FINE
from hostile.expect import (
    ended_within,
    files_are,
    files_include,
)
from hostile.model import COMPLETED, PATIENT_SECONDS, Case

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
        checks=(files_are("good.txt"), ended_within(PATIENT_SECONDS - 2), *BOUNDED),
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
]
