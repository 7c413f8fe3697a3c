"""A browser window on a broker, and what is asked of every page: no complaint, no serious finding of axe."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

__all__ = ["LAUNCH", "OVERFLOW", "SLOW_MS", "Opened"]

LAUNCH: dict[str, Any] = {
    # None: the one that Playwright brought (deploy/bootstrap/browser.sh). Without either, starting it fails.
    "executable_path": shutil.which("chromium"),
    "timeout": 120_000,
    "args": [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-features=Translate,OptimizationHints,MediaRouter",
        "--no-first-run",
    ],
}
SLOW_MS = 60_000
"""What a busy machine may take for anything that a test waits for."""
expect.set_options(timeout=SLOW_MS)
WIDE, PHONE = (1440, 900), (390, 844)
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""What Chromium gives up requests with when an interface of this machine came or went, as they do with containers. The
page asks again by itself."""
Scheme = Literal["light", "dark"]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-output" / "dashboard"
_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Opened:
    """A page in a profile of its own. Leaving the block fails when it logged an error or broke the content policy."""

    def __init__(self, browser: Browser, url: str, *, size: tuple[int, int] = WIDE, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, service_workers="block", **options
        )
        self.context.set_default_timeout(SLOW_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.add_init_script(_WATCH)
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._look)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and NETWORK_CHANGED not in text:
            self.complaints.append(f"{kind}: {text}")

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.tell("block")
        self.context.close()
        if error is None:
            assert not self.complaints, self.complaints

    def tell(self, name: str) -> None:
        """Print and keep what is to be seen when a test has failed."""
        self.shoot(f"failed-{name}")
        print(f"--- {self.page.url}\n{self.complaints}\n{self.page.locator('body').inner_text()[:3000]}")

    def go(self, address: str = "#/") -> Page:
        """Open a page of the dashboard and wait for its heading."""
        if self.page.url.startswith(self.url):
            self.page.evaluate("address => { location.hash = address.slice(1) }", address)
        else:
            self.page.goto(f"{self.url}/{address}")
        expect(self.page.locator("h1")).to_be_visible(timeout=SLOW_MS)
        return self.page

    def heading(self, text: str) -> Locator:
        """The page's heading, once it begins so."""
        found = self.page.get_by_role("heading", level=1, name=re.compile(rf"^{text}\b"))
        expect(found).to_be_visible(timeout=SLOW_MS)
        return found

    def forgive(self, *parts: str) -> None:
        """Drop complaints that the test has provoked, by a part of their text."""
        self.complaints = [one for one in self.complaints if not any(part in one for part in parts)]

    def see(self, size: tuple[int, int], scheme: Scheme) -> None:
        """Change the window and the system's theme."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    def shoot(self, name: str) -> Path:
        """Keep a picture of the page in test-output/dashboard."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def findings(self) -> list[str]:
        """What axe finds wrong with the page as it is."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{one['impact']}: {one['id']}: {one['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for one in violations
            for node in one["nodes"][:3]
        ]
