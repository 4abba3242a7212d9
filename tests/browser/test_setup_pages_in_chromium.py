"""The setup pages in a real browser: readable by everybody, at every size, and the copy buttons do what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from broker.web.middleware import build_content_security_policy, build_security_headers
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
from tests.fakes.clock import START
from tests.registration import sample_pages
from tests.registration.sample_pages import FINDINGS, LINKS, PAGES, REFUSED, URL, dry_run, run_of

HEADERS = {name.decode(): value.decode() for name, value in build_security_headers(https=URL.startswith("https:"))}
POLICY = build_content_security_policy(style_sha256=PAGES.style_sha256, script_sha256=PAGES.script_sha256)
SCREENS = [pytest.param(DESKTOP_LIGHT, id="desktop_light"), pytest.param(PHONE_DARK, id="phone_dark")]
LONG: dict[str, object] = {
    "a_claim_" + "x" * 200: "https://acme.example/" + "y" * 500,
    "nested": {"a": [1, 2, {"b": "z" * 200}]},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return {
        "setup": sample_pages.overview(tmp_path_factory.mktemp("setup")),
        "setup_commands": sample_pages.commands(tmp_path_factory.mktemp("commands")),
        "setup_checks": PAGES.checks(run_of(FINDINGS), links=LINKS, now=START),
        "setup_admitted": sample_pages.real_test_sign_in(tmp_path_factory.mktemp("test_sign_in")),
        "setup_refused": PAGES.dry_run(REFUSED, links=LINKS),
        "setup_long_claims": PAGES.dry_run(dry_run(claims=LONG)),
    }


@pytest.fixture(scope="module")
def chromium(pages: Mapping[str, str]) -> Iterator[Browser]:
    assert pages  # made before: the browser's own loop lets no other run beside it
    with running_chromium() as browser:
        yield browser


def serve(page: Page, pages: Mapping[str, str], origin: str = URL) -> None:
    """Let a tab get these pages, with the headers of the broker, from an address of the broker's."""
    headers = {**HEADERS, "content-security-policy": POLICY}

    def answer(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1]
        route.fulfill(body=pages[name], headers={**headers, "content-type": "text/html; charset=utf-8"})

    page.route(f"{origin}/*", answer)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_setup_page_can_be_read_by_everybody(chromium: Browser, pages: Mapping[str, str], screen: Screen) -> None:
    seen = Seen()
    with opened_page(chromium, screen, seen) as page:
        serve(page, pages)
        for name in pages:
            page.goto(f"{URL}/{name}")
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            keep_screenshot(page, f"{name}_{screen.name}")
            check_fit(page)
            assert find_violations(page) == []
    assert seen.errors == []
    assert seen.hosts() == {"sso.acme.example"}


def test_a_copy_button_copies_and_says_so(chromium: Browser, pages: Mapping[str, str]) -> None:
    seen = Seen()
    with opened_page(chromium, DESKTOP_LIGHT, seen) as page:
        serve(page, pages)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(f"{URL}/setup")
        page.get_by_role("button", name="Copy Sign-out redirect URI").click()
        expect(page.get_by_role("status")).to_have_text("Copied: Sign-out redirect URI")
        expect(page.get_by_role("button", name="Copied Sign-out redirect URI")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == f"{URL}/logout"
        page.goto(f"{URL}/setup_commands")
        page.get_by_role("button", name="Copy Terraform").click()
        page.get_by_role("button", name="Copy Azure CLI").click()
        expect(page.get_by_role("status")).to_have_text("Copied: Azure CLI")
        assert page.evaluate("navigator.clipboard.readText()").startswith("az login ")
        expect(page.get_by_role("button", name="Copied")).to_have_count(1)
    assert seen.errors == []


def test_without_a_clipboard_the_value_is_selected(chromium: Browser, pages: Mapping[str, str]) -> None:
    with opened_page(chromium, DESKTOP_LIGHT, Seen()) as page:
        serve(page, pages, "http://sso.acme.example")
        page.goto("http://sso.acme.example/setup")
        page.get_by_role("button", name="Copy Sign-out redirect URI").click()
        expect(page.get_by_role("status")).to_contain_text("Selected: Sign-out redirect URI")
        assert page.evaluate("getSelection().toString()") == f"{URL}/logout"


def test_without_a_script_there_are_values_and_no_buttons(chromium: Browser, pages: Mapping[str, str]) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    serve(page, pages)
    page.goto(f"{URL}/setup")
    expect(page.get_by_text(f"{URL}/callback/okta", exact=True)).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    page.get_by_text(f"{URL}/callback/okta", exact=True).click()
    assert page.evaluate("getSelection().toString()") == f"{URL}/callback/okta"
    context.close()
