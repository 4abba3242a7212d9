"""The demo in a real browser: from the stand-in's sign-in page to "signed in" and to the refusal, desktop and phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import (
    DESKTOP_LIGHT,
    PHONE_DARK,
    Screen,
    Seen,
    check_fit,
    keep_screenshot,
    opened_page,
    running_chromium,
)
from tests.demo.running import Demo, running_demo

SCREENS = [pytest.param(DESKTOP_LIGHT, id="desktop_light"), pytest.param(PHONE_DARK, id="phone_dark")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(chromium: Browser, screen: Screen, seen: Seen) -> Iterator[Page]:
    with opened_page(chromium, screen, seen) as opened:
        yield opened


def choose(page: Page, demo: Demo, person: str) -> None:
    page.goto(demo.named("Open"))
    check_fit(page)
    page.get_by_role("button", name="Sign in with Custom SSO").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    check_fit(page)
    page.get_by_role("button", name=person).click()


@pytest.mark.parametrize("screen", SCREENS)
def test_an_agent_signs_in_from_the_sign_in_page(page: Page, demo: Demo, seen: Seen, screen: Screen) -> None:
    choose(page, demo, "Ada Lovelace")
    expect(page.get_by_role("heading", name="Signed in as Ada Lovelace (ada@acme.example)")).to_be_visible()
    keep_screenshot(page, f"signed_in_{screen.name}")

    check_fit(page)
    assert page.url.endswith("/dashboard")
    assert seen.errors == []
    assert seen.hosts() == {"127.0.0.1"}


@pytest.mark.parametrize("screen", SCREENS)
def test_a_person_of_another_domain_sees_why_not(page: Page, demo: Demo, seen: Seen, screen: Screen) -> None:
    choose(page, demo, "Charles Babbage")
    expect(page.get_by_text("email_domain_not_allowed")).to_be_visible()
    keep_screenshot(page, f"refused_{screen.name}")

    check_fit(page)
    assert page.url.startswith(f"{demo.named('Broker')}/callback/demo")
    # Chromium calls a page that answers 403 an error of its console; nothing else may be one.
    assert seen.errors == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]
    assert seen.hosts() == {"127.0.0.1"}


@pytest.mark.parametrize("screen", SCREENS[:1])
def test_an_agent_signs_out_and_comes_back_as_somebody_else(page: Page, demo: Demo, seen: Seen) -> None:
    choose(page, demo, "Ada Lovelace")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed in")).to_have_count(0)
    choose(page, demo, "Grace Hopper")

    expect(page.get_by_role("heading", name="Signed in as Grace Hopper")).to_be_visible()
    assert seen.errors == []
