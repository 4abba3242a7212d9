"""An admin's whole way in a real browser: init, check, serve, setup page, test sign-in, and then an agent is signed in.

Every program is the one an admin runs; at the other ends are a certified provider and a strict Comm100 stand-in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from broker.demo.comm100 import Agent
from broker.errors import EmailDomainNotAllowed, SetupLinkRefused
from tests.browser.chromium import DESKTOP_LIGHT, Seen, check_fit, keep_screenshot, opened_page, running_chromium
from tests.browser.first_setup import ADA, CLIENT_ID, GRACE, SHARED_SECRET, FirstSetup, neighbours

# On loopback there is no TLS, and the settings' check says so. Nothing else may be less than ok.
ALLOWED = "An insecure option is on: public_url_without_tls."
FINGERPRINT = hashlib.sha256(SHARED_SECRET.encode()).hexdigest()[:8]
VALUES = """() => {
  const shown = {};
  let below;
  for (const one of document.querySelectorAll("h3, .pairs > div")) {
    if (one.localName === "h3") below = shown[one.firstChild.data.trim()] = {};
    else below[one.querySelector("dt").innerText] = one.querySelector("dd").firstChild.textContent;
  }
  return shown;
}"""
PATIENCE = 30_000  # milliseconds, for what several programs have to do first
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstSetup]:
    """A broker that was set up by `broker init`, and offers one of two providers."""
    with neighbours(tmp_path_factory.mktemp("first_setup")) as setup:
        told = setup.init()
        assert "0 failed" in told
        assert f"Remote Login URL   {setup.public_url}/login\n" in told
        assert f"Redirect URI              {setup.public_url}/callback/acme\n" in told
        setup.add_next_provider()
        with setup.serving():
            yield setup


@pytest.fixture(scope="module")
def link(setup: FirstSetup) -> str:
    """Where the setup page is; the link is good for an hour."""
    return setup.broker("setup-link").strip()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(chromium: Browser, seen: Seen) -> Iterator[Page]:
    with opened_page(chromium, DESKTOP_LIGHT, seen) as opened:
        yield opened


def sign_in_for_a_test(page: Page, label: str, login: str) -> Page:
    """Follow a test sign-in into its own tab, and sign in at the provider."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=f"Test sign-in: {label}", exact=True).click()
    report = opened.value
    report.get_by_placeholder("Enter any login").fill(login)
    report.get_by_placeholder("and password").fill("any will do")
    report.get_by_role("button", name="Sign-in").click()
    report.get_by_role("button", name="Continue").click()
    return report


def come_from_comm100(page: Page, setup: FirstSetup) -> None:
    page.goto(setup.sign_in_page)
    page.get_by_role("button", name="Sign in with Custom SSO").click()


def check_admitted(report: Page, agent: Agent) -> None:
    """Check that the report is a good one, says what the provider said, and is at an address without a token."""
    expect(report.get_by_role("heading", name=f"Admitted as {agent.email}")).to_be_visible(timeout=PATIENCE)
    steps = report.locator(".findings .tag")
    assert {one.split(maxsplit=1)[1] for one in steps.all_inner_texts()} == {"passed", "not needed"}
    userinfo = report.get_by_role("table", name="userinfo")
    for claim, value in {"email": agent.email, "email_verified": "true", "name": agent.name}.items():
        expect(userinfo.get_by_role("row", name=f"{claim} {value}", exact=True)).to_be_visible()
    check_fit(report)
    assert "jwt=" not in report.url


def check_values(page: Page, setup: FirstSetup) -> None:
    """Check that the page shows what is registered at the provider, and what the Comm100 site was given."""
    check_fit(page)
    shown = page.evaluate(VALUES)
    for name, id_ in {"Acme": "acme", "Acme Europe": "acme_eu"}.items():
        assert shown[name]["Redirect URI"] == f"{setup.public_url}/callback/{id_}"
        assert shown[name]["Post logout redirect URI"] == f"{setup.public_url}/logout"
        assert shown[name]["Client ID"] == CLIENT_ID
    site = shown["Site main"]
    assert site["Remote Login URL"] == f"{setup.public_url}/login"
    assert site["Remote Logout URL"] == f"{setup.public_url}/logout"
    assert site["JWT SSO endpoint in use"] == setup.endpoint
    assert site["Shared secret in use"] == f"{len(SHARED_SECRET)} bytes, fingerprint {FINGERPRINT}"


def check_copying(page: Page, setup: FirstSetup) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=setup.public_url)
    page.get_by_role("button", name="Copy Remote Login URL").click()
    expect(page.get_by_role("status")).to_have_text("Copied: Remote Login URL")
    assert page.evaluate("navigator.clipboard.readText()") == f"{setup.public_url}/login"


def check_findings(page: Page) -> None:
    """Let the page check everything, and come back to it."""
    page.get_by_role("link", name="Check now").click()
    expect(page.get_by_role("heading", name="Nothing failed")).to_be_visible(timeout=PATIENCE)
    found = [" ".join(one.split()) for one in page.locator(".findings > li").all_inner_texts()]
    other = [one for one in found if not one.startswith("✓ ok")]
    # The provider asks on a page whether to sign out, which tells nothing of the address.
    assert other == [one for one in found if ALLOWED in one or "Sign-out: " in one]
    check_fit(page)
    page.get_by_role("link", name="Back to the setup page").click()


def test_an_admin_comes_from_nothing_to_an_agent_who_is_signed_in(
    page: Page, setup: FirstSetup, link: str, seen: Seen
) -> None:
    assert "0 failed" in setup.broker("check")
    page.goto(link)
    check_values(page, setup)
    check_copying(page, setup)
    check_findings(page)
    setup.received.clear()  # the checks asked whether the endpoint is there
    report = sign_in_for_a_test(page, "Acme", "ada")
    check_admitted(report, ADA)
    keep_screenshot(report, "test_sign_in_of_a_first_setup")
    assert setup.received == []

    come_from_comm100(report, setup)
    expect(report.get_by_role("heading", name=f"Signed in as {ADA.name} ({ADA.email})")).to_be_visible(timeout=PATIENCE)
    assert [one.refusal for one in setup.received] == [None]
    page.reload()
    came = page.evaluate(VALUES)["Site main"]
    assert (came["Host in redirect_url"], came["Outcome"]) == ("127.0.0.1", "accepted")
    assert seen.errors == []
    assert seen.hosts() == {"127.0.0.1"}


def test_a_provider_is_tested_before_agents_are_offered_it(page: Page, setup: FirstSetup, link: str) -> None:
    page.goto(link)
    setup.received.clear()
    report = sign_in_for_a_test(page, "Acme Europe (not yet offered to agents)", "grace")
    check_admitted(report, GRACE)
    expect(report.get_by_text("Remove enabled: false from identity_providers.acme_eu")).to_be_visible()
    assert setup.received == []

    come_from_comm100(page, setup)  # the other provider is the only one offered, and asserts other addresses
    expect(page.get_by_text(EmailDomainNotAllowed.code, exact=True)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{setup.public_url}/callback/acme?")
    assert setup.received == []


def test_a_link_that_was_changed_is_no_page(page: Page, link: str, seen: Seen) -> None:
    content, _, signature = link.rpartition(".")
    answer = page.goto(f"{content}.{signature.swapcase()}")
    assert answer is not None
    assert answer.status == SetupLinkRefused.status == 404
    expect(page.get_by_text(SetupLinkRefused.code, exact=True)).to_be_visible()
    assert page.context.cookies() == []
    assert seen.errors == [NOT_FOUND]
