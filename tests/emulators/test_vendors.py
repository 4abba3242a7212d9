"""Okta, Entra and Google as npm's `emulate` shows them, walked through in Chromium: in, refused, out.

Nobody here wrote these providers either, and their tokens, metadata and pages follow the vendors'. They are no judges
of security: what must be refused is tested elsewhere, row by row. Where they differ from the vendors: Okta's ID tokens
are not thin, nobody stays signed in, no refusal comes back to us, and signing out loses the state.
"""

from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Seen
from tests.emulators.running import ANNIE, GUEST, STRANGER, Company
from tests.emulators.walking import ENTRA, GOOGLE, OKTA, VENDORS, Vendor, check_signed_in, come_from, go_to, pick

FORBIDDEN = "Failed to load resource: the server responded with a status of 403 (Forbidden)"
BAD_GATEWAY = "Failed to load resource: the server responded with a status of 502 (Bad Gateway)"


def rows(*vendors: Vendor) -> list[object]:
    return [pytest.param(vendor, id=vendor.id) for vendor in vendors]


def parameters(address: str) -> dict[str, str]:
    """Return an address's parameters; one given twice fails the test."""
    query = parse_qs(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}


def only_one(seen: Seen, start: str) -> str:
    """Return the only address asked for that begins like this."""
    [found] = [address for address in seen.addresses if address.startswith(start)]
    return found


@pytest.mark.parametrize("vendor", rows(*VENDORS))
def test_an_agent_signs_in(page: Page, company: Company, seen: Seen, vendor: Vendor) -> None:
    site = company.sites["acme"]
    go_to(page, site, vendor)
    pick(page, vendor.agent.name)
    check_signed_in(page, vendor.agent)

    token = site.received[-1].token
    assert token is not None
    assert token.header == {"alg": "HS256", "typ": "JWT"}
    made = {name: token.claims[name] for name in ("jti", "iat", "nbf", "exp")}
    constant = {"iss": "jwt server", "aud": "Comm100", "sub": "comm100"}
    assert token.claims == {**constant, **made, "email": vendor.agent.email, "name": vendor.agent.name}
    assert company.broker.lines()[-1]["email_from"] == f"{vendor.email_from} (ID token)"
    assert seen.errors == []
    assert seen.hosts() == {"127.0.0.1", "localhost"}  # the pages of broker and Comm100, and those of the vendors


def test_google_is_told_which_organisation_is_wanted(page: Page, company: Company, seen: Seen) -> None:
    go_to(page, company.sites["acme"], GOOGLE)
    assert parameters(only_one(seen, company.emulators["google"] + "/o/"))["hd"] == "acme-us.example"


def test_a_custom_authorization_server_of_okta_signs_in_to_the_second_site(page: Page, company: Company) -> None:
    come_from(page, company.sites["labs"])
    assert page.url.startswith(f"{company.emulators['okta']}/oauth2/default/v1/authorize?")  # the only one: no chooser
    pick(page, ANNIE.name)
    check_signed_in(page, ANNIE)
    assert company.sites["labs"].received[-1].refusal is None


@pytest.mark.parametrize(
    ("vendor", "person", "code"),
    [
        pytest.param(OKTA, STRANGER, "email_domain_not_allowed", id="okta: an address of another domain"),
        pytest.param(ENTRA, GUEST.name, "guest_not_allowed", id="entra: a guest of the tenant"),
        pytest.param(GOOGLE, STRANGER, "hosted_domain_not_allowed", id="google: an account of no organisation"),
    ],
)
def test_a_person_who_may_not_enter_takes_another_account(
    page: Page, company: Company, seen: Seen, vendor: Vendor, person: str, code: str
) -> None:
    received = len(company.sites["acme"].received)
    go_to(page, company.sites["acme"], vendor)
    pick(page, person)
    expect(page.get_by_text(code, exact=True)).to_be_visible()
    assert company.broker.lines()[-1]["code"] == code
    assert len(company.sites["acme"].received) == received
    assert seen.errors == [FORBIDDEN]  # Chromium calls a page that answers 403 an error of its console

    page.get_by_role("link", name="Use another account").click()
    assert parameters(page.url)["prompt"] == vendor.asks_anew
    pick(page, vendor.agent.name)
    check_signed_in(page, vendor.agent)


def test_a_personal_microsoft_account_is_of_another_issuer(page: Page, company: Company, seen: Seen) -> None:
    go_to(page, company.sites["acme"], ENTRA)
    pick(page, STRANGER)
    expect(page.get_by_text("id_token_issuer", exact=True)).to_be_visible()
    assert company.broker.lines()[-1]["code"] == "id_token_issuer"
    assert seen.errors == [BAD_GATEWAY]


@pytest.mark.parametrize(
    ("vendor", "end_session"),
    [
        pytest.param(OKTA, "/oauth2/v1/logout", id="okta"),
        pytest.param(ENTRA, "/oauth2/v2.0/logout", id="entra"),
    ],
)
def test_signing_out_passes_by_the_vendor(
    page: Page, company: Company, seen: Seen, vendor: Vendor, end_session: str
) -> None:
    go_to(page, company.sites["acme"], vendor)
    pick(page, vendor.agent.name)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()

    asked = parameters(only_one(seen, company.emulators[vendor.emulator] + end_session))
    hint = jwt.decode(asked.pop("id_token_hint"), options={"verify_signature": False})
    assert (hint["aud"], hint["email"]) == (f"broker-{vendor.id}", vendor.agent.email)
    assert asked.pop("state")
    assert asked == {
        "client_id": f"broker-{vendor.id}",
        "post_logout_redirect_uri": f"{company.broker.public}/logout",
    }
    check_nothing_remembered(page)
    assert seen.errors == []


def test_signing_out_of_google_ends_at_the_broker(page: Page, company: Company, seen: Seen) -> None:
    go_to(page, company.sites["acme"], GOOGLE)
    pick(page, GOOGLE.agent.name)
    before = len(seen.addresses)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()

    assert page.url == f"{company.broker.public}/logout/acme"
    assert [urlsplit(address).hostname for address in seen.addresses[before:]] == ["127.0.0.1", "127.0.0.1"]
    check_nothing_remembered(page)
    assert seen.errors == []


def check_nothing_remembered(page: Page) -> None:
    """Check that the way of the last sign-in is all a browser keeps, and that it leads to the next one."""
    assert [cookie.get("name") for cookie in page.context.cookies()] == ["last_provider"]
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_role("button", name="Sign in with Custom SSO")).to_be_visible()
