"""Whatever a job is made of and prints, the page shows it as text, and quickly."""

import json
from pathlib import Path

from playwright.sync_api import Browser, expect

from browser.broker import KeyedBroker
from browser.chromium import OVERFLOW, SLOW_MS, Opened
from browser.test_login import log_in
from support.bundle import Bundle
from support.waiting import wait_until

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>x</a>"
JOIN = "join-" + "0123456789abcdef" * 4
FIRST_PAINT_MS = 30_000
"""The bar is 1,000 on a machine that does nothing else (make bench); this says that it is not minutes."""

BOMB = r"""
import sys
for n in range(40):
    part = ''.join(f'\x1b[{30 + i % 8};{40 + i % 7};1mx\x1b[38;5;{i % 256}my\x07\x08\x00\x9b' for i in range(4000))
    sys.stdout.write(part + '\x1b]0;title\x07\x1b[2J\x1b[999A\u202eabc\n')
print('the end ' + MARKUP)
"""


def test_markup_is_text_wherever_it_comes_from(dashboard: Opened, bundle: Bundle) -> None:
    code = (
        f"import sys\nprint({MARKUP!r})\nprint({MARKUP!r}, file=sys.stderr)\n"
        "open('<img src=x onerror=alert(4)>.html', 'w').write('x')\nopen('invoice\\u202egpj.exe', 'w')\n"
    )
    job_id = bundle.submit(
        code, labels={"suite": MARKUP[:200], "href": "javascript:alert(5)"}, submitter="<img src=x onerror=alert(6)>"
    )
    bundle.result(job_id)
    page = dashboard.go(f"#/jobs/{job_id}")
    expect(page.locator(".screen")).to_contain_text(MARKUP, timeout=SLOW_MS)
    expect(page.locator(".files")).to_contain_text("<img src=x onerror=alert(4)>.html")
    expect(page.locator(".files")).to_contain_text("invoice<202E>gpj.exe")
    expect(page.locator(".job-side .labels")).to_contain_text("javascript:alert(5)")
    assert page.locator("main img, main script").count() == 0
    page.get_by_role("link", name="<img src=x onerror=alert(6)>").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.evaluate("() => [...document.links].every((one) => !one.href.startsWith('javascript'))")
    dashboard.go("#/jobs/%3Cimg%20src=x%20onerror=alert(7)%3E")
    expect(page.locator(".problem")).to_contain_text("not found")
    dashboard.go("#/<script>alert(8)</script>")
    dashboard.forgive("status of 404")


def test_megabytes_of_colours_and_controls_are_harmless_and_quick(chromium: Browser, bundle: Bundle) -> None:
    job_id = bundle.submit(BOMB.replace("MARKUP", repr(MARKUP)))
    assert bundle.result(job_id)["exit_code"] == 0
    with Opened(chromium, bundle.url) as opened:
        page = opened.go(f"#/jobs/{job_id}")
        paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        expect(page.locator(".screen")).to_contain_text("the end " + MARKUP, timeout=SLOW_MS)
        assert paint < FIRST_PAINT_MS
        assert page.locator(".screen .row").count() < 1_100
        assert page.locator(".screen script, .screen img").count() == 0
        shown = page.locator(".screen").inner_text()
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        page.evaluate("() => document.querySelector('.screen').scrollTo(0, 0)")
        expect(page.locator(".screen")).to_contain_text("^@", timeout=SLOW_MS)
        find = page.get_by_role("searchbox", name="Find in the output")
        find.fill("THE END")
        find.press("Enter")
        expect(page.locator(".row.found").first).to_contain_text("the end", timeout=SLOW_MS)
        opened.shoot("job-bomb")
        find.fill("nowhere in it")
        find.press("Enter")
        expect(find).to_have_attribute("aria-invalid", "true")


def test_a_node_names_the_limit_as_it_likes(dashboard: Opened) -> None:
    """A name that every object has is a name like others, and one that turns the text around is told by its number."""
    shown = dashboard.go("#/").evaluate(
        """async () => {
            const base = document.querySelector('script[type=module]').src;
            const { html, render } = await import(base.replace('app.js', 'vendor/view.js'));
            const { Verdict } = await import(base.replace('app.js', 'parts/verdict.js'));
            return ['constructor', 'a\\u202eb', 'timeout'].map((name) => {
                const place = document.createElement('div');
                const job = { status: 'failed', explanation: 'It failed.' };
                render(html`<${Verdict} job=${job} verdict=${{ limit: { name, value: 2 } }} />`, place);
                return place.querySelector('.reached dd').textContent;
            });
        }"""
    )
    assert shown == ["constructor, 2", "a<202E>b, 2", "run time, 2 s"]


