"""What a job can read and open of the node: devices, kernel files, other files, open ones."""

from hostile.model import COMPLETED, Case

CASES = [
    Case(
        name="devices",
        why="anything in /dev beyond what programs need",
        programs={
            "bash": """
                for name in $(ls /dev); do
                    case $name in
                        null|zero|full|random|urandom|tty|ptmx|pts|shm|fd|stdin|stdout|stderr|core|console) ;;
                        *) echo REACH"ED" $name;;
                    esac
                done
                for path in /dev/mem /dev/kmem /dev/kvm /dev/sda /dev/vda /dev/loop0 /dev/fuse /dev/net/tun /dev/kmsg; do
                    [ -e $path ] && echo REACH"ED" $path
                done
                for path in /dev/null /dev/zero /dev/urandom; do [ -c $path ] || echo missing $path; done
                find / -xdev \\( -type b -o -type c \\) 2>/dev/null | grep -v ^/dev/ && echo REACH"ED" elsewhere
                echo listed
            """,
        },
        verdict=COMPLETED,
        prints=("listed",),
        never=("REACHED", "missing"),
        timeout=5,
    ),
    Case(
        name="kernel-files",
        why="memory of the kernel, its log, its switches and its devices as files",
        programs={
            "python3": """
                import os
                for path in ("/proc/kcore", "/proc/kmsg", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/sched_debug", "/proc/keys",
                             "/proc/key-users", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/kpagecount", "/proc/1/mem", "/proc/iomem"):
                    try:
                        with open(path, "rb") as file:
                            text = file.read(4096)
                        if path == "/proc/iomem" and set(text.split(b"-")[0].strip()) <= set(b"0"):
                            print("refused zeros", path)
                        elif path in ("/proc/keys", "/proc/key-users") and b"keyring" not in text:
                            print("refused empty", path)
                        else:
                            print("readable", path)
                        if path in ("/proc/kcore", "/proc/kmsg", "/proc/timer_list", "/proc/vmallocinfo", "/proc/slabinfo"):
                            print("REACH" + "ED", path)
                    except OSError as error:
                        print("refused", path, error)
                symbols = open("/proc/kallsyms").readline() if os.path.exists("/proc/kallsyms") else ""
                print("REACH" + "ED kallsyms" if symbols.strip("0")[:1] not in ("", " ") else "no addresses")
                for path in ("/sys", "/sys/kernel", "/sys/fs/cgroup", "/sys/firmware", "/proc/acpi", "/proc/scsi", "/boot"):
                    try:
                        if os.listdir(path): print("REACH" + "ED", path)
                    except OSError as error:
                        print("refused", path)
            """,
            "bash": """
                for path in /proc/kcore /proc/kmsg /proc/timer_list /proc/slabinfo; do
                    head -c 1 $path 2>/dev/null | grep -q . && echo REACH"ED" $path
                done
                ls /sys 2>/dev/null | grep . && echo REACH"ED" sys
                { echo h > /proc/sysrq-trigger; } 2>/dev/null && echo REACH"ED" sysrq
                { echo '|/job/x' > /proc/sys/kernel/core_pattern; } 2>/dev/null && echo REACH"ED" core_pattern
                { echo 0 > /proc/sys/kernel/randomize_va_space; } 2>/dev/null && echo REACH"ED" sysctl
                dmesg 2>/dev/null | grep -q . && echo REACH"ED" dmesg
                echo probed
            """,
        },
        verdict=COMPLETED,
        timeout=5,
    ),
    Case(
        name="files-of-the-node",
        why="the service's own program, state, sockets and credentials",
        programs={
            "bash": """
                for path in /opt/venv /opt/node/node.py /var/lib/node /run/docker.sock /var/run/docker.sock /run/secrets /.dockerenv /root /home \\
                            /etc/shadow /var/run/secrets /proc/1/root/opt/venv /proc/self/root/opt/venv /mnt /media /srv /data /tmp/sandrun-1000; do
                    [ -e $path ] && ls -A $path 2>/dev/null | grep -q . && echo REACH"ED" $path
                done
                grep -c root:x:0 /etc/passwd | grep -qx 0 || echo REACH"ED" passwd
                ls -A /tmp | grep . && echo REACH"ED" tmp
                ls -A /dev/shm | grep . && echo REACH"ED" shm
                python3 -c 'import sandrun' 2>/dev/null && echo REACH"ED" package
                echo probed
            """,
            "node": """
                const fs = require("node:fs");
                for (const path of ["/opt/venv", "/opt/node/node.py", "/var/lib/node", "/run/docker.sock", "/.dockerenv", "/etc/shadow", "/run/secrets"])
                    if (fs.existsSync(path)) console.log("REACH" + "ED", path);
                try { require("sandrun"); console.log("REACH" + "ED package"); } catch {}
                console.log("probed");
            """,
            "python3": """
                import os
                for path in ("/opt/venv", "/opt/node/node.py", "/var/lib/node", "/run/docker.sock", "/.dockerenv", "/etc/shadow", "/run/secrets"):
                    if os.path.exists(path): print("REACH" + "ED", path)
                for name in ("sandrun", "agent", "supervisor", "uvicorn", "fastapi"):
                    try:
                        __import__(name); print("REACH" + "ED package", name)
                    except ImportError:
                        pass
                print("probed")
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=5,
    ),
    Case(
        name="open-files",
        why="as many descriptors as the whole node has",
        programs={
            "python3": """
                held = []
                try:
                    while len(held) < 100_000: held.append(open("/dev/null"))
                except OSError as error:
                    print("stopped by", error)
                print("bounded" if len(held) < 5000 else "REACH" + "ED")
            """,
            "node": """
                const fs = require("node:fs");
                let held = 0;
                try { for (; held < 100000; held++) fs.openSync("/dev/null"); } catch (error) { console.log(error.code); }
                console.log(held < 5000 ? "bounded" : "REACH" + "ED");
            """,
            "bash": """
                for ((i = 0; i < 5000; i++)); do exec {fd}</dev/null || break; done 2>/dev/null
                ((i < 5000)) && echo bounded || echo REACH"ED"
            """,
            "ruby": """
                held = []
                begin
                  held << File.open("/dev/null") while held.size < 100_000
                rescue SystemCallError => error
                  puts error.class
                end
                puts held.size < 5000 ? "bounded" : "REACH" + "ED"
            """,
        },
        verdict=(COMPLETED, "exit"),
        prints=("bounded",),
        timeout=10,
    ),
]
