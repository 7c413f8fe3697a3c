"""System calls that a job has no business with, each made in a child of its own, from every language.

A probe is refused when the kernel answers without having looked at what was asked: EPERM, ENOSYS or the filter's signal. An
answer such as EINVAL or EFAULT means that the call is reachable, and the next kernel bug with it.
"""

import textwrap

from hostile.expect import probes_refused
from hostile.model import COMPLETED, Case

#: name, number on x86-64, number on arm64 (- where there is none), arguments (s: marks text).
TABLE = """
keyctl              250 219 0 -3 1
add_key             248 217 s:user s:name s:x 1 -3
request_key         249 218 s:user s:name 0 -3
io_uring_setup      425 425 4 s:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
io_uring_enter      426 426 -1 0 0 0 0
io_uring_register   427 427 -1 0 0 0
bpf                 321 280 0 0 0
perf_event_open     298 241 0 0 -1 -1 0
userfaultfd         323 282 1
setns               308 268 -1 0
mount               165 40  s:tmpfs s:/tmp s:tmpfs 0 0
mount-bind          165 40  s:/ s:/tmp s:none 4096 0
mount-remount-rw    165 40  s:none s:/ s:none 32 0
umount2             166 39  s:/tmp 2
umount-proc         166 39  s:/proc 2
pivot_root          155 41  s:. s:.
chroot              161 51  s:/tmp
open_tree           428 428 -100 s:/ 1
move_mount          429 429 -1 s:x -1 s:x 0
fsopen              430 430 s:tmpfs 0
fsconfig            431 431 -1 0 0 0 0
fsmount             432 432 -1 0 0
fspick              433 433 -100 s:/ 0
mount_setattr       442 442 -100 s:/ 0 0 0
sethostname         170 161 s:owned 5
setdomainname       171 162 s:owned 5
kexec_load          246 104 0 0 0 0
kexec_file_load     320 294 -1 -1 0 0 0
init_module         175 105 s:x 1 s:x
finit_module        313 273 -1 s:x 0
delete_module       176 106 s:x 0
swapon              167 224 s:/tmp/x 0
swapoff             168 225 s:/tmp/x
reboot              169 142 0xfee1dead 672274793 0 0
acct                163 89  s:/tmp/x
quotactl            179 60  0 s:x 0 0
quotactl_fd         443 443 -1 0 0 0
syslog              103 116 3 0 0
vhangup             153 58
iopl                172 -   3
ioperm              173 -   0x80 1 1
open_by_handle_at   304 265 -1 0 0
name_to_handle_at   303 264 -100 s:/ 0 0 0
lookup_dcookie      212 18  0 0 0
ptrace-traceme      101 117 0 0 0 0
ptrace-seize-init   101 117 0x4206 1 0 0
process_vm_readv    310 270 1 0 0 0 0 0
process_vm_writev   311 271 1 0 0 0 0 0
kcmp                312 272 1 1 0 0 0
pidfd_getfd         438 438 -1 0 0
modify_ldt          154 -   0 0 0
vmsplice            278 75  -1 0 0 0
memfd_create        319 279 s:x 0
memfd_secret        447 447 0
shmget              29  194 0 4096 0x380
semget              64  190 0 1 0x380
msgget              68  186 0 0x380
mq_open             240 180 s:x 0x42 0x180 0
inotify_init        253 -
inotify_init1       294 26  0
fanotify_init       300 262 0 0
clock_settime       227 112 0 0
settimeofday        164 170 0 0
adjtimex            159 171 0
clock_adjtime       305 266 0 0
remap_file_pages    216 234 0 0 0 0 0
personality-no-randomize 135 92 0x40000
personality-read-implies-exec 135 92 0x400000
unshare-user        272 97  0x10000000
unshare-net         272 97  0x40000000
unshare-mount       272 97  0x20000
unshare-pid         272 97  0x20000000
unshare-user-and-all 272 97 0x7e020000
clone-user          56  220 0x10000011 0 0 0 0
clone-user-net      56  220 0x50000011 0 0 0 0
clone-mount         56  220 0x20011 0 0 0 0
clone3              435 435 0 0
move_pages          279 239 1 0 0 0 0 0
migrate_pages       256 238 1 0 0 0
nfsservctl          180 42  0 0 0
x32-getpid          0x40000027 -
x32-execve          0x40000208 -
mknod-device        133 -   s:/tmp/dev 0x21b6 0x105
mknodat-device      259 33  -100 s:/tmp/dev 0x21b6 0x105
setgroups           116 159 1 s:xxxx
socket-packet       41  198 17 3 0
socket-packet-dgram 41  198 17 2 0
socket-raw-icmp     41  198 2 3 1
socket-raw-tcp      41  198 2 3 6
socket-raw6         41  198 10 3 58
socket-netfilter    41  198 16 3 12
socket-audit        41  198 16 3 9
socket-xfrm         41  198 16 3 6
socket-alg          41  198 38 5 0
socket-vsock        41  198 40 1 0
socket-xdp          41  198 44 3 0
socket-bluetooth    41  198 31 3 1
socket-can          41  198 29 3 1
socket-tipc         41  198 30 5 0
socket-rds          41  198 21 5 0
socket-key          41  198 15 3 2
socket-smc          41  198 43 1 0
socket-appletalk    41  198 5 2 0
socket-x25          41  198 9 5 0
socket-sctp         41  198 2 1 132
"""

