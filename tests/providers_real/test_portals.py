"""Sign-ins that a portal starts (OpenID Connect Core, section 4), at the certified provider as Okta's."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from broker.errors import BrokerError, InitiationRefused, NoSuchPage, ParameterRepeated, RedirectUrlRefused
from tests.providers_real import person, vendors
from tests.providers_real.scene import Scene, assert_refused, claims_for_comm100, started

ACCOUNTS = {"ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with started(tmp_path_factory.mktemp("portal"), vendors.okta, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


def test_a_tile_starts_a_sign_in_for_a_page_of_comm100(scene: Scene, browser: httpx.Client) -> None:
    location = scene.begin(browser, "/initiate/idp", iss=scene.origin, target_link_uri=scene.wanted_page)
    callback = person.sign_in_at_the_provider(browser, location, login="ada")
    assert claims_for_comm100(browser.get(callback), scene)["email"] == "ada@acme.example"


@pytest.mark.parametrize(
    "target",
    [
        pytest.param({}, id="none named"),
        pytest.param({"target_link_uri": ""}, id="an empty one"),
        pytest.param({"target_link_uri": "{public_url}/initiate/idp"}, id="the broker's own address"),
    ],
)
def test_without_a_page_named_the_sign_in_ends_at_the_endpoint(
    target: dict[str, str], scene: Scene, browser: httpx.Client
) -> None:
    named = {name: value.format(public_url=scene.public_url) for name, value in target.items()}
    location = scene.begin(browser, "/initiate/idp", iss=scene.origin, **named)
    end = httpx.URL(person.redirected_to(browser.get(person.sign_in_at_the_provider(browser, location, login="ada"))))
    assert str(end.copy_with(query=None)) == scene.endpoint
    assert list(end.params) == ["jwt"]


def test_the_hint_reaches_the_provider(scene: Scene, browser: httpx.Client) -> None:
    location = scene.begin(browser, "/initiate/idp", iss=scene.origin, login_hint="ada+x@acme.example")
    asked = httpx.URL(location).params
    assert asked.get_list("login_hint") == ["ada+x@acme.example"]
    form = browser.get(person.redirected_to(browser.get(location)))
    assert "ada+x@acme.example" in form.text


@pytest.mark.parametrize(
    ("parameters", "error", "got"),
    [
        pytest.param(
            [("iss", "https://elsewhere.example")], InitiationRefused, "https://elsewhere", id="another issuer"
        ),
        pytest.param([("iss", "{origin}/")], InitiationRefused, "http://127.0.0.1", id="the issuer and a slash"),
        pytest.param([], InitiationRefused, "", id="no issuer"),
        pytest.param([("iss", "{origin}"), ("iss", "{origin}")], ParameterRepeated, "2 times", id="the issuer twice"),
        pytest.param(
            [("iss", "{origin}"), ("target_link_uri", "https://elsewhere.example/")],
            RedirectUrlRefused,
            "",
            id="a page that is not Comm100's",
        ),
        pytest.param(
            [("iss", "{origin}"), ("target_link_uri", "{public_url}.elsewhere.example/")],
            RedirectUrlRefused,
            "",
            id="a host that begins like ours",
        ),
        pytest.param(
            [("iss", "{origin}"), ("login_hint", "a\r\nb")],
            InitiationRefused,
            "4 characters, U+000D among them",
            id="a hint of two lines",
        ),
        pytest.param(
            [("iss", "{origin}"), ("login_hint", "a" * 255)], InitiationRefused, "255 characters", id="a hint too long"
        ),
    ],
)
def test_what_no_portal_of_ours_would_ask_is_refused(
    parameters: list[tuple[str, str]], error: type[BrokerError], got: str, scene: Scene, browser: httpx.Client
) -> None:
    asked = [(name, value.format(origin=scene.origin, public_url=scene.public_url)) for name, value in parameters]
    answer = browser.get(f"{scene.public_url}/initiate/idp", params=httpx.QueryParams(tuple(asked)))
    assert_refused(answer, scene, error, got=got)
    assert not browser.cookies
    assert "elsewhere" not in answer.text


def test_a_portal_of_an_unknown_provider_is_a_page_not_found(scene: Scene, browser: httpx.Client) -> None:
    answer = browser.get(f"{scene.public_url}/initiate/nobody", params={"iss": scene.origin})
    assert answer.status_code == NoSuchPage.status
    assert NoSuchPage.code in answer.text
