"""A job's life as somebody at the dashboard sees it, on a real bundle."""

import re

from playwright.sync_api import Page, expect

from browser.chromium import SLOW_MS, Opened
from support.bundle import Bundle

TICKS = "import time\nfor n in range(2800):\n    print('tick', n, flush=True)\n    time.sleep(0.1)\n"
MORE_THAN_FITS = "() => { const s = document.querySelector('.screen'); return s.scrollHeight > s.clientHeight + 40 }"
AT_END = (
    "() => { const s = document.querySelector('.screen'); return s.scrollTop + s.clientHeight > s.scrollHeight - 30 }"
)
WRITES = (
    "import sys\nprint(open('note.txt').read(), sys.argv[1], input())\n"
    "open('result.csv', 'w').write('a,b\\n')\nsys.exit(3)\n"
)


def badge(page: Page, text: str) -> None:
    expect(page.locator(".job-head .badge").first).to_contain_text(text, timeout=SLOW_MS)


def output(page: Page) -> str:
    return page.locator(".screen").inner_text()


def wait_output(page: Page, text: str) -> None:
    expect(page.locator(".screen")).to_contain_text(text, timeout=SLOW_MS)


def write_program(page: Page, text: str) -> None:
    page.locator(".editor-host").wait_for()  # instead of the plain field, as soon as its file has come
    page.get_by_role("textbox", name="Program").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def test_from_the_form_to_the_end_and_once_more(dashboard: Opened) -> None:
    page = dashboard.go("#/submit")
    write_program(page, WRITES)
    page.get_by_label("Time, seconds", exact=True).fill("20")
    page.get_by_label("Labels", exact=True).fill("suite=form\ncase=whole")
    page.get_by_label("Submitter").fill("Ann")
    page.get_by_text("Where and when").click()
    page.get_by_label("Tell this address at the end").fill("http://127.0.0.1:9/hook")
    page.get_by_text("Arguments, input, environment").click()
    page.get_by_role("textbox", name="Arguments").fill("first argument")
    page.get_by_label("Standard input").fill("from stdin\n")
    page.locator("#files").set_input_files(
        {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a note"}  # what a person picks in the dialog
    )
    expect(page.locator(".drop .files")).to_contain_text("note.txt")
    page.get_by_role("button", name="Submit", exact=True).click()
    dashboard.heading("Job")
    badge(page, "Failed")
    badge(page, "own exit code")
    wait_output(page, "a note first argument from stdin")
    expect(page.locator(".verdict")).to_contain_text("3")
    expect(page.locator(".timeline")).to_contain_text("Attempt 1")
    expect(page.get_by_role("region", name="Webhook")).to_contain_text("http://127.0.0.1:9/hook")
    with page.expect_download() as download:
        page.get_by_role("link", name="result.csv").click()
    assert download.value.path().read_text() == "a,b\n"
    first = page.url
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: url != first)
    badge(page, "Failed")
    wait_output(page, "a note first argument from stdin")
    page.get_by_role("link", name="Edit and run").click()
    dashboard.heading("Submit a job")
    expect(page.get_by_label("Labels", exact=True)).to_have_value("suite=form\ncase=whole")
    write_program(page, "print('after an edit')")
    page.keyboard.press("Control+Enter")
    dashboard.heading("Job")
    badge(page, "Completed")
    wait_output(page, "after an edit")


def test_large_files_go_as_an_upload(dashboard: Opened) -> None:
    page = dashboard.go("#/submit")
    write_program(page, "import os\nprint(os.path.getsize('large.bin'))")
    page.locator("#files").set_input_files(
        {"name": "large.bin", "mimeType": "application/octet-stream", "buffer": bytes(2_500_000)}
    )
    page.get_by_role("button", name="Submit", exact=True).click()
    dashboard.heading("Job")
    badge(page, "Completed")
    wait_output(page, "2500000")
    expect(page.get_by_text("2 files submitted with it")).to_be_visible()
    expect(page.get_by_role("button", name="Run again")).to_have_count(0)


def test_what_the_api_refuses_is_said_at_the_field(dashboard: Opened) -> None:
    page = dashboard.go("#/submit")
    write_program(page, "print(1)")
    page.get_by_label("Time, seconds", exact=True).fill("1e9")
    page.get_by_label("Memory, MiB").fill("0")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#memory_mb-error")).to_contain_text("greater than or equal to 1")
    page.get_by_label("Memory, MiB").fill("64")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#timeout-error")).to_contain_text("300")
    assert page.locator("#timeout").get_attribute("aria-invalid") == "true"
    page.get_by_label("Time, seconds", exact=True).fill("soon")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#timeout-error")).to_contain_text("must be a number")
    assert dashboard.findings() == []
    dashboard.forgive("status of 422")  # the browser logs every refused call


