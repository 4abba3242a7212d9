"""Every page agents see, in a real browser: no barrier that axe-core can find, and nothing to scroll sideways.

The pages come with the broker's own headers, by language and name, and without a sign-in.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.web.middleware import SecurityHeaders
from broker.web.pages import LANGUAGES, Pages
from broker.web.responses import show_page
from tests.browser.axe import find_violations
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
from tests.fakes.processes import served
from tests.web.sample_pages import EVERY_PAGE, ONE_ERROR_OF_EACH_ADVICE, SUPPORT, problem

# As wide as the smallest phone, and as a desktop of 1280 pixels at 400 % (WCAG 2.2, 1.4.10).
SMALLEST = Screen("smallest", 320, 640, "light")
# Contrast is a matter of the scheme, space one of the size.
SCREENS = [pytest.param(one, id=one.name) for one in (DESKTOP_LIGHT, PHONE_DARK)]
SHOWN = {"choose", "problem_of_an_account", "problem_that_refreshes", "problem_without_a_way_back"}
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 6 2"><style>path { fill: #163a5f }</style>
<path d="M1 2 2 0 3 2z"/><path d="M3 2 4 0 5 2z"/></svg>"""
LOGO = f"data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}"
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter(one => one.scrollWidth > one.clientWidth + 1
  && getComputedStyle(one).display !== "inline").map(one => one.outerHTML)"""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    pages = Pages(support_email=SUPPORT, site_name="Acme sign-in", logo=LOGO)

    async def page(request: Request) -> Response:
        return show_page(pages, EVERY_PAGE[request.path_params["name"]](pages))

    application = Starlette(routes=[Route("/{name}", page)])
    with served(SecurityHeaders(application, https=False)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


def check_nothing_is_cut_off(page: Page) -> None:
    check_fit(page)
    assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_has_a_barrier(chromium: Browser, site: str, screen: Screen) -> None:
    seen = Seen()
    with opened_page(chromium, screen, seen) as page:
        for name in EVERY_PAGE:
            page.goto(f"{site}/{name}")
            assert find_violations(page) == [], name
            check_nothing_is_cut_off(page)
            if name in SHOWN:
                keep_screenshot(page, f"{name}_{screen.name}")
    assert seen.errors == []
    assert seen.hosts() <= {"127.0.0.1", ""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_fits_the_smallest_screen(chromium: Browser, language: str) -> None:
    pages = Pages(language, support_email=SUPPORT)
    shown = [render(pages) for render in EVERY_PAGE.values()]
    shown += [problem(error, pages) for error in ONE_ERROR_OF_EACH_ADVICE]
    below = "".join(html[html.index("<header>") : html.index("</body>")] for html in shown[1:])
    with opened_page(chromium, SMALLEST, Seen()) as page:
        page.set_content(shown[0].replace("</body>", f"{below}</body>"))
        expect(page.locator("main")).to_have_count(len(shown))
        check_nothing_is_cut_off(page)


def test_the_logo_is_shown_beside_the_name(chromium: Browser, site: str) -> None:
    with opened_page(chromium, PHONE_DARK, Seen()) as page:
        page.goto(f"{site}/home")
        expect(page.get_by_text("Acme sign-in")).to_be_visible()
        drawn, shown = page.evaluate("(one => [one.naturalWidth, one.width])(document.images[0])")
    assert drawn > 0
    assert shown > 40


def test_buttons_are_reached_by_the_keyboard_in_their_order(chromium: Browser, site: str) -> None:
    with opened_page(chromium, DESKTOP_LIGHT, Seen()) as page:
        page.goto(f"{site}/problem_of_an_account")
        for name in ("Use another account", "Start again", f"Write to {SUPPORT}"):
            page.keyboard.press("Tab")
            expect(page.get_by_role("link", name=name)).to_be_focused()
