"""What somebody at the dashboard sees when a node dies, and when the broker does."""

import re

from playwright.sync_api import Browser, Route, expect

from browser.chromium import SLOW_MS, Opened
from support.bundle import Bundle, wrapped

LONG = "import time\nprint('begun', flush=True)\ntime.sleep(280)\n"


def test_the_job_of_a_killed_node_moves_on_the_timeline(dashboard: Opened, bundle: Bundle) -> None:
    job_id = bundle.submit(LONG, labels={"suite": "failover"})
    page = dashboard.go(f"#/jobs/{job_id}")
    expect(page.locator(".screen")).to_contain_text("begun", timeout=SLOW_MS)
    timeline = page.locator(".timeline")
    expect(timeline.locator(".step.is-running")).to_have_count(1, timeout=SLOW_MS)
    node_id = bundle.get(f"/jobs/{job_id}").json()["node_id"]
    names = {node["id"]: node["name"] for node in bundle.get("/nodes").json()["nodes"]}
    victim = next(c for c in bundle.containers if wrapped(c).id.startswith(names[node_id]))
    wrapped(victim).kill()
    expect(timeline.locator(".step.is-node_lost")).to_contain_text("node lost", timeout=SLOW_MS)
    expect(timeline.locator(".step.is-running")).to_contain_text("Attempt 2", timeout=SLOW_MS)
    expect(page.locator(".screen")).to_contain_text("Attempt 2 begins anew", timeout=SLOW_MS)
    dashboard.shoot("job-after-failover")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(timeline.locator(".step.is-cancelled")).to_have_count(1, timeout=SLOW_MS)
    wrapped(victim).start()
    bundle.wait_for_nodes(2)


def test_a_lost_broker_is_said_and_found_again(chromium: Browser, bundle: Bundle) -> None:
    with Opened(chromium, bundle.url) as opened:
        page = opened.go("#/")
        expect(page.locator(".pulse")).to_have_text("live", timeout=SLOW_MS)
        wrapped(bundle.broker).pause()
        try:
            expect(page.locator(".lost")).to_contain_text("The broker does not answer", timeout=SLOW_MS)
            expect(page.locator(".pulse")).to_have_text("no answer")
        finally:
            wrapped(bundle.broker).unpause()
        expect(page.locator(".pulse")).to_have_text("live", timeout=SLOW_MS)
        expect(page.locator(".lost")).to_have_count(0)
        opened.forgive("net::ERR", "status of 503")
        assert re.search(r"\d\d:\d\d:\d\d", page.locator(".page-head time").inner_text())


def test_a_file_that_does_not_arrive_is_asked_for_again(chromium: Browser, bundle: Bundle) -> None:
    with Opened(chromium, bundle.url) as opened:
        page = opened.page
        failed: list[str] = []

        def fail_twice(route: Route) -> None:
            if len(failed) < 2:
                failed.append(route.request.url)
                route.abort("connectionreset")
            else:
                route.continue_()

        page.route(re.compile(r"/lib/live\.js$"), fail_twice)
        page.goto(bundle.url)
        expect(page.locator(".pulse")).to_have_text("live", timeout=SLOW_MS)
        assert len(failed) == 2
        opened.forgive("net::ERR_CONNECTION_RESET")