def test_live_output_is_followed_paused_and_cancelled(dashboard: Opened, bundle: Bundle) -> None:
    job_id = bundle.submit(TICKS, labels={"suite": "live"})
    page = dashboard.go(f"#/jobs/{job_id}")
    badge(page, "Running")
    wait_output(page, "tick 5")
    screen = page.locator(".screen")
    follow = page.get_by_role("button", name="Following")
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(MORE_THAN_FITS)
    follow.click()
    expect(page.get_by_role("button", name="Paused")).to_have_attribute("aria-pressed", "false")
    page.evaluate("() => document.querySelector('.screen').scrollTo(0, 0)")
    before = page.locator(".screen-foot").inner_text()
    expect(page.locator(".screen-foot")).not_to_have_text(before, timeout=SLOW_MS)
    assert screen.evaluate("one => one.scrollTop") == 0, "paused: what comes does not move what is read"
    page.keyboard.press("f")
    page.wait_for_function(AT_END)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    badge(page, "Failed")
    badge(page, "cancelled")
    expect(page.locator(".timeline")).to_contain_text("cancelled")


def test_a_job_is_found_by_filters_and_the_list_is_live(dashboard: Opened, bundle: Bundle) -> None:
    ended = bundle.submit("print('needle in the hay')", labels={"suite": "filters"}, submitter="Bo")
    bundle.result(ended)
    page = dashboard.go("#/jobs")
    page.get_by_label("Search in code").fill("needle in")
    expect(page.locator("tbody tr")).to_have_count(1)
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("Completed")
    row.get_by_role("link", name="suite").click()
    page.wait_for_url(re.compile("label=suite%3Dfilters"))
    running = bundle.submit(TICKS, labels={"suite": "filters"}, submitter="Cy")
    expect(page.locator("tbody tr")).to_have_count(2, timeout=SLOW_MS)
    expect(page.locator("tbody tr").first).to_contain_text("Running", timeout=SLOW_MS)
    page.get_by_role("button", name="Failed", exact=True).click()
    expect(page.locator(".empty")).to_contain_text("No job matches")
    page.get_by_role("button", name="Running", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Cancel all that match").click()
    page.get_by_role("button", name="Cancel them all").click()
    expect(page.locator(".empty")).to_contain_text("No job matches", timeout=SLOW_MS)
    assert bundle.result(running)["failure"] == "cancelled"
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1, timeout=SLOW_MS)


def test_a_waiting_job_says_what_it_waits_for(dashboard: Opened, bundle: Bundle) -> None:
    job_id = bundle.submit("1", requires={"gpu": True}, priority=2)
    page = dashboard.go(f"#/jobs/{job_id}")
    badge(page, "Pending")
    expect(page.locator(".verdict")).to_contain_text("GPU")
    dashboard.go("#/")
    queue = page.get_by_role("region", name="Pending jobs by class and priority")
    expect(queue).to_contain_text("no live node can run it")
    expect(queue).to_contain_text("P2")
    bundle.http.delete(f"{bundle.url}/jobs/{job_id}")


def test_a_node_is_drained_and_takes_jobs_again(dashboard: Opened, bundle: Bundle) -> None:
    page = dashboard.go("#/nodes?state=active")
    page.locator("tbody th a").first.click()
    expect(page.locator("h1")).to_contain_text("Node ")
    page.get_by_role("button", name="Drain").click()
    expect(page.locator(".job-head .badge")).to_have_text("draining")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".job-head .badge")).to_have_text("active")


def test_a_verified_job_from_the_form(dashboard: Opened) -> None:
    page = dashboard.go("#/submit")
    write_program(page, "print('as everywhere')")
    page.get_by_label("Verify: equal results needed").fill("3")
    page.get_by_label("Verify: nodes that may give a result").fill("2")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#quorum-error")).to_contain_text("quorum is at most replicas, here 2")
    dashboard.forgive("status of 422")  # the browser logs every refused call
    page.get_by_label("Verify: equal results needed").fill("2")
    page.get_by_role("button", name="Submit", exact=True).click()
    dashboard.heading("Job")
    badge(page, "Completed")
    expect(page.locator(".facts")).to_contain_text("2 of 2 equal results, 2 of at most 2 nodes gave one")
    page.get_by_role("link", name="Edit and run").click()
    expect(page.get_by_label("Verify: nodes that may give a result")).to_have_value("2")
