"""One headless Chromium and one real bundle for all tests of the dashboard. Everything here fails without them."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser.broker import KeyedBroker
from browser.chromium import LAUNCH, Opened
from support.bundle import Bundle

NODE = {"NODE_SLOTS": "2"}
FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def bundle() -> Iterator[Bundle]:
    with Bundle(nodes=2, node=NODE) as running:
        yield running


@pytest.fixture(scope="package")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedBroker]:
    with KeyedBroker(tmp_path_factory.mktemp("keyed")) as running:
        yield running


@pytest.fixture
def dashboard(chromium: Browser, bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The bundle's dashboard in a fresh browser profile; whatever the page complained about fails the test."""
    with Opened(chromium, bundle.url) as opened:
        yield opened
        if request.node.stash.get(FAILED, False):
            opened.tell(request.node.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lets the fixture know that the test has failed, while the page is still there."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if "bundle" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.docker)
