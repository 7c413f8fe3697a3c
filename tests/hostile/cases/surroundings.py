"""What a job can see around itself: processes, descriptors, environment, mounts, and who it is."""

from hostile.expect import prints_lines
from hostile.model import COMPLETED, Case

#: Words that name the node's own parts. None of them may be visible from inside.
OWN_WORDS = (
    "uvicorn",
    "sandrun",
    "supervisor",
    "agent",
    "/opt/venv",
    "overlay2",
    "docker",
    "lowerdir",
    "/var/lib",
    "containerd",
)
HIDDEN = ("REACHED", *OWN_WORDS)

CASES = [
    Case(
        name="process-list",
        why="other programs' command lines and environments",
        programs={
            "python3": """
                import os
                for pid in sorted(p for p in os.listdir("/proc") if p.isdigit()):
                    for name in ("cmdline", "environ", "comm", "status", "cgroup", "maps", "cwd", "exe", "root"):
                        path = f"/proc/{pid}/{name}"
                        try:
                            text = os.readlink(path).encode() if name in ("cwd", "exe", "root") else open(path, "rb").read()
                        except OSError:
                            continue
                        if int(pid) != os.getpid() or name in ("environ", "cgroup"):
                            print(pid, name, text.replace(b"\\0", b" ")[:20000])
                print("processes", len([p for p in os.listdir("/proc") if p.isdigit()]))
            """,
            "bash": """
                for pid in /proc/[0-9]*; do
                    tr '\\0' ' ' < $pid/cmdline; tr '\\0' '\\n' < $pid/environ; readlink $pid/cwd $pid/exe $pid/root; cat $pid/cgroup
                    echo
                done 2>/dev/null
                echo processes
            """,
            "node": """
                const fs = require("node:fs");
                for (const pid of fs.readdirSync("/proc").filter(name => /^[0-9]+$/.test(name)))
                    for (const name of ["cmdline", "environ", "cgroup"])
                        try { if (+pid !== process.pid || name !== "cmdline") console.log(pid, name, fs.readFileSync(`/proc/${pid}/${name}`, "utf8")); } catch {}
                console.log("processes");
            """,
            "ruby": """
                Dir.glob("/proc/[0-9]*").each do |dir|
                  %w[cmdline environ cgroup].each do |name|
                    begin
                      puts "#{dir} #{name} #{File.binread("#{dir}/#{name}")}"
                    rescue SystemCallError
                    end
                  end
                end
                puts "processes"
            """,
        },
        verdict=COMPLETED,
        prints=("processes",),
        never=HIDDEN,
        timeout=5,
    ),
    Case(
        name="mount-list",
        why="mount sources tell where the service keeps things (the image's own layers, which the kernel shows, say nothing of it)",
        programs={
            "bash": """
                sed -E 's/(lowerdir|upperdir|workdir)=[^, ]*//g' /proc/self/mountinfo /proc/mounts /proc/self/mountstats 2>/dev/null
                echo listed
            """,
        },
        verdict=COMPLETED,
        prints=("listed",),
        never=tuple(word for word in HIDDEN if word != "docker"),
        timeout=5,
    ),
    Case(
        name="first-process",
        why="the first process of the sandbox was started by the service: it may still carry its secrets",
        programs={
            "python3": """
                import os
                for name in ("environ", "maps", "auxv", "stack", "syscall", "io", "fd", "fdinfo", "map_files", "ns/user"):
                    path = "/proc/1/" + name
                    try:
                        if name in ("fd", "fdinfo", "map_files"):
                            print(name, [os.readlink(f"{path}/{e}") for e in os.listdir(path) if name == "fd"])
                        elif name == "ns/user":
                            print("namespace", os.readlink(path) == os.readlink("/proc/self/ns/user"))
                        else:
                            print(name, open(path, "rb").read(4000))
                    except OSError as error:
                        print("refused", name, error)
                for pid in (p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
                    try:
                        os.listdir(f"/proc/{pid}/root/opt/venv"); print("REACH" + "ED root of", pid)
                    except OSError:
                        pass
                    try:
                        os.listdir(f"/proc/{pid}/cwd/../opt/venv"); print("REACH" + "ED cwd of", pid)
                    except OSError:
                        pass
            """,
            "bash": """
                cat /proc/1/environ | tr '\\0' '\\n'
                ls -l /proc/1/fd /proc/1/cwd /proc/1/root/ 2>/dev/null
                ls /proc/1/root/opt/venv /proc/1/root/var/lib 2>/dev/null && echo REACH"ED"
                exit 0
            """,
        },
        verdict=COMPLETED,
        never=HIDDEN,
        timeout=5,
    ),
    Case(
        name="environment",
        why="tokens and addresses in variables",
        programs={
            "python3": "import os\nfor name, value in sorted(os.environ.items()): print(name, '=', value)\nprint('listed')",
            "node": "for (const [name, value] of Object.entries(process.env)) console.log(name, value); console.log('listed')",
            "bash": "export; env; cat /proc/$$/environ | tr '\\0' '\\n'; echo listed",
            "ruby": "ENV.each { |name, value| puts \"#{name} #{value}\" }; puts 'listed'",
        },
        verdict=COMPLETED,
        prints=("listed",),
        never=(*HIDDEN, "SANDRUN", "BROKER", "NODE_STATE", "VIRTUAL_ENV", "KUBERNETES", "AWS_"),
        timeout=5,
    ),
    Case(
        name="own-variables-in-the-way",
        why="variables of the manifest that would load code into the launcher or break out of the search path",
        programs={
            "python3": "import os; print('path', os.environ.get('PATH')); print('ran')",
            "bash": "echo path $PATH; echo ran",
            "node": "console.log('path', process.env.PATH); console.log('ran')",
            "ruby": "puts \"path #{ENV['PATH']}\"; puts 'ran'",
        },
        manifest={
            "env": {
                "LD_PRELOAD": "/job/evil.so",
                "LD_LIBRARY_PATH": "/job",
                "LD_AUDIT": "/job/evil.so",
                "PATH": "/job",
                "BASH_ENV": "/job/evil.sh",
                "PYTHONSTARTUP": "/job/evil.py",
                "GCONV_PATH": "/job",
                "IFS": "/",
                "HOME": "/",
            }
        },
        verdict=(COMPLETED, "refused", "exit"),
        timeout=5,
    ),
    Case(
        name="descriptors",
        why="whatever the service had open when it started the program",
        programs={
            "python3": """
                import os
                for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
                    try:
                        target = os.readlink(f"/proc/self/fd/{fd}")
                    except OSError:
                        continue
                    print("descriptor", fd if fd < 3 else "REACH" + "ED", target.split(":")[0])
            """,
            "bash": """
                for ((fd = 3; fd < 255; fd++)); do
                    [ -e /proc/$$/fd/$fd ] && echo REACH"ED" $fd
                done
                echo descriptor 0
            """,
        },
        verdict=COMPLETED,
        prints=("descriptor 0",),
        timeout=5,
    ),
    Case(
        name="identity",
        why="who a job is: no root, no groups, no capability, no way to get them",
        programs={
            "python3": """
                import os
                status = open("/proc/self/status").read()
                fields = dict(line.split(":\\t", 1) for line in status.splitlines() if ":\\t" in line)
                print("uids", set(os.getresuid()) != {0} and 0 not in os.getresuid())
                print("groups", 0 not in os.getgroups())
                for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                    print(name, int(fields[name], 16) == 0)
                print("nnp", fields["NoNewPrivs"] == "1")
                print("filter", fields["Seccomp"] == "2")
                for attempt in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chown("/proc/self", 0, 0)):
                    try:
                        attempt(); print("REACH" + "ED")
                    except OSError:
                        pass
                print("host", os.uname().nodename)
            """,
        },
        verdict=COMPLETED,
        checks=(
            prints_lines(
                "uids True",
                "groups True",
                "CapInh True",
                "CapPrm True",
                "CapEff True",
                "CapBnd True",
                "CapAmb True",
                "nnp True",
                "filter True",
                r"host (?![0-9a-f]{12}$).+",
            ),
        ),
        timeout=5,
    ),
    Case(
        name="programs-with-others-rights",
        why="setuid programs that the image brought along",
        programs={
            "bash": """
                find / -xdev -perm /6000 -type f 2>/dev/null > list
                before=$(id -u)
                while read -r program; do
                    case ${program##*/} in
                        su) got=$(timeout 1 "$program" -c 'id -u' </dev/null 2>/dev/null);;
                        *) got=;;
                    esac
                    [ "$got" = 0 ] && echo REACH"ED" "$program"
                done < list
                cp /usr/bin/id ./own; chmod 6755 own; [ "$(./own -u)" = "$before" ] || echo REACH"ED" own
                grep -E ' / ' /proc/self/mountinfo | head -1 | grep -q nosuid && echo nosuid
                awk '$5 != "/proc" && $6 !~ /nosuid/ { print "without nosuid:", $5 }' /proc/self/mountinfo 2>/dev/null
                [ "$(id -u)" = 0 ] && echo REACH"ED" root
                echo probed
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        never=("REACHED", "without nosuid"),
        timeout=10,
    ),
    Case(
        name="core-dumps",
        why="a crash writes the whole memory to disk, or starts the host's handler with it",
        programs={
            "python3": """
                import ctypes, os, resource
                print("core limit", resource.getrlimit(resource.RLIMIT_CORE)[1])
                if os.fork() == 0:
                    ctypes.string_at(0)
                status = os.wait()[1]
                print("REACH" + "ED dump" if os.WCOREDUMP(status) else "no dump", os.listdir("."))
            """,
        },
        verdict=COMPLETED,
        prints=("core limit 0", "no dump"),
        timeout=5,
    ),
]
