"""Every page in both themes, on a phone and a wide screen: axe finds nothing, and nothing runs over the edge. The
pictures are kept in test-output/dashboard."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.broker import KeyedBroker
from browser.chromium import OVERFLOW, PHONE, SLOW_MS, WIDE, Opened, Scheme
from browser.test_login import log_in
from support.bundle import Bundle

SIZES = {"phone": PHONE, "wide": WIDE}
JUDGED = {("phone", "light"), ("wide", "dark")}
"""Where axe looks: each size and each theme once, since it takes longer than everything else here."""
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

COLOURS = (
    "import sys, time\n"
    "for n in range(8):\n    print(f'\\x1b[3{n}mcolour {n}\\x1b[0m \\x1b[1;9{n}mbright {n}\\x1b[0m "
    "\\x1b[4{n}mpaper {n}\\x1b[0m \\x1b[7mturned\\x1b[0m')\n"
    "print('to stderr', file=sys.stderr)\nopen('report.html', 'w').write('<p>x')\nopen('data/', 'w') if 0 else None\n"
)


@pytest.fixture(scope="module")
def jobs(bundle: Bundle) -> dict[str, str]:
    """Jobs of every kind; the ids by kind."""
    made = {
        "completed": bundle.submit(COLOURS, labels={"suite": "pages", "run": "7"}, submitter="ann"),
        "failed": bundle.submit("x = []\nwhile True: x.append('a' * 10**6)", memory_mb=64, labels={"suite": "pages"}),
        "exit": bundle.submit("exit 3", "bash", submitter="bo"),
        "pending": bundle.submit("puts 1", "ruby", requires={"gpu": True}, priority=8),
        "racks": bundle.submit("1", requires={"labels": {"rack": "7"}}, priority=3),
        "running": bundle.submit(
            "import time\nprint('at work', flush=True)\ntime.sleep(200)", labels={"suite": "pages"}
        ),
    }
    for n in range(12):
        bundle.submit(f"print({n})", labels={"suite": "pages", "run": str(n)}, submitter="ann")
    for name in ("completed", "failed", "exit"):
        bundle.result(made[name])
    return made


def look(opened: Opened, name: str) -> None:
    """Both themes, both sizes."""
    problems = []
    for size_name, size in SIZES.items():
        for scheme in SCHEMES:
            opened.see(size, scheme)
            opened.page.wait_for_function("() => document.fonts.status === 'loaded'")
            opened.shoot(f"{name}-{size_name}-{scheme}")
            if (size_name, scheme) in JUDGED:
                problems += [f"{name} {size_name} {scheme}: {one}" for one in opened.findings()]
            if (over := opened.page.evaluate(OVERFLOW)) > 0:
                problems.append(f"{name} {size_name}: {over} px too wide")
    assert not problems, "\n".join(problems)


def ready(page: Page, selector: str) -> None:
    expect(page.locator(selector).first).to_be_visible(timeout=SLOW_MS)


PAGES: dict[str, tuple[Callable[[dict[str, str]], str], str]] = {
    "overview": (lambda _: "#/", ".queue"),
    "jobs": (lambda _: "#/jobs", "tbody tr"),
    "jobs-filtered": (lambda _: "#/jobs?label=suite%3Dpages&status=completed", "tbody tr"),
    "job-completed": (lambda jobs: f"#/jobs/{jobs['completed']}", ".files a"),
    "job-failed": (lambda jobs: f"#/jobs/{jobs['failed']}", ".reached"),
    "job-pending": (lambda jobs: f"#/jobs/{jobs['pending']}", ".verdict"),
    "job-running": (lambda jobs: f"#/jobs/{jobs['running']}", ".screen .row"),
    "submit": (lambda jobs: f"#/submit?from={jobs['completed']}", ".editor-host"),
    "nodes": (lambda _: "#/nodes", "tbody tr"),
    "nothing": (lambda _: "#/nowhere", ".empty"),
}


@pytest.mark.parametrize("name", PAGES)
def test_it_looks_right_to_everybody(dashboard: Opened, jobs: dict[str, str], name: str) -> None:
    address, wanted = PAGES[name]
    page = dashboard.page
    page.goto(f"{dashboard.url}/{address(jobs)}")
    ready(page, wanted)
    look(dashboard, name)


def test_a_node_and_the_help_look_right(dashboard: Opened, jobs: dict[str, str]) -> None:
    page = dashboard.go("#/nodes")
    page.locator("tbody th a").first.click()
    dashboard.heading("Node")
    look(dashboard, "node")
    dashboard.see(WIDE, "light")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    look(dashboard, "help")


def test_keys_and_login_look_right(chromium: Browser, keyed: KeyedBroker) -> None:
    key = keyed.key("a person")["key"]
    keyed.call("POST", "/submit", {"code": "print(1)"}, key=key)
    with Opened(chromium, keyed.url) as opened:
        opened.go("#/keys")
        look(opened, "login")
        log_in(opened, keyed.admin)
        ready(opened.page, "table.keys")
        ready(opened.page, ".owner")
        look(opened, "keys")
        opened.page.get_by_role("button", name="Create a key").click()
        look(opened, "keys-create")


def test_an_empty_broker_looks_right(chromium: Browser, keyed: KeyedBroker) -> None:
    with Opened(chromium, keyed.url) as opened:
        opened.go("#/nodes")
        log_in(opened, keyed.admin)
        ready(opened.page, ".empty")
        look(opened, "nodes-none")
        opened.go("#/")
        ready(opened.page, ".tiles")
        look(opened, "overview-none")
