"""The chooser in Chromium: by keyboard alone, the last choice first, on a desktop and on a phone."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import DESKTOP_DARK, DESKTOP_LIGHT, PHONE_DARK, Screen, Seen, check_fit, keep_screenshot
from tests.emulators.running import Company
from tests.emulators.walking import ENTRA, VENDORS, Vendor, check_signed_in, come_from, go_to

MOST_TABS = 10
FOCUSED = "document.activeElement.innerText"
RING = "getComputedStyle(document.activeElement).outlineStyle"


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what is focused says this."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if text in (page.evaluate(FOCUSED) or ""):
            return
    pytest.fail(f"{MOST_TABS} times Tab, and nothing says {text!r}")


def labels(page: Page) -> list[str]:
    expect(page.get_by_role("heading", name="Sign in to")).to_be_visible()
    return page.get_by_role("navigation").get_by_role("link").all_inner_texts()


@pytest.mark.parametrize("vendor", [pytest.param(vendor, id=vendor.id) for vendor in VENDORS])
def test_an_agent_signs_in_by_keyboard_alone(page: Page, company: Company, seen: Seen, vendor: Vendor) -> None:
    page.goto(company.sites["acme"].sign_in_page)
    tab_to(page, "Sign in with Custom SSO")
    page.keyboard.press("Enter")
    assert len(labels(page)) == len(VENDORS)
    tab_to(page, vendor.label)
    assert page.evaluate(RING) != "none"
    page.keyboard.press("Enter")
    expect(page.get_by_text(vendor.title, exact=True)).to_be_visible()
    tab_to(page, vendor.agent.name)
    page.keyboard.press("Enter")

    check_signed_in(page, vendor.agent)
    assert seen.errors == []


def test_the_last_choice_comes_first_the_next_time(page: Page, company: Company) -> None:
    site = company.sites["acme"]
    come_from(page, site)
    assert labels(page) == ["Acme Okta", "Acme Europe", "Acme America"]
    go_to(page, site, ENTRA)
    come_from(page, site)
    assert labels(page) == ["Acme Europe", "Acme Okta", "Acme America"]


@pytest.mark.parametrize(
    "screen", [pytest.param(screen, id=screen.name) for screen in (DESKTOP_LIGHT, DESKTOP_DARK, PHONE_DARK)]
)
def test_the_chooser_fits_the_screen(page: Page, company: Company, seen: Seen, screen: Screen) -> None:
    come_from(page, company.sites["acme"])
    assert len(labels(page)) == len(VENDORS)
    keep_screenshot(page, f"chooser_{screen.name}")

    check_fit(page)
    assert seen.errors == []
