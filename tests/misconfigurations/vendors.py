"""Identity providers that refuse in their vendors' own words: Okta, Entra ID and Google.

Each is the honest fake, whose plain refusals are translated. What a vendor says is as its documentation has it; links
stand beside the words. They know nothing of the broker.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx

from tests.fakes.kinds import OTHER, TENANT
from tests.fakes.lies import Document
from tests.fakes.provider import FakeProvider, Person

SECRET = "kT9~vQ2aaBBccDDeeFFggHHiiJJkkLLmmNNooPP"


class Strict(FakeProvider):
    """Knows scopes (OpenID Connect Core, 5.4), and takes the client authentication it was told of alone."""

    scopes = frozenset({"openid", "email", "profile"})
    takes: str | None = None
    looks_at_the_code_first = False
    fails_at_prompt_none = False

    def _discovery(self, request: httpx.Request) -> httpx.Response:
        document = super()._discovery(request).json()
        announced = {} if self.takes is None else {"token_endpoint_auth_methods_supported": [self.takes]}
        return httpx.Response(200, json=document | announced)

    def _token(self, request: httpx.Request) -> httpx.Response:
        code = parse_qs(request.content.decode()).get("code", [""])[0]
        if self.looks_at_the_code_first and code not in self.grants:
            return _error("invalid_grant", "code unknown", 400)
        return super()._token(request)

    def _authorize(self, request: httpx.Request) -> httpx.Response:
        answer = super()._authorize(request)
        asked = parse_qs(request.url.query.decode())
        if self.fails_at_prompt_none and asked.get("prompt") == ["none"]:  # a page for developers repeats the request
            return _page("NotImplementedError: redirect_uri, whether it is registered or not", 500)
        if answer.status_code != 302 or set(asked["scope"][0].split()) <= self.scopes:
            return answer
        said = {"error": "invalid_scope", "error_description": "requested scope is not allowed"}
        url = httpx.URL(asked["redirect_uri"][0], params={"state": asked["state"][0], **said})
        return httpx.Response(302, headers={"Location": str(url)})

    def _knows_client(self, request: httpx.Request, form: dict[str, str]) -> bool:
        used = "client_secret_basic" if "authorization" in request.headers else "client_secret_post"
        return self.takes in (None, used) and super()._knows_client(request, form)

    def _userinfo(self, request: httpx.Request) -> httpx.Response:
        answer = super()._userinfo(request)
        asked = [*self.grants.values()][-1].request["scope"].split() if self.grants else []
        if answer.status_code != 200 or "email" in asked:
            return answer
        kept = {name: value for name, value in answer.json().items() if not name.startswith("email")}
        return httpx.Response(200, json=kept)


class Okta(Strict):
    """https://developer.okta.com/docs/reference/api/oidc/, https://support.okta.com."""

    def _authorize(self, request: httpx.Request) -> httpx.Response:
        answer = super()._authorize(request)
        if answer.status_code != 400:
            return answer
        redirect = "The 'redirect_uri' parameter must be a Login redirect URI in the client app settings"
        client = "Your request resulted in an error. invalid_client: Invalid value for 'client_id' parameter."
        return _page(client if "invalid_client" in answer.text else redirect, 400)

    def _token(self, request: httpx.Request) -> httpx.Response:
        answer = super()._token(request)
        if answer.status_code != 401:
            return answer
        wrong_secret = "The client secret supplied for a confidential client is invalid."
        unknown = "Invalid value for 'client_id' parameter."
        return _error("invalid_client", wrong_secret if _client_of(request) == self.client_id else unknown, 401)


