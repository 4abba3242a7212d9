"""A real browser without a screen: finds Chromium, starts it closed to the outside world, and watches what pages do.

Refuses to know whose pages it shows.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

SCREENSHOTS = Path(__file__).with_name("screenshots")


@dataclass(frozen=True, slots=True)
class Screen:
    """A size in pixels and a colour scheme; the name is that of its screenshots."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


DESKTOP_LIGHT = Screen("desktop_light", 1200, 800, "light")
DESKTOP_DARK = Screen("desktop_dark", 1200, 800, "dark")
PHONE_DARK = Screen("phone_dark", 360, 740, "dark")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page was seen doing: addresses it asked for, and errors in its console, refused policies among them."""

    addresses: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def hosts(self) -> set[str]:
        """Return the hosts it asked, without their ports."""
        return {address.split("/")[2].split(":")[0] for address in self.addresses}


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run Chromium while the block runs; it reaches this machine alone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_find_chromium(playwright),
            chromium_sandbox=os.geteuid() != 0,
            args=[
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            ],
        )
        yield browser
        browser.close()


@contextmanager
def opened_page(chromium: Browser, screen: Screen, seen: Seen) -> Iterator[Page]:
    """Open a page of a person nobody knows yet: no cookie, no history."""
    context = chromium.new_context(
        viewport={"width": screen.width, "height": screen.height}, color_scheme=screen.scheme
    )
    page = context.new_page()
    page.on("request", lambda request: seen.addresses.append(request.url))
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    yield page
    context.close()


def check_fit(page: Page) -> None:
    """Check that nothing has to be scrolled sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def keep_screenshot(page: Page, name: str) -> None:
    """Keep a picture for people; no test looks at it."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def _find_chromium(playwright: Playwright) -> str:
    installed = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    for candidate in (*installed, playwright.chromium.executable_path):
        if candidate and Path(candidate).exists():
            return candidate
    pytest.fail(
        "No Chromium was found. Install one (Debian: apt-get install chromium) or run: playwright install chromium"
    )
