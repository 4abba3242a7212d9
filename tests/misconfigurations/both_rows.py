"""What people have reported of services like this one, and of providers they use: the check beside the sign-in."""

from __future__ import annotations

import base64
import json
import logging

import httpx

from tests.fakes.lies import Document, Lies, says, with_
from tests.fakes.provider import Person, new_key
from tests.fakes.world import BROKER, Browser
from tests.misconfigurations.bench import Bench, Said
from tests.misconfigurations.both import WITHOUT_SIGN_IN, Both
from tests.misconfigurations.record import Change, SetUp, put
from tests.misconfigurations.vendors import SECRET
from tests.oidc.samples import sign

DISCOVERY, TOKEN, LOGOUT = "/.well-known/openid-configuration", "/token", "/logout"


def _claims(**claims: object) -> Person:
    ada = {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace", **claims}
    return Person("person-1", {name: value for name, value in ada.items() if value is not None})


def _signs_out_wrongly(document: Document) -> Document:
    return {**document, "end_session_endpoint": f"{document['issuer']}{LOGOUT}"}


def _with_a_mark(answer: httpx.Response) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.Response(answer.status_code, headers=headers, content=b"\xef\xbb\xbf" + answer.content)


def _by_secret(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{header}.{token.partition('.')[2]}"


def _proxy_that_wants_a_password(set_up: SetUp, _: Said) -> None:
    if isinstance(set_up, Bench):
        set_up.settings["outbound_proxy"] = set_up.settings["public_url"]


def _trusts_the_authority(set_up: SetUp, _: Said) -> None:
    if isinstance(set_up, Bench):
        set_up.settings["trusted_ca_file"] = str(set_up.folder / "ca.pem")


def _documents_elsewhere(*, named: bool) -> Change:
    """Let the issuer's documents be at another host than the issuer's name, and the settings say so or not."""

    def change(set_up: SetUp, _: Said) -> None:
        provider = set_up.provider if isinstance(set_up, Bench) else set_up.world.provider
        name = f"{provider.issuer}/tenants/all"
        provider.lies = Lies(discovery=with_(issuer=name), claims=with_(iss=name))
        if named:
            set_up.idp.update(issuer=name, metadata_url=f"{provider.issuer}{DISCOVERY}")

    return change


def _without_key_ids(set_up: SetUp, _: Said) -> None:
    provider = set_up.provider if isinstance(set_up, Bench) else set_up.world.provider
    provider.keys = [new_key("ES256", None)]
    provider.lies = Lies(header=with_(kid="key-1"))


def _odd_header(set_up: SetUp, _: Said) -> None:
    provider = set_up.provider if isinstance(set_up, Bench) else set_up.world.provider
    provider.lies = Lies(sign=lambda header, claims: sign({**header, "x5t": 5}, claims, provider.keys[0]))


def _late_keys(answers: int) -> Change:
    """Publish the keys of before in the first answers, as a replica that lags behind does."""

    def change(set_up: SetUp, _: Said) -> None:
        provider = set_up.provider if isinstance(set_up, Bench) else set_up.world.provider
        before = {"keys": [provider.keys[0].as_dict(private=False)]}
        given: list[Document] = []

        def jwks(document: Document) -> Document:
            given.append(document)
            return before if len(given) <= answers else document

        provider.rotate()
        provider.lies = Lies(jwks=jwks)

    return change


def _refused(code: int, error: str, description: str = "") -> Lies:
    body = {"error": error, **({"error_description": description} if description else {})}
    return Lies(answers={TOKEN: lambda _: httpx.Response(code, json=body)})


async def _opens(browser: Browser, path: str, **headers: str) -> str:
    answer = await browser.get(f"{BROKER}{path}", **headers)
    return f"{answer.status_code}"


async def _announces_an_empty_body(browser: Browser) -> str:
    return await _opens(browser, "/login", Transfer_Encoding="chunked")


async def _types_a_slash_too_many(browser: Browser) -> str:
    last = await browser.follow(await browser.open(f"{BROKER}/login/"), until="https://idp.example")
    return str(last.headers.get("location", last.status_code)).partition("?")[0]


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def _what_is_logged(browser: Browser, path: str, **headers: str) -> logging.LogRecord:
    handler = _Kept()
    log = logging.getLogger("broker")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        await _opens(browser, path, **headers)
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
    return handler.records[-1]


async def _comes_through_a_proxy_that_writes_ports(browser: Browser) -> str:
    record = await _what_is_logged(browser, "/callback/idp", X_Forwarded_For="203.0.113.7:51234")
    return str(getattr(record, "facts")["client"])  # noqa: B009 - an attribute of ours


async def _looks_for_holes(browser: Browser) -> str:
    return (await _what_is_logged(browser, "/wp-login.php")).levelname


def _trusts_the_proxy(set_up: SetUp, _: Said) -> None:
    settings = set_up.settings if isinstance(set_up, Bench) else set_up.world.settings
    settings["trusted_proxies"] = ["127.0.0.1/32"]


ROWS = [
    Both("a wrong client secret, at a provider that looks at the code first",
        "This provider looks at the code first, so only a test sign-in tells", "client_rejected",
        put(provider={"looks_at_the_code_first": True, "client_secret": SECRET[::-1]}), "broker setup-link"),
    Both("the right client secret, at a provider that looks at the code first",
        "This provider looks at the code first, so only a test sign-in tells", "",
        put(provider={"looks_at_the_code_first": True}), "broker setup-link"),
    Both("an unregistered sign-out address",
        "Sign-out: https://sso.acme.example/logout is not registered", "",
        put(provider={"lies": Lies(
            discovery=_signs_out_wrongly,
            answers={LOGOUT: lambda _: httpx.Response(400, text="post_logout_redirect_uri not registered")})}),
        "Add exactly this address"),
    Both("a sign-out address that the provider asks about on a page",
        "Sign-out: whether https://sso.acme.example/logout is registered is not known", "",
        put(provider={"lies": Lies(
            discovery=_signs_out_wrongly, answers={LOGOUT: lambda _: httpx.Response(200, text="Sign out?")})}),
        "Make sure that https://sso.acme.example/logout is registered"),
    Both("a certificate authority of one's own that nobody named", "authority", WITHOUT_SIGN_IN,
        put(), "trusted_ca_file", tls=True),
    Both("an authority of one's own whose basicConstraints are not critical, in trusted_ca_file", "", WITHOUT_SIGN_IN,
        _trusts_the_authority, tls=True, critical=False),
    Both("a discovery document of an issuer with another name", "The discovery document names another issuer",
        "metadata_issuer",
        _documents_elsewhere(named=False), "metadata_url"),
    Both("a discovery document of an issuer with another name, which metadata_url names", "", "",
        _documents_elsewhere(named=True)),
    Both("ID tokens signed with the client secret, HS256", "HS256 is signed with the client secret and never accepted",
        "id_token_algorithm",
        put(provider={"lies": Lies(
            discovery=with_(id_token_signing_alg_values_supported=["HS256"]), id_token=_by_secret)}),
        "at the provider to"),
    Both("a provider that fails at prompt=none, on a page that repeats the request",
        "", "", put(provider={"fails_at_prompt_none": True})),
    Both("a scope that is refused in the words of another error", "invalid_request: invalid scopes: profile",
        "provider_error",
        put(provider={"refuses": {"error": "invalid_request", "error_description": "invalid scopes: profile"}}),
        "Compare scopes"),
    Both("a provider that never sends email_verified", "", "email_unverified: expected email_verified: true, got "
        "email_verified: absent",
        put(provider={"person": _claims(email_verified=None)}), "does not send email_verified"),
    Both("an odd email_verified", "", "got email_verified: 1",
        put(provider={"person": _claims(email_verified=1)}), "neither true nor false"),
    Both("an outbound proxy that wants a password", "outbound_proxy", WITHOUT_SIGN_IN, _proxy_that_wants_a_password,
        tls=True),
    Both("a wrong client secret, refused with status 401 and no words", "refuses the client: 401", "client_rejected",
        put(provider={"lies": Lies(answers={TOKEN: lambda _: httpx.Response(
            401, headers={"WWW-Authenticate": 'Basic realm="token"'})})}), "credential is wrong or expired"),
    Both("a wrong client secret, refused with status 200", "refuses the client: invalid_client", "client_rejected",
        put(provider={"lies": _refused(200, "invalid_client")}), "credential is wrong or expired"),
    Both("a wrong client secret, in Keycloak's words", "refuses the client: unauthorized_client", "client_rejected",
        put(provider={"lies": _refused(
            401, "unauthorized_client", "Invalid client or Invalid client credentials")}),
        "credential is wrong or expired"),
    Both("a wrong client secret, in Glewlwyd's words", "refuses the client: unauthorized_client", "client_rejected",
        put(provider={"lies": _refused(403, "unauthorized_client")}), "credential is wrong or expired"),
    Both("a client registered for another authentication, which the provider names", "token_endpoint_auth_method",
        "token_endpoint_auth_method", put(provider={"lies": _refused(
            400, "invalid_request", "set the value of token_endpoint_auth_method")}), "broker setup-link"),
    Both("email_verified as a text in userinfo, as a boolean in the ID token", "", "",
        put(provider={"claims_in_id_token": True, "lies": Lies(userinfo=with_(email_verified="true"))})),
    Both("a member twice in the discovery document", "member `a` twice", "member `a` twice",
        put(provider={"lies": Lies(answers={DISCOVERY: says(b'{"a": 1, "a": 2}')})})),
    Both("a byte order mark before the documents", "", "", put(provider={"lies": Lies(answers={
        DISCOVERY: _with_a_mark, "/keys": _with_a_mark, TOKEN: _with_a_mark, "/userinfo": _with_a_mark})})),
    Both("null in optional claims of the ID token", "", "",
        put(provider={"lies": Lies(claims=with_(at_hash=None, azp=None, nbf=None))})),
    Both("an odd member in the header of the ID token that nobody needs", "", "",
        _odd_header),
    Both("a project beside our client id in aud, which trusted_audiences names", "", "",
        put(idp={"trusted_audiences": ["project"]},
            provider={"lies": Lies(claims=with_(aud=["project", "client-1"], azp="client-1"))})),
    Both("a project beside our client id in aud, which nothing names", "", "trusted_audiences",
        put(provider={"lies": Lies(claims=with_(aud=["project", "client-1"], azp="client-1"))})),
    Both("one key without an id, and tokens that name one", "", "", _without_key_ids),
    Both("an empty end_session_endpoint", "", "",
        put(provider={"lies": Lies(discovery=with_(end_session_endpoint=""))})),
    Both("an empty error beside the code", "", "", put(provider={"lies": Lies(callback=with_(error=""))})),
    Both("keys that are late by two answers after a rotation", "", "", _late_keys(2)),
    Both("a request that announces a body and has none", "", "303", put(), journey=_announces_an_empty_body),
    Both("a slash too many at the end of the Remote Login URL", "", "https://id.acme.example/authorize", put(),
        journey=_types_a_slash_too_many),
    Both("a proxy that writes the port into X-Forwarded-For", "", "203.0.113.7", _trusts_the_proxy,
        journey=_comes_through_a_proxy_that_writes_ports),
    Both("a stranger who looks for holes", "", "INFO", put(), journey=_looks_for_holes),
]  # fmt: skip