class Entra(Strict):
    """Two tenants, one of which has the application; https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes."""

    expired = False

    async def handle(self, request: httpx.Request) -> httpx.Response:
        tenant = request.url.path.split("/")[1]
        if tenant == OTHER != self.issuer.split("/")[3]:
            other = Entra(self.issuer.replace(TENANT, OTHER), self.clock, client_id="nobody", algorithm=self.algorithm)
            return await other.handle(request)
        if tenant not in (TENANT, OTHER):
            return _error("invalid_tenant", f"AADSTS90002: Tenant '{tenant}' not found.", 400)
        return await super().handle(request)

    def _authorize(self, request: httpx.Request) -> httpx.Response:
        answer = super()._authorize(request)
        if answer.status_code != 400:
            return answer
        if "invalid_client" in answer.text:
            return _page("AADSTS700016: Application with identifier 'x' was not found in the directory.")
        return _page("AADSTS50011: The redirect URI specified in the request does not match those configured.")

    def _token(self, request: httpx.Request) -> httpx.Response:
        if _client_of(request) != self.client_id:
            return _error("unauthorized_client", "AADSTS700016: Application with identifier 'x' was not found.", 400)
        if self.expired:
            return _error("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", 401)
        answer = super()._token(request)
        if answer.status_code != 401:
            return answer
        return _error("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)


class Google(Strict):
    """https://developers.google.com/identity/protocols/oauth2/web-server#authorization-errors."""

    def _authorize(self, request: httpx.Request) -> httpx.Response:
        answer = super()._authorize(request)
        if answer.status_code != 400:
            return answer
        code = "invalid_client" if "invalid_client" in answer.text else "redirect_uri_mismatch"
        said = base64.urlsafe_b64encode(b"\n\x15" + code.encode() + b"\x12\xaeYou can't sign in").decode()
        return httpx.Response(
            302, headers={"Location": f"https://accounts.google.com/signin/oauth/error?authError={said}"}
        )

    def _token(self, request: httpx.Request) -> httpx.Response:
        answer = super()._token(request)
        if answer.status_code != 401:
            return answer
        known = _client_of(request) == self.client_id
        said = "The provided client secret is invalid." if known else "The OAuth client was not found."
        return _error("invalid_client", said, 401)


VENDORS: dict[str, type[FakeProvider]] = {"oidc": Strict, "okta": Okta, "entra": Entra, "google": Google}

_ADA: dict[str, Document] = {
    "oidc": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"},
    "okta": {"email": "ada@acme.example", "name": "Ada Lovelace"},
    "entra": {"preferred_username": "ada@acme.example", "name": "Ada Lovelace"},
    "google": {"email": "ada@acme.example", "email_verified": True, "hd": "acme.example", "name": "Ada Lovelace"},
}


def make(kind: str, base: str, clock: Callable[[], float]) -> FakeProvider:
    """Return a provider of this kind at an address, with one person who may enter."""
    issuer = f"{base}/{TENANT}/v2.0" if kind == "entra" else base
    provider = VENDORS[kind](issuer, clock, client_secret=SECRET, algorithm="ES256")
    provider.person = Person("person-1", dict(_ADA[kind]))
    provider.claims_in_id_token = kind in ("entra", "google")
    return provider


def section_of(kind: str, provider: FakeProvider, **keys: Any) -> dict[str, Any]:
    """Return the settings that fit the provider, but for its secret."""
    tenant = {"tenant": TENANT} if kind == "entra" else {}
    method = "client_secret_basic" if kind in ("oidc", "okta") else "client_secret_post"
    return {
        "preset": kind, **tenant, "issuer": provider.issuer, "client_id": provider.client_id,
        "client_authentication": method, "email_domains": ["acme.example"], "signing_algorithms": ["ES256"], **keys,
    }  # fmt: skip


def _client_of(request: httpx.Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization.startswith("Basic "):
        return base64.b64decode(authorization[6:]).decode().partition(":")[0]
    return parse_qs(request.content.decode()).get("client_id", [""])[0]


def _page(text: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, html=f"<!doctype html><title>Sign in</title><p>{text}</p>")


def _error(error: str, description: str, status: int) -> httpx.Response:
    return httpx.Response(status, json={"error": error, "error_description": description})
