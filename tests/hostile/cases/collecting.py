"""Tricks on whoever collects what a job leaves: files that change meanwhile, patterns, places that are none of the job's."""

from hostile.cases.left_behind import BOUNDED, FINE
from hostile.expect import (
    files_hold_no_secret,
    only_plain_members,
)
from hostile.model import COMPLETED, Case

CASES = [
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
