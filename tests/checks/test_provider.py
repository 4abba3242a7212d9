"""An identity provider with one thing wrong: the check names that thing first, and what to do about it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.providers import KINDS
from tests.checks.diagnosis import REDIRECT_URI, assert_first, diagnose, of, settings_on_loopback, the
from tests.fakes.hostile_server import (
    DISCOVERY,
    KEYS,
    TOKEN,
    Trick,
    Wire,
    as_bytes,
    honest_but,
    hostile_provider,
    hung_up,
    says,
)
from tests.fakes.kinds import TENANT
from tests.fakes.lies import Lies, with_, without
from tests.fakes.ports import free_port
from tests.fakes.provider import FakeProvider, new_key

AUTHORIZE, LOGOUT = "/authorize", "/logout"
REALM = "/realms/acme"
ENTRA = {"preset": "entra", "tenant": TENANT, "client_authentication": "client_secret_basic"}
GOOGLE = {"preset": "google", "client_authentication": "client_secret_basic"}


def page(text: str, status: int = 200) -> Trick:
    return says(status, {"Content-Type": "text/html"}, text.encode())


def oauth_error(error: str, description: str, status: int = 400) -> Trick:
    body = json.dumps({"error": error, "error_description": description})
    return says(status, {"Content-Type": "application/json"}, body.encode())


def leads_to(location: str) -> Trick:
    return says(302, {"Location": location})


def google_refuses(code: str) -> str:
    auth_error = base64.urlsafe_b64encode(b"\n\x15" + code.encode() + b"\x12\xaeYou can't sign in").decode()
    return f"https://accounts.google.com/signin/oauth/error?authError={auth_error}&flowName=GeneralOAuthFlow"


def by_date(seconds: float) -> Trick:
    """The provider's clock is so many seconds ahead of ours, at the moment it answers."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await wire.send(as_bytes(answer, date=formatdate(time.time() + seconds, usegmt=True)))

    return trick


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and what has to be said first.

    Args:
        check: whose finding failed.
        message: a part of what is said.
        remedy: a part of what is advised.
        keys: settings of the provider; a text may hold {issuer}.
        tricks: of the provider, by path.
        lies: of the provider, by its issuer.
        status: of the first finding.
        provider: alters the honest one.
    """

    check: str
    message: str
    remedy: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    tricks: Mapping[str, Trick] = field(default_factory=dict)
    lies: Callable[[str], Lies] = lambda _: Lies()
    status: str = "failed"
    provider: Callable[[FakeProvider], None] = lambda _: None


def registers_another(provider: FakeProvider) -> None:
    provider.redirect_uris = ["http://127.0.0.1:8000/callback/okta"]


def in_a_realm(provider: FakeProvider) -> None:
    provider.issuer += REALM


def signs_out(provider: FakeProvider) -> None:
    provider.lies = Lies(discovery=lambda document: {**document, "end_session_endpoint": f"{provider.issuer}{LOGOUT}"})


def signs_out_in_a_realm(provider: FakeProvider) -> None:
    in_a_realm(provider)
    signs_out(provider)


def refuses(**answer: str) -> Callable[[FakeProvider], None]:
    def alter(provider: FakeProvider) -> None:
        provider.refuses = answer

    return alter


ROWS = {
    "the provider calls itself https": Wrong(
        "issuer", "Only the scheme differs", "Set issuer to exactly https://",
        lies=lambda issuer: Lies(discovery=with_(issuer=issuer.replace("http:", "https:"))),
    ),
    "the document names no issuer": Wrong(
        "issuer", "got nothing.", "has to name itself", lies=lambda _: Lies(discovery=without("issuer")),
    ),
    "the discovery address shows a page": Wrong(
        "discovery", "not with JSON", "A proxy may have answered", tricks={DISCOVERY: page("<h1>Welcome</h1>")},
    ),
    "the discovery address leads elsewhere": Wrong(
        "discovery", "status 302 to id.acme.example/auth", "Redirects are not followed",
        tricks={DISCOVERY: leads_to("https://id.acme.example/auth?session=1")},
    ),
    "the provider is failing": Wrong(
        "discovery", "status 503", "status page", tricks={DISCOVERY: page("sorry", 503)},
    ),
    "the provider hangs up": Wrong("discovery", "No answer", "", tricks={DISCOVERY: hung_up}),
    "the metadata has no token endpoint": Wrong(
        "metadata", "token_endpoint", "missing or not usable", lies=lambda _: Lies(discovery=without("token_endpoint")),
    ),
    "the metadata names a plain http address": Wrong(
        "metadata", "jwks_uri: http://id.acme.example", "missing or not usable",
        lies=lambda _: Lies(discovery=with_(jwks_uri="http://id.acme.example/keys")),
    ),
    "the provider announces another algorithm": Wrong(
        "metadata", "signs with RS256, but signing_algorithms has ES256", "Set signing_algorithms: [RS256]",
        status="warning",
        lies=lambda _: Lies(discovery=with_(id_token_signing_alg_values_supported=["RS256"])),
    ),
    "the provider announces other authentication contexts": Wrong(
        "metadata", "announces the authentication contexts", "Compare require_acr", status="warning",
        keys={"require_acr": ["gold"]}, lies=lambda _: Lies(discovery=with_(acr_values_supported=["0", "1"])),
    ),
    "the provider publishes no key": Wrong(
        "keys", "has no usable keys", "key", lies=lambda _: Lies(jwks=with_(keys=[])),
    ),
    "the keys are for encryption": Wrong(
        "keys", "has no usable keys", "key",
        lies=lambda _: Lies(jwks=lambda jwks: {"keys": [{**key, "use": "enc"} for key in jwks["keys"]]}),
    ),
    "the keys are not there": Wrong("keys", "got 404", "issuer", tricks={KEYS: page("nothing", 404)}),
    "the keys are on a machine that is down": Wrong(
        "keys", "Connection refused", "Open the firewall",
        lies=lambda _: Lies(discovery=with_(jwks_uri=f"http://127.0.0.1:{free_port()}/keys")),
    ),
    "the keys are on a host without a name": Wrong(
        "keys", "nowhere.invalid cannot be resolved", "nslookup nowhere.invalid",
        lies=lambda _: Lies(discovery=with_(jwks_uri="https://nowhere.invalid/keys")),
    ),
    "our clock is forty seconds behind": Wrong(
        "clock", "behind the provider's", "NTP", tricks={DISCOVERY: by_date(40)}, status="warning",
    ),
    "the client id or the secret is wrong, and nobody tells which": Wrong(
        "client_authentication", "invalid_client", "Client ID or credential is wrong",
        keys={"client_secret": "another-secret-of-nobody"}, tricks={AUTHORIZE: page("<form>Sign in</form>")},
    ),
    "the client secret is wrong in Keycloak": Wrong(
        "client_authentication", "Invalid client credentials", "Keycloak: Clients > the client > Credentials",
        provider=in_a_realm,
        tricks={f"{REALM}{TOKEN}": oauth_error("unauthorized_client", "Invalid client credentials", 401)},
    ),
    "the client authentication is another": Wrong(
        "client_authentication", "by private_key_jwt, but client_authentication is client_secret_basic",
        "Set client_authentication", tricks={TOKEN: oauth_error("invalid_client", "no assertion", 401)},
        lies=lambda _: Lies(discovery=with_(token_endpoint_auth_methods_supported=["private_key_jwt"])),
    ),
    "Okta does not know the client": Wrong(
        "client_authentication", "invalid_client", "Okta: Applications > the application", keys={"preset": "okta"},
        tricks={TOKEN: oauth_error("invalid_client", "The client secret supplied is invalid.", 401)},
    ),
    "the redirect URI is not registered in Keycloak": Wrong(
        "redirect_uri", "is not registered", "Valid redirect URIs", provider=in_a_realm,
        tricks={f"{REALM}{AUTHORIZE}": page('<p class="instruction">Invalid parameter: redirect_uri</p>', 400)},
    ),
    "the sign-out address is not registered, in JSON": Wrong(
        "redirect_uri", "Sign-out: ", "Add exactly", provider=signs_out,
        tricks={LOGOUT: oauth_error("invalid_request", "post_logout_redirect_uri is not allowed")},
    ),
    "the sign-out address is not registered in Okta": Wrong(
        "redirect_uri", "Sign-out: ", "Sign-out redirect URIs", provider=signs_out, keys={"preset": "okta"},
        tricks={LOGOUT: page("The 'post_logout_redirect_uri' parameter must be a Logout redirect URI", 400)},
    ),
    "the sign-out address is not registered in Keycloak": Wrong(
        "redirect_uri", "Sign-out: ", "Settings > Valid post logout redirect URIs",
        provider=signs_out_in_a_realm,
        tricks={f"{REALM}{LOGOUT}": page("<p>Invalid redirect uri</p>", 400)},
    ),
    "the client is not at Google": Wrong(
        "redirect_uri", "does not know the client ID client-1", "Client ID", keys=GOOGLE,
        tricks={AUTHORIZE: leads_to(google_refuses("deleted_client"))},
    ),
    "nobody may sign in, and the provider asks no person": Wrong(
        "redirect_uri", "access_denied: not from this network", "broker setup-link", status="unknown",
        tricks={DISCOVERY: by_date(0)},
        provider=refuses(error="access_denied", error_description="not from this network"),
    ),
    "a scope is not allowed, by access_denied": Wrong(
        "redirect_uri", "access_denied", "Compare scopes with",
        provider=refuses(error="access_denied", error_description="the scope email may not be asked for"),
    ),
    "a scope is not allowed, on a page": Wrong(
        "redirect_uri", "refuses the scopes openid email profile", "Compare scopes with",
        tricks={AUTHORIZE: page("<h1>Error: invalid_scope</h1>", 400)},
    ),
    "the request is refused for a reason of the provider's own": Wrong(
        "redirect_uri", "invalid_request: no PKCE here", "code flow",
        provider=refuses(error="invalid_request", error_description="no PKCE here"),
    ),
    "the provider announces algorithms that sign with the secret alone": Wrong(
        "metadata", "HS256 is signed with the client secret and never accepted", "at the provider to RS256",
        keys={"signing_algorithms": ["ES256", "RS256"]},
        lies=lambda _: Lies(discovery=with_(id_token_signing_alg_values_supported=["HS256", "none"])),
    ),
    "the provider reports a failure of its own": Wrong(
        "redirect_uri", "server_error", "status page", status="warning", provider=refuses(error="server_error"),
    ),
    "the answer names another issuer": Wrong(
        "redirect_uri", "but with iss https://other.example.", "its own redirect URI",
        lies=lambda _: Lies(callback=with_(iss="https://other.example")),
    ),
    "the answer lacks the issuer that the provider announces": Wrong(
        "redirect_uri", "but with no iss", "let no proxy drop parameters", status="warning",
        lies=lambda _: Lies(discovery=with_(authorization_response_iss_parameter_supported=True)),
    ),
    "the userinfo endpoint cannot be used": Wrong(
        "metadata", "userinfo_endpoint: an empty string", "userinfo: never", status="warning",
        lies=lambda _: Lies(discovery=with_(userinfo_endpoint="")),
    ),
    "the code flow is not allowed": Wrong(
        "redirect_uri", "unauthorized_client", "code flow", provider=refuses(error="unauthorized_client"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", [pytest.param(row, id=name) for name, row in ROWS.items()])
async def test_the_cause_is_named_first_and_comes_with_a_remedy(tmp_path: Path, wrong: Wrong) -> None:
    async with hostile_provider(wrong.tricks) as server:
        provider = server.honest
        provider.lies = wrong.lies(provider.issuer)
        wrong.provider(provider)
        keys = {name: _filled(value, provider) for name, value in wrong.keys.items()}
        findings = await diagnose(tmp_path, settings_on_loopback(provider, **keys))
    assert_first(findings, wrong.check, wrong.status, wrong.message, wrong.remedy)


def _filled(value: Any, provider: FakeProvider) -> Any:
    return value.replace("{issuer}", provider.issuer) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_wrong_with_a_provider_that_is_set_up_right(tmp_path: Path, kind: str) -> None:
    keys = {"preset": kind, "client_authentication": "client_secret_basic", "client_secret_expires": "2099-01-01"}
    async with hostile_provider({DISCOVERY: by_date(0)}) as server:
        server.honest.redirect_uris = [REDIRECT_URI]
        tenant = {"tenant": TENANT} if kind == "entra" else {}
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest, **keys, **tenant))
    assert {one.check: one.status for one in of(findings)} == dict.fromkeys(
        ("dns", "tls", "discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri",
         "client_secret_expiry"), "ok",
    )  # fmt: skip


async def test_a_provider_that_is_switched_off_is_examined_as_well(tmp_path: Path) -> None:
    async with hostile_provider() as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest, enabled=False))
    assert the(findings, "client_authentication").status == "ok"


@pytest.mark.parametrize(
    ("path", "trick", "check"),
    [
        pytest.param(AUTHORIZE, page("<form>Sign in</form>"), "redirect_uri", id="a sign-in page all the same"),
        pytest.param(AUTHORIZE, leads_to("https://id.acme.example/login"), "redirect_uri", id="the way to one"),
        pytest.param(
            AUTHORIZE,
            page("Something is wrong: /authorize?client_id=a&amp;redirect_uri=https%3A%2F%2Fx", 400),
            "redirect_uri",
            id="an error page that repeats the request alone",
        ),
        pytest.param(
            AUTHORIZE,
            page("<h1>NotImplementedError</h1><td>redirect_uri</td> is not registered", 500),
            "redirect_uri",
            id="a page of a failing provider that repeats the request",
        ),
        pytest.param(AUTHORIZE, page("slow down: redirect_uri", 429), "redirect_uri", id="a provider that is too busy"),
        pytest.param(AUTHORIZE, hung_up, "redirect_uri", id="no answer to what the browser would ask"),
        pytest.param(TOKEN, oauth_error("invalid_request", "no"), "client_authentication", id="another error"),
        pytest.param(TOKEN, page("maintenance", 503), "client_authentication", id="a token endpoint that is failing"),
        pytest.param(TOKEN, page("what?", 404), "client_authentication", id="no error of OAuth at all"),
        pytest.param(DISCOVERY, honest_but(date="yesterday"), "clock", id="a Date nobody can read"),
    ],
)  # fmt: skip
async def test_what_a_provider_does_not_tell_is_unknown_and_fails_nothing(
    tmp_path: Path, path: str, trick: Trick, check: str
) -> None:
    async with hostile_provider({path: trick}) as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert the(findings, check).status == "unknown"
    assert all(one.status in ("ok", "unknown") for one in of(findings))


async def test_a_document_that_a_cache_kept_for_ten_minutes_says_nothing_against_the_clock(tmp_path: Path) -> None:
    kept = honest_but(date=formatdate(time.time() - 600, usegmt=True), age="600")
    async with hostile_provider({DISCOVERY: kept}) as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert the(findings, "clock").status == "ok"


async def test_an_error_of_prompt_none_alone_fails_nothing(tmp_path: Path) -> None:
    async def trick(wire: Wire, answer: httpx.Response) -> None:
        shows_nothing = "error=login_required" in answer.headers.get("Location", "")
        refused = leads_to(f"{REDIRECT_URI}?error=invalid_request&error_description=prompt")
        await (refused if shows_nothing else page("<form>Sign in</form>"))(wire, answer)

    async with hostile_provider({AUTHORIZE: trick}) as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert the(findings, "redirect_uri").status == "ok"
    assert "refuses prompt=none only" in the(findings, "redirect_uri").message


async def test_a_request_that_fails_at_prompt_none_is_judged_without_it(tmp_path: Path) -> None:
    async def trick(wire: Wire, answer: httpx.Response) -> None:
        shows_nothing = "error=login_required" in answer.headers.get("Location", "")
        await (page("sorry", 500) if shows_nothing else page("redirect_uri is unknown", 400))(wire, answer)

    async with hostile_provider({AUTHORIZE: trick}) as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert the(findings, "redirect_uri").status == "failed"


@pytest.mark.parametrize(
    ("trick", "status", "message"),
    [
        pytest.param(leads_to("http://127.0.0.1:8000/logout?state=x"), "ok", "comes back to", id="back to us"),
        pytest.param(leads_to("https://id.acme.example/bye"), "unknown", "leads elsewhere (302)", id="elsewhere"),
        pytest.param(page("<form>Sign out?</form>"), "unknown", "shows a page", id="a page"),
        pytest.param(page("post_logout_redirect_uri", 500), "unknown", "error page (500)", id="a failing provider"),
        pytest.param(page("gone", 404), "unknown", "error page (404)", id="an error without a reason"),
        pytest.param(page("Missing parameters: id_token_hint", 400), "unknown", "error page", id="it wants a hint"),
        pytest.param(page("/logout?post_logout_redirect_uri=x", 400), "unknown", "error page", id="only the request"),
        pytest.param(hung_up, "unknown", "No answer", id="no answer"),
    ],
)
async def test_signing_out_is_asked_for_without_a_session(
    tmp_path: Path, trick: Trick, status: str, message: str
) -> None:
    async with hostile_provider({LOGOUT: trick}) as server:
        signs_out(server.honest)
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    [found] = [one for one in of(findings) if one.check == "redirect_uri" and "/logout" in one.message]
    assert found.status == status
    assert message in found.message
    assert status == "ok" or "post-logout redirect URIs" in found.remedy


async def test_no_menu_of_keycloak_is_named_at_another_provider(tmp_path: Path) -> None:
    async with hostile_provider({LOGOUT: page("post_logout_redirect_uri unknown", 400)}) as server:
        signs_out(server.honest)
        registers_another(server.honest)
        settings = settings_on_loopback(server.honest, client_secret="another-secret-of-nobody", scopes=["openid"])
        findings = await diagnose(tmp_path, settings)
    assert "Keycloak" not in "".join(one.remedy for one in findings)
    assert all(one.remedy for one in findings if one.status != "ok")


@pytest.mark.parametrize(("keys", "status"), [(1, "ok"), (4, "ok"), (5, "failed")])
async def test_keys_without_an_id_are_judged_as_a_sign_in_takes_them(tmp_path: Path, keys: int, status: str) -> None:
    async with hostile_provider() as server:
        server.honest.keys = [new_key("ES256", None) for _ in range(keys)]
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert the(findings, "keys").status == status


async def test_keys_that_a_sign_in_does_not_look_at_are_a_warning(tmp_path: Path) -> None:
    async with hostile_provider() as server:
        server.honest.keys = [new_key("ES256", f"key-{number}") for number in range(101)]
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
    assert (the(findings, "keys").status, "the first 100" in the(findings, "keys").message) == ("warning", True)


async def test_the_made_up_code_is_sent_to_no_address_of_another_issuer(tmp_path: Path) -> None:
    async with hostile_provider() as server:
        await diagnose(tmp_path, settings_on_loopback(server.honest))
        asked = server.honest.count(TOKEN), server.honest.count(AUTHORIZE)
        assert asked == (2, 1)  # ours and an invented client; never a code of a person
        server.honest.lies = Lies(discovery=with_(issuer="https://other.example"))
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest))
        assert (server.honest.count(TOKEN), server.honest.count(AUTHORIZE)) == asked
    assert the(findings, "client_authentication").message == "Not tried: issuer failed."