NAMES = tuple(line.split()[0] for line in TABLE.strip().splitlines())

PYTHON = f'''
import ctypes, errno, os, platform, signal
TABLE = """{TABLE}"""
libc = ctypes.CDLL(None, use_errno=True)
column = 2 if platform.machine() == "aarch64" else 1
for line in TABLE.strip().splitlines():
    fields = line.split()
    if fields[column] == "-":
        print(fields[0] + ": refused (not on this machine)"); continue
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        arguments = [a[2:].encode() if a.startswith("s:") else ctypes.c_long(int(a, 0)) for a in fields[3:]]
        result = libc.syscall(ctypes.c_long(int(fields[column], 0)), *arguments)
        os.write(w, (f"open {{result}}" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")).encode())
        os._exit(0)
    os.close(w)
    answer = os.read(r, 100).decode()
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    print(f"{{fields[0]}}: {{answer or signal.Signals(os.WTERMSIG(status)).name}}", flush=True)
'''

RUBY = f"""
TABLE = <<~END
{TABLE}
END
column = RUBY_PLATFORM.start_with?("aarch64") ? 2 : 1
$VERBOSE = nil
TABLE.strip.lines.each do |line|
  fields = line.split
  (puts "#{{fields[0]}}: refused (not on this machine)"; next) if fields[column] == "-"
  r, w = IO.pipe
  pid = fork do
    arguments = fields[3..].map {{ |a| a.start_with?("s:") ? a[2..] : Integer(a) }}
    begin
      w.syswrite "open #{{syscall(Integer(fields[column]), *arguments)}}"
    rescue SystemCallError => error
      w.syswrite error.class.name.split("::").last
    end
    exit! 0
  end
  w.close
  answer = r.read
  Process.wait(pid)
  puts "#{{fields[0]}}: #{{answer.empty? ? "SIG" + Signal.signame($?.termsig).to_s : answer}}"
end
"""

PERL = f"""
use Errno; use POSIX ();
my $table = q({TABLE});
my $column = (POSIX::uname())[4] eq "aarch64" ? 2 : 1;
my @signals = (); {{ require Config; @signals = split " ", $Config::Config{{sig_name}}; }}
$| = 1;
for my $line (grep {{ /\\S/ }} split /\\n/, $table) {{
    my @fields = split " ", $line;
    if ($fields[$column] eq "-") {{ print "$fields[0]: refused (not on this machine)\\n"; next }}
    pipe(my $r, my $w);
    my $pid = fork;
    if ($pid == 0) {{
        my @arguments = map {{ my $a = $_; $a =~ s/^s:// ? "$a" : ($a =~ /^0x/ ? hex($a) + 0 : $a + 0) }} @fields[3 .. $#fields];
        my $number = $fields[$column] =~ /^0x/ ? hex($fields[$column]) : $fields[$column] + 0;
        my $result = syscall($number, @arguments);
        my ($name) = grep {{ $!{{$_}} }} keys %!;
        syswrite($w, $result >= 0 ? "open $result" : $name);
        POSIX::_exit(0);
    }}
    close $w;
    sysread($r, my $answer, 100);
    waitpid($pid, 0);
    $answer = "SIG" . $signals[$? & 127] unless length $answer;
    print "$fields[0]: $answer\\n";
}}
"""

