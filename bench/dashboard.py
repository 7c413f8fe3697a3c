"""The dashboard before a large pool: how soon it is there, and whether it answers while the pool works."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench.figures import Figure, below
from bench.load import BenchNode, Wire, fill
from bench.scale import SESSIONS, fleet, job_of_twenty_classes, keep_beating
from bench.servers import broker
from browser.chromium import LAUNCH

PENDING = 100_000
LOOKS = 20
WATCHED_SECONDS = 8.0
JOBS_A_SECOND = 100
OUTPUT_MB = 5
_PIECES = [f"\x1b[{30 + i % 8};{40 + i % 7}mcolour\x1b[38;5;{i % 256};1m\x07\x08\x00\x9b" for i in range(1000)]
_LINE = (
    "".join(_PIECES) + "\x1b]0;title\x07\x1b[2J<script>document.title = 'owned'</script><img src=x onerror=alert(1)>\n"
)
BOMB = _LINE * (OUTPUT_MB * 10**6 // len(_LINE)) + "the end\n"
_WATCH = """() => { window.longest = 0; new PerformanceObserver((list) => {
    for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
}).observe({ type: 'longtask', buffered: true }); }"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


async def measure_dashboard(directory: Path, rounds: int) -> list[Figure]:
    """One broker with PENDING jobs and SESSIONS nodes that beat and run jobs; one browser, in a thread of its own."""
    figures = _Figures()
    async with broker(directory / "dashboard") as server:
        await fill(server.port, PENDING, job_of_twenty_classes)
        nodes = await fleet(server.port)
        bomb = await _print_colours(server.port, nodes[0])
        beats = asyncio.create_task(keep_beating(server.port, nodes))
        work = asyncio.create_task(_work(nodes[1:9]))
        await _ask_overview(server.port, figures.overview)
        browse = asyncio.to_thread(_browse, f"http://127.0.0.1:{server.port}", bomb, rounds, figures)
        await browse
        for task in (beats, work):
            task.cancel()
        await asyncio.gather(beats, work, return_exceptions=True)
        for node in nodes:
            node.wire.close()
    return figures.all


class _Figures:
    """What is measured."""

    def __init__(self) -> None:
        of = f"{PENDING:,} jobs, {SESSIONS:,} nodes"
        self.overview = Figure(f"GET /overview, {of}", "ms", "< 200", below(200))
        self.paint = Figure(f"overview page, first paint, {of}", "ms", "< 1000", below(1000))
        self.block = Figure(f"longest time that the live overview does not answer, in {WATCHED_SECONDS:.0f} s", "ms")
        self.jobs = Figure(f"from click to the list of jobs, {of}", "ms", "< 1000", below(1000))
        self.search = Figure(f"from a word to the jobs whose code has it, {of}", "ms", "< 2000", below(2000))
        self.nodes = Figure(f"from click to the nodes, {of}", "ms", "< 1000", below(1000))
        self.job_paint = Figure(
            f"page of a job that printed {OUTPUT_MB} MB of colours and markup, first paint", "ms", "< 1000"
        )
        self.job_paint.reaches = below(1000)
        self.job_whole = Figure("the same, until its last line is there", "ms")

    @property
    def all(self) -> list[Figure]:
        """In the order of the table."""
        return [
            self.overview,
            self.paint,
            self.block,
            self.jobs,
            self.search,
            self.nodes,
            self.job_paint,
            self.job_whole,
        ]


async def _ask_overview(port: int, figure: Figure) -> None:
    wire = Wire(port)
    for _ in range(LOOKS):
        begun = time.perf_counter()
        await wire.ask("GET", "/overview")
        figure.values.append((time.perf_counter() - begun) * 1000)
    wire.close()


async def _work(nodes: list[BenchNode]) -> None:
    """JOBS_A_SECOND jobs claimed and completed, so that there is something to watch."""
    while True:
        for node in nodes:
            for job in await node.claim():
                await node.complete(job)
            await asyncio.sleep(1 / JOBS_A_SECOND)


async def _print_colours(port: int, node: BenchNode) -> str:
    """A completed job whose output is BOMB; its id."""
    wire = Wire(port)
    said = await wire.ask("POST", "/submit", {"code": "x", "priority": 9})
    (job,) = await node.claim()
    assert job["id"] == said["job_id"], "the most urgent job comes first"
    body = {"job_id": job["id"], "fence": job["fence"], "output": BOMB, "error": "", "exit_code": 0}
    await wire.ask("POST", "/complete", json.loads(f"{{{node.head}}}") | body)
    wire.close()
    return str(job["id"])


def _browse(url: str, bomb: str, rounds: int, figures: _Figures) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        for _ in range(rounds):
            with _window(browser) as context:
                _look(context.new_page(), url, bomb, figures)
        browser.close()


def _window(browser: Any) -> AbstractContextManager[Any]:
    """A profile of its own: nothing is kept from the round before."""
    context: AbstractContextManager[Any] = browser.new_context(viewport={"width": 1440, "height": 900})
    return context


def _look(page: Page, url: str, bomb: str, figures: _Figures) -> None:
    page.goto(f"{url}/")
    page.locator(".tiles").wait_for()
    figures.paint.values.append(page.evaluate(_PAINT))
    page.locator(".pool-map").wait_for()
    page.evaluate(_WATCH)
    page.wait_for_timeout(WATCHED_SECONDS * 1000)
    figures.block.values.append(page.evaluate("() => window.longest"))
    figures.jobs.values.append(_until(page, "Jobs", "tbody tr:nth-child(50)"))
    begun = time.perf_counter()
    page.locator("#search").fill("no program has this")
    page.locator(".empty").wait_for()
    figures.search.values.append((time.perf_counter() - begun) * 1000)
    figures.nodes.values.append(_until(page, "Nodes", "tbody tr:nth-child(100)"))
    page.goto("about:blank")
    page.goto(f"{url}/#/jobs/{bomb}")
    begun = time.perf_counter()
    page.locator(".screen .row").first.wait_for()
    figures.job_paint.values.append(page.evaluate(_PAINT))
    page.wait_for_function("() => document.querySelector('.screen').innerText.includes('the end')")
    if "owned" in page.title() or page.locator(".screen script, .screen img").count():
        raise RuntimeError("what the job printed became markup")
    figures.job_whole.values.append((time.perf_counter() - begun) * 1000)


def _until(page: Page, name: str, selector: str) -> float:
    """Milliseconds from a click into the navigation until an element is there, by the page's own clock."""
    elapsed: float = page.evaluate(
        """async ([name, selector]) => {
            const begun = performance.now();
            [...document.querySelectorAll('nav a')].find((one) => one.textContent === name).click();
            while (!document.querySelector(selector)) await new Promise(requestAnimationFrame);
            return performance.now() - begun;
        }""",
        [name, selector],
    )
    return elapsed
