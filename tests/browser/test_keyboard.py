"""The dashboard without a mouse, and what it remembers."""

from playwright.sync_api import expect

from browser.chromium import SLOW_MS, Opened


def focused(opened: Opened) -> str:
    text: str = opened.page.evaluate("() => document.activeElement.textContent.trim()")
    return text


def test_pages_are_reached_by_letters_and_the_focus_goes_along(dashboard: Opened) -> None:
    page = dashboard.go("#/")
    page.keyboard.press("g")
    page.keyboard.press("j")
    dashboard.heading("Jobs")
    page.wait_for_function("() => document.activeElement.tagName === 'H1'")
    assert focused(dashboard) == "Jobs"
    page.keyboard.press("/")
    page.wait_for_function("() => document.activeElement.id === 'search'")
    page.keyboard.type("gn?")
    expect(page.locator("#search")).to_have_value("gn?")  # in a field letters are letters
    page.keyboard.press("Escape")
    page.locator("h1").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Single letters do something").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("h1").focus()
    page.keyboard.press("n")
    assert page.url.startswith(dashboard.url + "/#/jobs")


def test_the_skip_link_is_first_and_leads_to_the_page(dashboard: Opened) -> None:
    page = dashboard.go("#/")
    page.keyboard.press("Tab")
    assert focused(dashboard) == "Skip to the page"
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")
    assert page.url.endswith("#/")


def test_the_editor_is_left_by_escape_and_tab(dashboard: Opened) -> None:
    page = dashboard.go("#/submit")
    page.locator(".editor-host").wait_for()
    editor = page.get_by_role("textbox", name="Program")
    editor.click()
    page.keyboard.press("Tab")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()


def test_the_chosen_theme_is_remembered(dashboard: Opened) -> None:
    page = dashboard.go("#/")
    dashboard.see((1440, 900), "light")
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme").click()
    page.wait_for_function("light => getComputedStyle(document.body).backgroundColor !== light", arg=light)
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.reload()
    expect(page.locator("h1")).to_be_visible(timeout=SLOW_MS)
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark
    page.get_by_role("button", name="Theme").click()
    page.wait_for_function("() => document.documentElement.dataset.theme === undefined")  # the system's again