BASH = f"exec perl - <<'PROGRAM'\n{PERL}\nPROGRAM\n"

NODE = f"""
const {{ spawnSync }} = require("node:child_process");
const found = spawnSync("perl", ["-"], {{ input: {textwrap.dedent(PERL)!r} }});
process.stdout.write(found.stdout); process.stderr.write(found.stderr);
"""

CASES = [
    Case(
        name="table",
        why="the doors of the kernel that break-outs use",
        programs={"python3": PYTHON, "node": NODE, "bash": BASH, "ruby": RUBY},
        verdict=COMPLETED,
        checks=(probes_refused(*NAMES),),
        timeout=20,
    ),
    Case(
        name="32-bit-entrance",
        why="the old entrance has other numbers, which a filter for the new one does not know",
        programs={
            "python3": r"""
                import ctypes, mmap, os, platform
                if platform.machine() != "x86_64":
                    print("refused (not on this machine)"); raise SystemExit
                # mov eax, 20 (getpid); int 0x80; ret
                code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
                code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
                function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
                print("REACH" + "ED" if function() == os.getpid() else "refused")
            """,
        },
        verdict=(COMPLETED, "signal", "exit"),
    ),
    Case(
        name="32-bit-program",
        why="the same as a whole program: a 32-bit ELF of ninety bytes",
        programs={
            "python3": r"""
                import os, platform, struct, subprocess
                if platform.machine() != "x86_64":
                    print("refused (not on this machine)"); raise SystemExit
                # mov eax, 1 (exit); mov ebx, 77; int 0x80
                code = b"\xb8\x01\x00\x00\x00\xbb\x4d\x00\x00\x00\xcd\x80"
                base = 0x08048000
                header = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
                program = struct.pack("<IIIIIIII", 1, 0, base, base, 84 + len(code), 84 + len(code), 5, 4096)
                open("tiny", "wb").write(header + program + code); os.chmod("tiny", 0o755)
                try:
                    code = subprocess.run(["./tiny"]).returncode
                except OSError as error:
                    code = error
                print("REACH" + "ED" if code == 77 else f"refused ({code})")
            """,
        },
        verdict=COMPLETED,
        prints=("refused",),
    ),
    Case(
        name="keystrokes-into-a-terminal",
        why="put characters into a terminal's input, as if its owner had typed them",
        programs={
            "python3": """
                import fcntl, os, termios
                fcntl_results = []
                for fd in (0, 1, 2):
                    try:
                        fcntl.ioctl(fd, termios.TIOCSTI, b"x"); print("REACH" + "ED", fd)
                    except OSError as error:
                        print("refused", error)
                for request in (0x5412, 0x5412 | 1 << 32, 0x541C):
                    try:
                        outer, inner = os.openpty()
                        fcntl.ioctl(inner, request & 0xFFFFFFFF, b"x"); print("REACH" + "ED own terminal", hex(request))
                    except (OSError, OverflowError) as error:
                        print("refused", error)
                try:
                    os.open("/dev/tty", os.O_RDWR); print("REACH" + "ED tty")
                except OSError as error:
                    print("refused", error)
            """,
        },
        verdict=COMPLETED,
        prints=("refused",),
    ),
    Case(
        name="nested-namespaces-by-tool",
        why="a user namespace inside the job would give it every capability over new namespaces",
        programs={
            "bash": """
                for flags in -U -Ur -Urm -Urn -Urp "-Ur --fork --mount-proc -p" -n -m; do
                    unshare $flags true 2>/dev/null && echo REACH"ED" unshare $flags
                done
                bwrap --unshare-all --ro-bind / / true 2>/dev/null && echo REACH"ED" bwrap
                nsenter -t 1 -a true 2>/dev/null && echo REACH"ED" nsenter
                mount -t tmpfs x /tmp 2>/dev/null && echo REACH"ED" mount
                chroot / true 2>/dev/null && echo REACH"ED" chroot
                cat /proc/sys/user/max_user_namespaces 2>/dev/null
                echo probed
            """,
            "python3": """
                import ctypes, os
                libc = ctypes.CDLL(None, use_errno=True)
                for flags in (0x10000000, 0x10020000, 0x7E020000):
                    if os.fork() == 0:
                        print("REACH" + "ED" if libc.unshare(flags) == 0 else "refused", hex(flags), flush=True)
                        os._exit(0)
                    os.wait()
                print("probed")
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=5,
    ),
]
