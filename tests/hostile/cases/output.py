"""Output: too much, too odd, in pieces too small, or meant for whoever reads it."""

from hostile.expect import (
    counted_at_least,
    ended_within,
    kept_at_most,
    limit_reported,
    stderr_is,
    stdout_holds_bytes,
    stdout_is,
)
from hostile.model import COMPLETED, PATIENT_SECONDS, Case

#: No service has a reason to hand back more of one stream than this.
KEPT = 32 << 20

CASES = [
    Case(
        name="flood",
        why="fill disk or memory of whoever collects it",
        programs={
            "python3": """
                import os
                while True: os.write(1, b"x" * 65536)
            """,
            "node": """
                const fs = require("node:fs"), block = "x".repeat(65536);
                for (;;) fs.writeSync(1, block);
            """,
            "bash": "cat /dev/zero",
            "ruby": "loop { $stdout.syswrite('x' * 65536) }",
        },
        verdict="output",
        timeout=10,
        checks=(limit_reported, kept_at_most(KEPT), ended_within(PATIENT_SECONDS - 2)),
    ),
    Case(
        name="flood-on-standard-error",
        why="the other stream is often forgotten",
        programs={
            "python3": """
                import os
                while True: os.write(2, b"x" * 65536)
            """,
            "node": """
                const fs = require("node:fs"), block = "x".repeat(65536);
                for (;;) fs.writeSync(2, block);
            """,
            "bash": "yes >&2",
            "ruby": "loop { $stderr.syswrite('x' * 65536) }",
        },
        verdict="output",
        timeout=10,
        checks=(kept_at_most(KEPT), ended_within(PATIENT_SECONDS - 2)),
    ),
    Case(
        name="flood-on-both-from-many",
        why="several writers on both streams at once",
        programs={
            "bash": """
                for i in 1 2 3 4; do yes & yes >&2 & done
                wait
            """,
            "python3": """
                import os
                for _ in range(4):
                    if os.fork() == 0: break
                while True: os.write(1, b"o" * 4096); os.write(2, b"e" * 4096)
            """,
        },
        verdict="output",
        timeout=10,
        checks=(kept_at_most(KEPT), ended_within(PATIENT_SECONDS - 2)),
    ),
    Case(
        name="flood-then-success",
        why="write far more than allowed, ignore the broken pipe and end with exit code 0",
        programs={
            "python3": """
                import os, signal
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                for _ in range(8192):
                    try:
                        os.write(1, b"x" * 65536)
                    except OSError:
                        pass
                os._exit(0)
            """,
            "bash": """
                trap '' PIPE
                head -c 536870912 /dev/zero 2>/dev/null
                exit 0
            """,
        },
        verdict="output",
        timeout=20,
        checks=(kept_at_most(KEPT), counted_at_least(1 << 20)),
    ),
    Case(
        name="not-text",
        why="every byte value there is: nothing may be lost and nothing may break the answer",
        programs={
            "python3": "import sys; sys.stdout.buffer.write(bytes(range(256)))",
            "node": "process.stdout.write(Buffer.from([...Array(256).keys()]))",
            "bash": 'for i in $(seq 0 255); do printf "\\\\x$(printf %02x $i)"; done',
            "ruby": "$stdout.binmode; $stdout.write((0..255).map(&:chr).join)",
        },
        verdict=COMPLETED,
        checks=(stdout_holds_bytes(bytes(range(256))),),
    ),
    Case(
        name="broken-utf-8",
        why="cut sequences, surrogates, overlong forms and values beyond Unicode",
        programs={
            "python3": r"""
                import sys
                sys.stdout.buffer.write(b"a\xc3(\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xfe\xff\xe2\x82 end")
            """,
            "ruby": r"""
                $stdout.binmode
                $stdout.write "a\xc3(\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xfe\xff\xe2\x82 end".b
            """,
        },
        verdict=COMPLETED,
        checks=(stdout_holds_bytes(b"a\xc3(\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xfe\xff\xe2\x82 end"),),
    ),
    Case(
        name="split-characters",
        why="each byte of a character in a write of its own: decoding piece by piece destroys it",
        programs={
            "python3": """
                import os, time
                for byte in "grün €, 日本, 🦊\\n".encode():
                    os.write(1, bytes([byte])); time.sleep(0.005)
            """,
            "ruby": """
                "grün €, 日本, 🦊\\n".bytes.each { |b| $stdout.syswrite(b.chr); sleep 0.005 }
            """,
        },
        verdict=COMPLETED,
        checks=(stdout_is("grün €, 日本, 🦊\n"),),
    ),
    Case(
        name="terminal-sequences",
        why="clear screens, set titles and answer-back requests: data for the reader, never executed or dropped",
        programs={
            "python3": r"""
                import sys
                sys.stdout.write("\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\x1b[6n\x08\x08\rX\x7f\x9b\u202eabc\u2028\u2029\n")
            """,
            "bash": r"""
                printf '\033[2J\033]0;title\007\033[31mred\033[0m\033[6n\b\b\rX\177\302\233\342\200\256abc\342\200\250\342\200\251\n'
            """,
        },
        verdict=COMPLETED,
        checks=(
            stdout_is("\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\x1b[6n\x08\x08\rX\x7f\x9b\u202eabc\u2028\u2029\n"),
        ),
    ),
    Case(
        name="nul-bytes",
        why="C strings end here",
        programs={
            "python3": r"print('a\0b\0\0c')",
            "node": r"console.log('a\0b\0\0c')",
            "bash": r"printf 'a\0b\0\0c\n'",
            "ruby": r'puts "a\0b\0\0c"',
        },
        verdict=COMPLETED,
        checks=(stdout_is("a\0b\0\0c\n"),),
    ),
    Case(
        name="byte-by-byte",
        why="twenty thousand writes of one byte: each wakes the reader",
        programs={
            "python3": """
                import os
                for i in range(20000): os.write(1, b"%d" % (i % 10))
            """,
            "node": """
                const fs = require("node:fs");
                for (let i = 0; i < 20000; i++) fs.writeSync(1, String(i % 10));
            """,
            "ruby": "20000.times { |i| $stdout.syswrite((i % 10).to_s) }",
            "bash": "for i in {1..2000}; do printf 0123456789; done",
        },
        verdict=COMPLETED,
        timeout=15,
        checks=(stdout_is("0123456789" * 2000),),
    ),
    Case(
        name="one-long-line",
        why="half a megabyte without a newline",
        programs={
            "python3": "print('y' * 500_000, end='')",
            "node": "process.stdout.write('y'.repeat(500000))",
            "bash": "printf 'y%.0s' {1..50000}; printf 'y%.0s' {1..50000}; "
            "for i in 1 2 3 4; do printf 'y%.0s' {1..100000}; done",
            "ruby": "print 'y' * 500_000",
        },
        verdict=COMPLETED,
        timeout=10,
        checks=(stdout_is("y" * 500_000),),
    ),
    Case(
        name="unfinished-last-line",
        why="what comes without a newline, right before a sudden end, belongs to the output too",
        programs={
            "python3": "import os; os.write(1, b'whole\\npart'); os.write(2, b'oops'); os._exit(3)",
            "node": "const fs = require('node:fs'); fs.writeSync(1, 'whole\\npart'); fs.writeSync(2, 'oops'); process.exit(3)",
            "bash": "printf 'whole\\npart'; printf oops >&2; exit 3",
            "ruby": "$stdout.syswrite \"whole\\npart\"; $stderr.syswrite 'oops'; exit! 3",
        },
        verdict="exit",
        checks=(stdout_is("whole\npart"), stderr_is("oops")),
    ),
    Case(
        name="killed-in-mid-sentence",
        why="output before a kill by the supervisor must survive it",
        programs={
            "python3": "import os, time; os.write(1, b'said before'); os.write(2, b'and here'); time.sleep(60)",
            "bash": "printf 'said before'; printf 'and here' >&2; sleep 60",
            "node": "const fs = require('node:fs'); fs.writeSync(1, 'said before'); fs.writeSync(2, 'and here'); "
            "setInterval(() => 0, 1000)",
            "ruby": "$stdout.syswrite 'said before'; $stderr.syswrite 'and here'; sleep",
        },
        verdict="timeout",
        checks=(stdout_is("said before"), stderr_is("and here")),
        timeout=6,  # it has to come as far as that
    ),
    Case(
        name="written-by-the-last-child",
        why="a child's output that is in the pipe when the program ends is not lost",
        programs={
            "bash": "( printf 'from the child' ); exit 0",
            "python3": """
                import os
                pid = os.fork()
                if pid == 0:
                    os.write(1, b"from the child"); os._exit(0)
                os.waitpid(pid, 0); os._exit(0)
            """,
        },
        verdict=COMPLETED,
        checks=(stdout_is("from the child"),),
    ),
    Case(
        name="pipe-reopened",
        why="standard output through its other names, and with flags nobody expects on a pipe",
        programs={
            "bash": """
                echo one > /dev/stdout
                echo two > /proc/self/fd/1
                echo three >&1
            """,
            "python3": """
                import fcntl, os
                fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_NONBLOCK)
                os.write(1, b"one\\n")
                os.set_blocking(1, True)
                open("/dev/stdout", "w").write("two\\n")
                open("/proc/self/fd/1", "w").write("three\\n")
            """,
        },
        verdict=COMPLETED,
        checks=(stdout_is("one\ntwo\nthree\n"),),
    ),
    Case(
        name="own-output-stolen",
        why="read back from the pipe what the supervisor should get, or block it by a tiny pipe",
        programs={
            "python3": """
                import fcntl, os
                try:
                    fcntl.fcntl(1, 1031, 4096)
                except OSError:
                    pass
                os.write(1, b"first ")
                os.write(1, b"y" * 100000)
                os.write(1, b" last")
            """,
        },
        verdict=COMPLETED,
        checks=(stdout_is("first " + "y" * 100_000 + " last"),),
    ),
    Case(
        name="no-output-at-all",
        why="empty is not missing",
        programs={"python3": "pass", "node": ";", "bash": ":", "ruby": "nil"},
        verdict=COMPLETED,
        checks=(stdout_is(""), stderr_is("")),
    ),
]
