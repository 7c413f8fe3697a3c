"""Logging in with a key, what each role sees, and keys made and ended in the browser. The broker asks for keys."""

import json

from playwright.sync_api import Browser, expect

from browser.broker import KeyedBroker
from browser.chromium import Opened

FORM = """
async () => {
  const base = document.querySelector("script[type=module]").src;
  const { BLANK, errorsOf, formOf, jobOf } = await import(new URL("lib/job-form.js", base));
  const typed = { ...BLANK, env: "__proto__=1\\nconstructor=2", labels: "__proto__=x" };
  const refused = { message: "no", detail: [{ loc: ["body", "constructor"], msg: "is unknown" }] };
  const job = JSON.stringify(jobOf(typed));
  return [job, formOf(JSON.parse(job)).env, errorsOf(refused)[""]];
}
"""


def log_in(opened: Opened, key: str) -> None:
    opened.page.get_by_label("Key").fill(key)
    opened.page.get_by_role("button", name="Log in").click()


def test_a_client_logs_in_sees_its_own_and_logs_out(chromium: Browser, keyed: KeyedBroker) -> None:
    mine, other = keyed.key("mine"), keyed.key("other")
    job = keyed.call("POST", "/submit", {"code": "print(1)"}, key=mine["key"])["job_id"]
    keyed.call("POST", "/submit", {"code": "print(2)"}, key=other["key"])
    with Opened(chromium, keyed.url) as opened:
        page = opened.go(f"#/jobs/{job}")
        opened.heading("Log in")
        assert opened.findings() == []
        log_in(opened, "sbk_nonsense")
        expect(page.locator("#key-error")).not_to_be_empty()
        log_in(opened, mine["key"])
        opened.heading("Job")  # the address that was asked for at first
        opened.go("#/jobs")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert page.get_by_role("link", name="Keys").count() == 0
        opened.go("#/keys")
        expect(page.locator(".empty")).to_contain_text("Keys are for admins")
        opened.go("#/usage")
        expect(page.locator(".owner")).to_contain_text("mine")
        assert not page.evaluate("() => document.cookie"), "no script can read the login"
        page.reload()
        expect(page.locator(".who")).to_contain_text("mine")
        form, again, refused = page.evaluate(FORM)
        assert json.loads(form) | {
            "env": {"__proto__": "1", "constructor": "2"},
            "labels": {"__proto__": "x"},
        } == json.loads(form)
        assert again == "__proto__=1\nconstructor=2", "names that JavaScript's objects have are names like others"
        assert refused == "constructor: is unknown"
        page.goto(f"{keyed.url}/jobs/{job}/input")
        assert "print(1)" in page.content()
        page.goto(f"{keyed.url}/#/jobs")
        page.get_by_role("button", name="Log out").click()
        opened.heading("Log in")
        page.go_back()
        assert "print(1)" not in page.content(), "the browser has kept nothing of what was opened beside the dashboard"
        opened.forgive("status of 401", "status of 404")


def test_an_admin_makes_rotates_limits_and_revokes_a_key(chromium: Browser, keyed: KeyedBroker) -> None:
    with Opened(chromium, keyed.url) as opened:
        page = opened.go("#/keys")
        opened.heading("Log in")
        log_in(opened, keyed.admin)
        opened.heading("Keys and usage")
        page.get_by_role("button", name="Create a key").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("from the page")
        dialog.get_by_role("button", name="Create", exact=True).click()
        text = dialog.locator(".secret code").inner_text()
        assert keyed.call("GET", "/session", key=text)["name"] == "from the page"
        dialog.get_by_role("button", name="I have it").click()
        row = page.locator("tr", has_text="from the page")
        row.get_by_role("button", name="Rotate").click()
        dialog.get_by_label("hours").fill("0")
        dialog.get_by_role("button", name="Rotate", exact=True).click()
        renewed = dialog.locator(".secret code").inner_text()
        assert renewed != text
        page.keyboard.press("Escape")
        row.get_by_role("button", name="Limits").click()
        dialog.get_by_label("Pending jobs").fill("7")
        dialog.get_by_role("button", name="Set them").click()
        expect(dialog).to_have_count(0)
        shown = keyed.call("GET", "/usage", key=renewed)["owners"][0]["limits"]["jobs_pending"]
        assert shown["limit"] == 7
        row.get_by_role("button", name="Revoke").click()
        dialog.get_by_role("button", name="Revoke for good").click()
        expect(row).to_have_count(0)
        answer = keyed.http.get(f"{keyed.url}/jobs", headers={"Authorization": f"Bearer {renewed}"}, timeout=60)
        assert answer.status_code == 401
        opened.forgive("status of 401")


def test_a_login_that_is_over_leads_back_to_the_login(chromium: Browser, keyed: KeyedBroker) -> None:
    made = keyed.key("short")
    with Opened(chromium, keyed.url) as opened:
        opened.go("#/")
        log_in(opened, made["key"])
        opened.heading("Overview")
        keyed.call("DELETE", f"/keys/{made['id']}")
        opened.heading("Log in")
        opened.forgive("status of 401")
