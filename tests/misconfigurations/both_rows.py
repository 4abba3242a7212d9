"""What people have reported of services like this one, and of providers they use: the check beside the sign-in."""

from __future__ import annotations

import base64
import json

import httpx

from tests.fakes.lies import Document, Lies, with_
from tests.fakes.provider import Person
from tests.misconfigurations.bench import Bench, Said
from tests.misconfigurations.both import WITHOUT_SIGN_IN, Both
from tests.misconfigurations.record import SetUp, put
from tests.misconfigurations.vendors import SECRET

LOGOUT = "/logout"


def _claims(**claims: object) -> Person:
    ada = {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace", **claims}
    return Person("person-1", {name: value for name, value in ada.items() if value is not None})


def _signs_out_wrongly(document: Document) -> Document:
    return {**document, "end_session_endpoint": f"{document['issuer']}{LOGOUT}"}


def _by_secret(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{header}.{token.partition('.')[2]}"


def _proxy_that_wants_a_password(set_up: SetUp, _: Said) -> None:
    if isinstance(set_up, Bench):
        set_up.settings["outbound_proxy"] = set_up.settings["public_url"]


ROWS = [
    Both("a wrong client secret, at a provider that looks at the code first",
        "This provider looks at the code first, so only a test sign-in tells", "client_rejected",
        put(provider={"looks_at_the_code_first": True, "client_secret": SECRET[::-1]}), "broker setup-link"),
    Both("the right client secret, at a provider that looks at the code first",
        "This provider looks at the code first, so only a test sign-in tells", "",
        put(provider={"looks_at_the_code_first": True}), "broker setup-link"),
    Both("an unregistered sign-out address",
        "The sign-out address https://sso.acme.example/logout is not registered", "",
        put(provider={"lies": Lies(
            discovery=_signs_out_wrongly,
            answers={LOGOUT: lambda _: httpx.Response(400, text="post_logout_redirect_uri not registered")})}),
        "Add exactly this address"),
    Both("a sign-out address that the provider asks about on a page",
        "Whether the sign-out address https://sso.acme.example/logout is registered is not known", "",
        put(provider={"lies": Lies(
            discovery=_signs_out_wrongly, answers={LOGOUT: lambda _: httpx.Response(200, text="Sign out?")})}),
        "Compare by eye"),
    Both("a certificate authority of one's own that nobody named", "of an authority we do not know", WITHOUT_SIGN_IN,
        put(), "trusted_ca_file", tls=True),
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
]  # fmt: skip
