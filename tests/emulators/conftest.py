"""What the tests with the emulators share: the company under way, and a browser that nobody has used yet."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import DESKTOP_LIGHT, Screen, Seen, opened_page, running_chromium
from tests.emulators.running import Company, running_company


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with running_company(tmp_path_factory.mktemp("company")) as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def screen() -> Screen:
    return DESKTOP_LIGHT


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(chromium: Browser, screen: Screen, seen: Seen) -> Iterator[Page]:
    with opened_page(chromium, screen, seen) as opened:
        yield opened
