"""Honest programs. A sandbox that stops them is as wrong as one that lets the others pass."""

from hostile.expect import ended_within, files_are, files_include, no_limit_reported, stdout_is
from hostile.model import COMPLETED, PATIENT_SECONDS, Case

CASES = [
    Case(
        name="hello",
        why="the smallest program",
        programs={
            "python3": "print('hello')",
            "node": "console.log('hello')",
            "bash": "echo hello",
            "ruby": "puts 'hello'",
        },
        verdict=COMPLETED,
        checks=(stdout_is("hello\n"), no_limit_reported, ended_within(PATIENT_SECONDS - 2)),
        timeout=10,
    ),
    Case(
        name="arguments-input-environment",
        why="what the manifest gives arrives unchanged, quotes and all",
        programs={
            "python3": "import os, sys; print(sys.argv[1:], os.environ['GREETING'], sys.stdin.read())",
            "bash": 'printf \'%s|\' "$@"; printf \'%s %s\' "$GREETING" "$(cat)"',
            "node": "console.log(process.argv.slice(2), process.env.GREETING, require('node:fs').readFileSync(0, 'utf8'))",
            "ruby": "print ARGV.inspect, ' ', ENV['GREETING'], ' ', $stdin.read",
        },
        manifest={
            "args": ["a b", "$(id)", "--help", "", "ü'\\"],
            "env": {"GREETING": "good; day `id`"},
            "stdin": "from outside",
        },
        verdict=COMPLETED,
        prints=("a b", "$(id)", "--help", "good; day `id`", "from outside"),
        timeout=10,
    ),
    Case(
        name="children-sharing-memory",
        why="sixty megabytes shared by six children are sixty megabytes, not four hundred",
        programs={
            "python3": """
                import os, time
                held = b"x" * (60 << 20)
                children = []
                for _ in range(6):
                    pid = os.fork()
                    if pid == 0:
                        time.sleep(0.6); os._exit(0)
                    children.append(pid)
                for pid in children: os.waitpid(pid, 0)
                print("shared", len(held) >> 20)
            """,
        },
        verdict=COMPLETED,
        prints=("shared 60",),
        timeout=10,
        memory_mb=160,
    ),
    Case(
        name="most-of-the-memory",
        why="what was promised can be used",
        programs={
            "python3": "held = b'x' * (150 << 20); print('held', len(held) >> 20)",
            "node": "const b = Buffer.alloc(120 << 20, 1); console.log('held', b.length >> 20)",
            "ruby": "held = 'x' * (150 << 20); puts \"held #{held.size >> 20}\"",
        },
        verdict=COMPLETED,
        prints=("held 1",),
        timeout=10,
        memory_mb=256,
    ),
    Case(
        name="memory-taken-and-given-back",
        why="a peak below the limit, many times over, is no excess",
        programs={
            "python3": "for _ in range(40): held = b'x' * (40 << 20)\nprint('done')",
            "ruby": "40.times { held = 'x' * (20 << 20); held.clear }\nputs 'done'",
        },
        verdict=COMPLETED,
        prints=("done",),
        timeout=20,
    ),
    Case(
        name="ordinary-parallelism",
        why="threads, pools, workers and pipelines of everyday programs",
        programs={
            "python3": """
                from concurrent.futures import ThreadPoolExecutor
                from multiprocessing import Pipe, Process
                import asyncio, subprocess
                def work(pipe): pipe.send(sum(range(1000)))
                if __name__ == "__main__":
                    with ThreadPoolExecutor(8) as pool: print(sum(pool.map(len, ["x"] * 100)))
                    here, there = Pipe(); p = Process(target=work, args=(there,)); p.start(); print(here.recv()); p.join()
                    async def both(): return await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"))
                    print(asyncio.run(both()), subprocess.check_output(["echo", "child"]).decode().strip())
                    print("done")
            """,
            "node": """
                const { Worker } = require("node:worker_threads");
                const { execFileSync } = require("node:child_process");
                new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true }).on("message", value => {
                    console.log(value, execFileSync("echo", ["child"]).toString().trim(), "done");
                });
            """,
            "bash": """
                diff <(seq 5) <(seq 5) && seq 100 | sort -n | tail -1 | tee >(cat >/dev/null)
                (exit 3) || echo done
            """,
            "ruby": """
                puts 4.times.map { |i| Thread.new { i * i } }.sum(&:value)
                puts `echo child`
                pid = fork { exit! 0 }
                Process.wait(pid)
                puts "done"
            """,
        },
        verdict=COMPLETED,
        prints=("done",),
        timeout=10,
        memory_mb=256,
    ),
    Case(
        name="shared-memory-of-libraries",
        why="what libraries need of /dev/shm, semaphores and temporary files",
        programs={
            "python3": """
                import multiprocessing, tempfile, sqlite3, ssl, ctypes, uuid, secrets, hashlib
                lock = multiprocessing.Lock()
                with lock, tempfile.NamedTemporaryFile() as file: file.write(b"x")
                base = sqlite3.connect(":memory:"); print(base.execute("select 1 + 1").fetchone())
                with tempfile.TemporaryDirectory() as name: sqlite3.connect(name + "/f.db").execute("create table t (x)")
                print(ssl.OPENSSL_VERSION[:7], len(secrets.token_bytes(8)), hashlib.sha256(b"").hexdigest()[:4])
                print("done")
            """,
            "ruby": """
                require "tempfile"; require "securerandom"; require "json"; require "digest"
                Tempfile.create { |f| f.write "x" }
                puts JSON.generate(a: SecureRandom.hex(4)), Digest::SHA256.hexdigest("")[0, 4], "done"
            """,
            "node": """
                const crypto = require("node:crypto"), fs = require("node:fs"), os = require("node:os"), zlib = require("node:zlib");
                fs.mkdtempSync(os.tmpdir() + "/x"); zlib.gzipSync("x"); crypto.randomBytes(8); os.cpus(); os.hostname(); os.userInfo();
                process.memoryUsage(); console.log("done");
            """,
        },
        verdict=COMPLETED,
        prints=("done",),
        timeout=10,
        memory_mb=256,
    ),
    Case(
        name="files-kept",
        why="files, empty files, folders and binary content come back as they were",
        programs={
            "python3": """
                import os
                os.makedirs("a/b/c"); open("a/b/c/deep.bin", "wb").write(bytes(range(256))); open("empty", "w").close()
                open("text.txt", "w").write("ü\\n")
            """,
            "bash": "mkdir -p a/b/c; printf x > a/b/c/deep.bin; : > empty; echo text > text.txt",
            "node": "const fs = require('node:fs'); fs.mkdirSync('a/b/c', { recursive: true }); "
            "fs.writeFileSync('a/b/c/deep.bin', Buffer.alloc(9)); fs.writeFileSync('empty', ''); fs.writeFileSync('text.txt', 't')",
            "ruby": "require 'fileutils'; FileUtils.mkdir_p('a/b/c'); File.binwrite('a/b/c/deep.bin', \"\\0\"); "
            "File.write('empty', ''); File.write('text.txt', 't')",
        },
        verdict=COMPLETED,
        collect=True,
        checks=(files_are("a/b/c/deep.bin", "empty", "text.txt"),),
        timeout=10,
    ),
    Case(
        name="files-of-a-failed-job",
        why="what was written before the end is there, whatever the end was",
        programs={
            "bash": "echo partial > partial.txt; sleep 60",
            "python3": "open('partial.txt', 'w').write('partial'); import time; time.sleep(60)",
        },
        verdict="timeout",
        collect=True,
        checks=(files_include("partial.txt"),),
        timeout=6,  # it has to come as far as that
    ),
    Case(
        name="chosen-files",
        why="only what was asked for",
        programs={"bash": "mkdir out; echo 1 > out/one.csv; echo 2 > out/two.txt; echo 3 > three.csv"},
        manifest={"outputs": ["out/", "*.log"]},
        verdict=COMPLETED,
        collect=True,
        checks=(files_are("out/one.csv", "out/two.txt"),),
        timeout=10,
    ),
    Case(
        name="own-signals",
        why="programs may use signals, alarms and their handlers",
        programs={
            "python3": """
                import os, signal, time
                seen = []
                signal.signal(signal.SIGALRM, lambda *_: seen.append("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05)
                signal.signal(signal.SIGUSR1, lambda *_: seen.append("user")); os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.2); print(sorted(seen))
            """,
            "bash": "trap 'echo got it' USR1; kill -USR1 $$; timeout 0.1 sleep 9; [ $? = 124 ] && echo stopped",
        },
        verdict=COMPLETED,
        timeout=10,
    ),
]
