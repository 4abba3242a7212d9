"""The demo in a real browser: from the stand-in's sign-in page to "signed in" and to the refusal, desktop and phone."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.demo.running import Demo, running_demo

SCREENSHOTS = Path(__file__).with_name("screenshots")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page was seen doing: addresses it asked for, and errors in its console, refused policies among them."""

    addresses: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Screen:
    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


SCREENS = [
    pytest.param(Screen("desktop_light", 1200, 800, "light"), id="desktop_light"),
    pytest.param(Screen("phone_dark", 360, 740, "dark"), id="phone_dark"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(playwright),
            chromium_sandbox=os.geteuid() != 0,
            args=[
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


def find_chromium(playwright: Playwright) -> str:
    installed = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    for candidate in (*installed, playwright.chromium.executable_path):
        if candidate and Path(candidate).exists():
            return candidate
    pytest.fail(
        "No Chromium was found. Install one (Debian: apt-get install chromium) or run: playwright install chromium"
    )


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(chromium: Browser, screen: Screen, seen: Seen) -> Iterator[Page]:
    context = chromium.new_context(
        viewport={"width": screen.width, "height": screen.height}, color_scheme=screen.scheme
    )
    opened = context.new_page()
    opened.on("request", lambda request: seen.addresses.append(request.url))
    opened.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: seen.errors.append(str(error)))
    yield opened
    context.close()


def choose(page: Page, demo: Demo, person: str) -> None:
    page.goto(demo.named("Open"))
    check_fit(page)
    page.get_by_role("button", name="Sign in with Custom SSO").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    check_fit(page)
    page.get_by_role("button", name=person).click()


def check_fit(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def keep_screenshot(page: Page, name: str) -> None:
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def hosts(addresses: list[str]) -> set[str]:
    return {address.split("/")[2].split(":")[0] for address in addresses}


@pytest.mark.parametrize("screen", SCREENS)
def test_an_agent_signs_in_from_the_sign_in_page(page: Page, demo: Demo, seen: Seen, screen: Screen) -> None:
    choose(page, demo, "Ada Lovelace")
    expect(page.get_by_role("heading", name="Signed in as Ada Lovelace (ada@acme.example)")).to_be_visible()
    keep_screenshot(page, f"signed_in_{screen.name}")

    check_fit(page)
    assert page.url.endswith("/dashboard")
    assert seen.errors == []
    assert hosts(seen.addresses) == {"127.0.0.1"}


@pytest.mark.parametrize("screen", SCREENS)
def test_a_person_of_another_domain_sees_why_not(page: Page, demo: Demo, seen: Seen, screen: Screen) -> None:
    choose(page, demo, "Charles Babbage")
    expect(page.get_by_text("email_domain_not_allowed")).to_be_visible()
    keep_screenshot(page, f"refused_{screen.name}")

    check_fit(page)
    assert page.url.startswith(f"{demo.named('Broker')}/callback/demo")
    # Chromium calls a page that answers 403 an error of its console; nothing else may be one.
    assert seen.errors == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]
    assert hosts(seen.addresses) == {"127.0.0.1"}


@pytest.mark.parametrize("screen", SCREENS[:1])
def test_an_agent_signs_out_and_comes_back_as_somebody_else(page: Page, demo: Demo, seen: Seen) -> None:
    choose(page, demo, "Ada Lovelace")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed in")).to_have_count(0)
    choose(page, demo, "Grace Hopper")

    expect(page.get_by_role("heading", name="Signed in as Grace Hopper")).to_be_visible()
    assert seen.errors == []
