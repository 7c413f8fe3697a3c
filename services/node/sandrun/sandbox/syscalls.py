"""The system calls a job may make, by purpose. Everything else answers ENOSYS, as on a kernel without it.

Docker's default profile was the starting point. Left out beyond it, and why:

- other processes' memory and registers: ptrace, process_vm_*, kcmp, pidfd_getfd, process_madvise;
- memory that no measure of ours sees: memfd_create, memfd_secret, System V memory, semaphores and messages, mq_*,
  vmsplice, remap_file_pages;
- counters that all jobs of one user share and one job could use up: inotify_init, inotify_init1, fanotify;
- rare and rich in past holes: modify_ldt, name_to_handle_at, io_uring, userfaultfd, bpf, keyctl, perf_event_open,
  legacy asynchronous I/O (io_setup and its family), 32-bit and x32 calls (killed, libseccomp's default).

The lists name calls of x86-64 and arm64; a name that the machine does not have is skipped.
"""

from __future__ import annotations

__all__ = ["ALLOWED", "REFUSED"]

_FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
    fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr lchown
    lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat newfstatat open
    openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat
    sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes write writev cachestat
"""

_MEMORY = """
    brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync munlock munlockall munmap
    pkey_alloc pkey_free pkey_mprotect map_shadow_stack
"""

_PROCESSES = """
    alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv
    futex_wake get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get
    ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open
    pidfd_send_signal prctl prlimit64 process_mrelease restart_syscall rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
    setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill tkill uname vfork wait4
    waitid riscv_hwprobe
"""

_TIME_AND_EVENTS = """
    clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2
    epoll_wait eventfd eventfd2 gettimeofday nanosleep poll ppoll pselect6 select signalfd signalfd4 time
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
    timerfd_settime times
"""

_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown socketpair
"""

#: Allowed with any argument, but for what `seccomp.argument_guard` refuses.
ALLOWED = tuple(sorted((_FILES + _MEMORY + _PROCESSES + _TIME_AND_EVENTS + _SOCKETS).split()))

_REFUSED = """
    acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig
    fsmount fsopen fspick init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
    migrate_pages modify_ldt mount mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree
    perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl
    quotactl_fd reboot request_key set_mempolicy setdomainname sethostname setns settimeofday swapoff swapon syslog
    umount2 unshare userfaultfd vhangup
"""

#: Known and privileged or withheld: EPERM, which programs expect here, instead of ENOSYS.
REFUSED = tuple(_REFUSED.split())
