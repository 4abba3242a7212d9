"""Sign-ins against npm's oidc-provider, which is OpenID certified and knows nothing of the broker.

What our own fake provider may have got wrong in the same way as the broker shows here. PKCE is enforced throughout.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from tests.fakes.ports import free_port
from tests.providers_real import person, programs

SHARED_SECRET = "ZmFrZS1zaGFyZWQtc2VjcmV0LW9mLWNvbW0xMDAtc2l0ZQ=="  # looks like base64, and must not be decoded
CLIENT_SECRET = "a:b%2Bc d+e/f&g=h"  # RFC 6749 2.3.1: form-encoded before it becomes Basic
ACCOUNTS = {
    "ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"},
    "eve": {"email": "eve@acme.example", "email_verified": False, "name": "Eve Unverified"},
    "mallory": {"email": "mallory@elsewhere.example", "email_verified": True, "name": "Mallory"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One way a provider and the broker can be registered with each other."""

    signing: str = "RS256"
    accepted: str = "RS256"
    authentication: str = "client_secret_basic"
    claims_in_id_token: bool = False
    broker_secret: str = CLIENT_SECRET


@dataclass(frozen=True, slots=True)
class World:
    """The addresses of one provider, the broker and Comm100."""

    issuer: str
    public_url: str
    operations_url: str
    comm100: str

    @property
    def endpoint(self) -> str:
        return f"{self.comm100}/AdminWebService/SSO/SSOJWTConsumer.aspx"

    @property
    def wanted_page(self) -> str:
        return f"{self.comm100}/agent?site=10001&next=%2Fchats%3Fa%26b"

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url}/callback/certified"


@contextmanager
def started(directory: Path, row: Row) -> Iterator[World]:
    """Run the provider and the broker registered with each other as `row` says."""
    public_port, operations_port, comm100_port = (free_port() for _ in range(3))
    public_url = f"http://127.0.0.1:{public_port}"
    client: dict[str, object] = {
        "client_id": "comm100-broker",
        "redirect_uris": [f"{public_url}/callback/certified"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": row.authentication,
        "id_token_signed_response_alg": row.signing,
    }
    if row.authentication != "none":
        client["client_secret"] = CLIENT_SECRET
    configuration = {"client": client, "claims_in_id_token": row.claims_in_id_token, "accounts": ACCOUNTS}
    with programs.oidc_provider(directory / "provider.log", configuration) as issuer:
        world = World(issuer, public_url, f"http://127.0.0.1:{operations_port}", f"http://127.0.0.1:{comm100_port}")
        settings = settings_for(world, row, directory)
        with programs.broker(directory / "broker.log", settings, world.operations_url):
            yield world


def settings_for(world: World, row: Row, directory: Path) -> dict[str, object]:
    """The broker's settings, its secrets as files in `directory`."""
    provider: dict[str, object] = {
        "preset": "oidc",
        "issuer": world.issuer,
        "client_id": "comm100-broker",
        "client_authentication": row.authentication,
        "signing_algorithms": [row.accepted],
        "email_domains": ["acme.example"],
    }
    if row.authentication != "none":
        provider["client_secret_file"] = programs.secret_file(directory / "client-secret", row.broker_secret)
    return {
        "public_url": world.public_url,
        "secret_keys_file": programs.secret_file(
            directory / "secret-keys", "k" * 20 + "0123456789abcdef0123456789abcdef"
        ),
        "listen": urlsplit(world.public_url).netloc,
        "operations_listen": urlsplit(world.operations_url).netloc,
        "sites": {
            "main": {
                "endpoint": world.endpoint,
                "shared_secret_file": programs.secret_file(directory / "s", SHARED_SECRET),
            }
        },
        "identity_providers": {"certified": provider},
    }


def begun(browser: httpx.Client, world: World) -> str:
    """Come from Comm100; where the broker sends the browser, once that is known to be a complete request with PKCE."""
    answer = browser.get(f"{world.public_url}/login", params={"redirect_url": world.wanted_page})
    location = person.redirected_to(answer)
    assert answer.status_code == httpx.codes.SEE_OTHER
    assert location.startswith(f"{world.issuer}/auth?")
    asked = httpx.URL(location).params
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == world.redirect_uri
    assert "openid" in asked["scope"].split()
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43  # SHA-256 in unpadded base64url
    assert asked["state"]
    assert asked["nonce"]
    return location


def called_back(browser: httpx.Client, world: World, login: str) -> httpx.Response:
    """Sign in at the provider and bring the code to the broker; the broker's answer."""
    location = person.sign_in_at_the_provider(browser, begun(browser, world), login=login)
    assert location.startswith(f"{world.redirect_uri}?")
    returned = httpx.URL(location).params
    assert returned["code"]
    assert returned["iss"] == world.issuer
    return browser.get(location)


def assert_comm100_signs_in(answer: httpx.Response, world: World, login: str) -> None:
    """Judge the redirect to Comm100 with nothing but PyJWT and what Comm100 documents."""
    location = urlsplit(person.redirected_to(answer))
    assert answer.status_code == httpx.codes.SEE_OTHER
    assert location._replace(query="").geturl() == world.endpoint
    query = parse_qs(location.query, strict_parsing=True)
    assert list(query) == ["jwt", "redirect_url"]
    assert query["redirect_url"] == [world.wanted_page]
    [token] = query["jwt"]
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(
        token,
        SHARED_SECRET.encode(),
        algorithms=["HS256"],
        audience="Comm100",
        issuer="jwt server",
        subject="comm100",
        options={"require": ["email", "exp", "iat", "jti", "nbf"]},
    )
    assert (claims["email"], claims["name"]) == (ACCOUNTS[login]["email"], ACCOUNTS[login]["name"])
    assert (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"]) == (60, 60)


def assert_refused(answer: httpx.Response, world: World, status: int, reason: str) -> None:
    """A page with the reason's code and no way on to Comm100, and the same code counted."""
    assert (answer.status_code, "location" in answer.headers) == (status, False), answer.text
    assert reason in answer.text
    metrics = httpx.get(f"{world.operations_url}/metrics", trust_env=False).text
    assert re.search(rf'^comm100_sso_signins_total{{[^}}]*reason="{reason}"[^}}]*}} [1-9]', metrics, re.MULTILINE), (
        metrics
    )


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(Row(), id="RS256, client_secret_basic, e-mail from userinfo"),
        pytest.param(Row(claims_in_id_token=True), id="e-mail in the ID token as well"),
        pytest.param(Row(signing="ES256", accepted="ES256"), id="ES256"),
        pytest.param(Row(signing="PS256", accepted="PS256"), id="PS256"),
        pytest.param(Row(authentication="client_secret_post"), id="client_secret_post"),
        pytest.param(Row(authentication="none"), id="a public client"),
    ],
)
def test_an_agent_comes_from_comm100_and_returns_signed_in(row: Row, tmp_path: Path) -> None:
    with started(tmp_path, row) as world, person.browser() as browser:
        assert_comm100_signs_in(called_back(browser, world, "ada"), world, "ada")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(Row(signing="ES256"), "id_token_algorithm", id="an algorithm the settings do not list"),
        pytest.param(Row(broker_secret="not the secret"), "client_rejected", id="a wrong client secret"),
    ],
)
def test_a_registration_that_does_not_match_is_refused(row: Row, reason: str, tmp_path: Path) -> None:
    with started(tmp_path, row) as world, person.browser() as browser:
        assert_refused(called_back(browser, world, "ada"), world, 502, reason)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with started(tmp_path_factory.mktemp("world"), Row()) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