def test_long_names_stay_on_a_small_screen(chromium: Browser, tmp_path: Path) -> None:
    """A node may call itself anything, and so may a client its labels: no page becomes wider than the window."""
    long = "n" * 100
    with KeyedBroker(tmp_path) as keyed, Opened(chromium, keyed.url, size=(320, 640)) as opened:
        offer = {"name": long, "interpreters": ["python3"], "cpu_cores": 1, "memory_gb": 1, "gpu": False}
        node = keyed.call(
            "POST", "/register", {"endpoint": "http://x:1", "name": long, "capabilities": offer}, key=JOIN
        )
        session = {name: node[name] for name in ("node_id", "session")}
        job = keyed.call("POST", "/submit", {"code": "1", "labels": {"l" * 60: long}})["job_id"]
        keyed.http.headers.update({"Sandrun-Node": node["node_id"], "Sandrun-Session": node["session"]})
        keyed.call("POST", "/claim", {**session, "claim_number": 1, "max_jobs": 1, "wait": 0}, key=node["secret"])
        keyed.call("POST", "/submit", {"code": "1", "requires": {"labels": {"q" * 60: "v" * 60}}})
        opened.go("#/")
        log_in(opened, keyed.admin)
        for address, wanted in (("", "table.queue"), (f"jobs/{job}", ".step a"), (f"nodes/{node['node_id']}", ".held")):
            opened.go(f"#/{address}").locator(wanted).first.wait_for()
            assert opened.page.evaluate(OVERFLOW) <= 0, address
        opened.go("#/")
        tile = opened.page.locator(".tile", has_text="Running")
        expect(tile.locator("a")).to_have_text("0")
        expect(tile.locator("small")).to_contain_text("1 assigned")
        opened.forgive("status of 401")


def test_the_numbers_stand_beside_their_lines(dashboard: Opened, bundle: Bundle) -> None:
    page = dashboard.go(f"#/jobs/{bundle.submit('print(1)')}")
    line, number = page.locator(".cm-line").first, page.locator(".cm-lineNumbers .cm-gutterElement", has_text="1").last

    def beside() -> bool:
        """When the page is still being laid out, not yet."""
        one, other = line.bounding_box(), number.bounding_box()
        return one is not None and other is not None and abs(one["y"] - other["y"]) < 2

    wait_until(beside, seconds=60, what="the number stands beside its line")


def test_the_terminal_reads_what_is_cut_anywhere(dashboard: Opened) -> None:
    """The parser in the page's own engine: each text whole, and in pieces of one character, gives the same lines."""
    page = dashboard.go("#/")
    cases = {
        "plain \x1b[31mred\x1b[0m plain": ["plain red plain"],
        "10 %\r20 %\r\nnext": ["20 %", "next"],
        "ab\b\bc": ["c"],
        "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b]0;title\x07end": ["link end"],
        "nul \x00\x00 del \x7f c1 \x9b bidi \u202e": ["nul ^@^@ del ^? c1 <9B> bidi <202E>"],
        "a\tb": ["a       b"],
        "\x1b[38;2;255;0;0;48;5;21mtrue\x1b[m": ["true"],
        "\x1b[1\n2": ["", "2"],
        "\x1b(Bset \x1b=keys": ["set keys"],
    }
    found = page.evaluate(
        """async (texts) => {
            const base = document.querySelector('script[type=module]').src.replace('app.js', 'lib/transcript.js');
            const { Transcript } = await import(base);
            const lines = (pieces) => {
                const transcript = new Transcript();
                for (const piece of pieces) transcript.feed('stdout', piece);
                return transcript.lines.map((line) => line.text);
            };
            return texts.map((text) => [lines([text]), lines([...text])]);
        }""",
        list(cases),
    )
    for (text, wanted), (whole, pieces) in zip(cases.items(), found, strict=True):
        assert whole == wanted, json.dumps(text)
        assert pieces == wanted, json.dumps(text)
