"""The dashboard through the proxy: a login, live output, and a policy that holds there too."""

from __future__ import annotations

from playwright.sync_api import expect, sync_playwright

from browser.chromium import LAUNCH, SLOW_MS, Opened
from support.overlay import Overlay

TICKS = "import time\nfor n in range(2800):\n    print('tick', n, flush=True)\n    time.sleep(0.1)\n"


def test_the_dashboard_works_through_the_proxy(overlay: Overlay) -> None:
    with overlay.client() as client:
        job_id = client.post("/submit", json={"code": TICKS}, headers=overlay.key).json()["job_id"]
    key = overlay.key["Authorization"].removeprefix("Bearer ")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(**LAUNCH)
        with Opened(chromium, overlay.url, ignore_https_errors=True) as opened:
            page = opened.go(f"#/jobs/{job_id}")
            opened.heading("Log in")
            page.get_by_label("Key").fill(key)
            page.get_by_role("button", name="Log in").click()
            opened.heading("Job")
            expect(page.locator(".screen")).to_contain_text("tick 5", timeout=SLOW_MS)
            expect(page.locator(".job-head .badge").first).to_contain_text("Running")  # so the line was live
            cookies = opened.context.cookies()
            assert [(each["secure"], each["httpOnly"], each["sameSite"]) for each in cookies] == [
                (True, True, "Strict")
            ]
            page.get_by_role("button", name="Cancel").click()
            page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
            expect(page.locator(".job-head .badge").first).to_contain_text("Failed", timeout=SLOW_MS)
            opened.go("#/nodes")
            expect(page.locator("tbody tr").first).to_be_visible()
            opened.forgive("status of 401")  # from before the login
        chromium.close()