def test_the_provider_refuses_a_sign_in_without_pkce(world: World, browser: httpx.Client) -> None:
    location = httpx.URL(begun(browser, world))
    without = location.copy_remove_param("code_challenge").copy_remove_param("code_challenge_method")
    refusal = httpx.URL(person.redirected_to(browser.get(without))).params
    assert refusal["error"] == "invalid_request"
    assert "PKCE" in refusal["error_description"]
    assert "code" not in refusal


def test_a_code_bound_to_another_challenge_is_refused(world: World, browser: httpx.Client) -> None:
    location = httpx.URL(begun(browser, world)).copy_set_param("code_challenge", "A" * 43)
    callback = person.sign_in_at_the_provider(browser, str(location), login="ada")
    assert_refused(browser.get(callback), world, 400, "code_rejected")


def test_a_second_sign_in_asks_nothing_again(world: World, browser: httpx.Client) -> None:
    assert_comm100_signs_in(called_back(browser, world, "ada"), world, "ada")
    straight_back = person.redirected_to(browser.get(begun(browser, world)))
    assert straight_back.startswith(f"{world.redirect_uri}?")
    assert_comm100_signs_in(browser.get(straight_back), world, "ada")


def test_a_person_who_turns_back_at_the_provider_is_told_so(world: World, browser: httpx.Client) -> None:
    form = person.redirected_to(browser.get(begun(browser, world)))
    resumed = person.redirected_to(browser.get(f"{form}/abort"))
    callback = person.redirected_to(browser.get(resumed))
    assert httpx.URL(callback).params["error"] == "access_denied"
    assert_refused(browser.get(callback), world, 403, "access_denied")


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        pytest.param("eve", "email_unverified", id="an address the provider has not verified"),
        pytest.param("mallory", "email_domain_not_allowed", id="an address of a domain that is not the provider's"),
    ],
)
def test_a_person_who_may_not_enter_is_refused(login: str, reason: str, world: World, browser: httpx.Client) -> None:
    assert_refused(called_back(browser, world, login), world, 403, reason)
