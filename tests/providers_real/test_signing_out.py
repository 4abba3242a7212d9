"""Signing out at the certified provider and back: OpenID Connect RP-Initiated Logout 1.0, as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest

from tests.providers_real import person, vendors
from tests.providers_real.scene import CLIENT_ID, START_URL, Scene, claims_for_comm100, started
from tests.providers_real.vendors import TENANT

GROUPS = [f"{number:08x}-1111-4222-8333-{number * 7919:012x}" for number in range(190)]  # Entra writes up to 200
MEMBER: dict[str, Any] = {"tid": TENANT, "email": "ada@acme.example", "xms_edov": True, "name": "Ada Lovelace"}
ACCOUNTS = {
    "ada": {**MEMBER, "login_hint": "O.CiRlZGM4YTY1Ny0wMDAwLTAwMDAtMDAwMC1vcGFxdWU"},
    "bob": {**MEMBER, "login_hint": "O.CiRvbmUtb2YtbWFueS1ncm91cHMtb3BhcXVl", "groups": GROUPS},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with started(tmp_path_factory.mktemp("signing-out"), vendors.entra, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


def signed_in(scene: Scene, browser: httpx.Client, login: str = "ada") -> str:
    """Sign in; what the browser remembers of it."""
    assert claims_for_comm100(scene.come_back(browser, login), scene)
    return browser.cookies["signed_in"]


def assert_signed_out_page(answer: httpx.Response) -> None:
    assert answer.status_code == httpx.codes.OK
    assert "You are signed out" in answer.text
    assert f'href="{START_URL}"' in answer.text


def asks_for_credentials(scene: Scene, browser: httpx.Client) -> bool:
    """Whether the provider no longer knows who is at the browser."""
    location = scene.begin(browser)
    return urlsplit(person.redirected_to(browser.get(location))).path.startswith("/interaction/")


def test_a_person_signs_out_at_the_provider_and_comes_back(scene: Scene, browser: httpx.Client) -> None:
    """OpenID module rp-init-logout."""
    signed_in(scene, browser)
    assert not asks_for_credentials(scene, browser)
    answer = browser.get(f"{scene.public_url}/logout")
    assert answer.status_code == httpx.codes.SEE_OTHER
    assert "signed_in" not in browser.cookies
    location = httpx.URL(answer.headers["location"])
    assert str(location).startswith(f"{scene.origin}/{TENANT}/oauth2/v2.0/logout?")
    asked = location.params
    assert set(asked) == {"client_id", "post_logout_redirect_uri", "state", "id_token_hint", "logout_hint"}
    assert asked["client_id"] == CLIENT_ID
    assert asked["post_logout_redirect_uri"] == f"{scene.public_url}/logout"
    assert asked["logout_hint"] == ACCOUNTS["ada"]["login_hint"]
    assert jwt.decode(asked["id_token_hint"], options={"verify_signature": False})["sub"] == "ada"

    back = person.confirm_at_the_provider(browser, str(location))
    assert back == f"{scene.public_url}/logout?state={asked['state']}"
    assert_signed_out_page(browser.get(back))
    assert asks_for_credentials(scene, browser)


def test_signing_out_a_second_time_stays_here(scene: Scene, browser: httpx.Client) -> None:
    signed_in(scene, browser)
    person.confirm_at_the_provider(browser, scene.begin(browser, "/logout"))
    assert_signed_out_page(browser.get(f"{scene.public_url}/logout"))


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="no state (OpenID module rp-init-logout-no-state)"),
        pytest.param("?state=another", id="another state (OpenID module rp-init-logout-other-state)"),
        pytest.param("?state=Im1haW4i.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", id="a state nobody signed"),
        pytest.param("?state=", id="an empty state"),
        pytest.param("?state=%00%ff", id="a state that is no text"),
    ],
)
def test_coming_back_with_another_state_does_no_harm(query: str, scene: Scene, browser: httpx.Client) -> None:
    signed_in(scene, browser)
    person.confirm_at_the_provider(browser, scene.begin(browser, "/logout"))
    assert_signed_out_page(browser.get(f"{scene.public_url}/logout{query}"))


def test_the_state_of_a_sign_in_is_no_state_of_a_sign_out(scene: Scene, browser: httpx.Client) -> None:
    signed_in(scene, browser)
    state = httpx.URL(scene.begin(browser)).params["state"]
    assert httpx.URL(scene.begin(browser, "/logout", state=state)).params["id_token_hint"]


def test_a_large_id_token_is_left_out_and_the_person_signs_out_all_the_same(
    scene: Scene, browser: httpx.Client
) -> None:
    remembered = signed_in(scene, browser, "bob")
    assert len(remembered) < 400
    location = httpx.URL(scene.begin(browser, "/logout"))
    assert set(location.params) == {"client_id", "post_logout_redirect_uri", "state", "logout_hint"}
    assert location.params["logout_hint"] == ACCOUNTS["bob"]["login_hint"]
    assert_signed_out_page(browser.get(person.confirm_at_the_provider(browser, str(location))))
    assert asks_for_credentials(scene, browser)


def test_what_the_browser_remembers_is_encrypted_and_bounded(scene: Scene, browser: httpx.Client) -> None:
    answer = scene.come_back(browser, "ada")
    [cookie] = [one for one in answer.headers.get_list("set-cookie") if one.startswith("signed_in=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    value = browser.cookies["signed_in"]
    assert len(value) <= 1400
    hint = httpx.URL(scene.begin(browser, "/logout")).params["id_token_hint"]
    assert not [part for part in (*hint.split("."), "eyJ", "ada") if part in value and len(part) > 3]
    again = signed_in(scene, browser)
    assert again != value


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda value: value[:-2] + "AA", id="altered at its end"),
        pytest.param(lambda value: value[:40] + ("A" if value[40] != "A" else "B") + value[41:], id="altered inside"),
        pytest.param(lambda _: "gAAAAAB", id="cut short"),
        pytest.param(lambda _: "A" * 3000, id="made up"),
    ],
)
def test_a_cookie_that_is_not_ours_leads_nowhere(forged: Any, scene: Scene, browser: httpx.Client) -> None:
    value = forged(signed_in(scene, browser))
    answer = httpx.get(f"{scene.public_url}/logout", headers={"Cookie": f"signed_in={value}"}, trust_env=False)
    assert_signed_out_page(answer)


@pytest.mark.parametrize(
    "name", ["post_logout_redirect_uri", "redirect_url", "redirect_uri", "target_link_uri", "start_url", "returnUrl"]
)
def test_no_parameter_leads_elsewhere(name: str, scene: Scene, browser: httpx.Client) -> None:
    signed_in(scene, browser)
    location = scene.begin(browser, "/logout", **{name: "https://elsewhere.example/"})
    assert location.startswith(f"{scene.origin}/")
    assert "elsewhere" not in location
    page = browser.get(f"{scene.public_url}/logout", params={name: "https://elsewhere.example/"})
    assert_signed_out_page(page)
    assert "elsewhere" not in page.text


def test_the_provider_refuses_a_hint_that_is_another_clients(scene: Scene, browser: httpx.Client) -> None:
    """It judges what we send, so that what it accepts above is worth something."""
    signed_in(scene, browser)
    location = httpx.URL(scene.begin(browser, "/logout")).copy_set_param("client_id", "another")
    assert browser.get(location).status_code == httpx.codes.BAD_REQUEST
