"""Disk filled by what a job leaves: bytes, holes, inodes."""

from hostile.cases.left_behind import BOUNDED, FULL
from hostile.expect import (
    files_include,
    limit_reported,
)
from hostile.model import COMPLETED, Case

CASES = [
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
]
