"""An identity provider in memory: it signs real tokens with real keys, checks what it is sent, and can lie.

It stands for the other side only. It knows nothing of the broker's code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qs, unquote_plus, urlsplit

import httpx
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeyParameters, OKPKey, RSAKey

from tests.fakes.lies import Document, Lies, as_it_is

SigningKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True)
class Person:
    """Someone who can sign in, and what the provider says of them."""

    sub: str = "00u-ada"
    claims: Document = field(
        default_factory=lambda: {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}
    )


@dataclass
class Grant:
    """A code given out, and all that hangs on it."""

    person: Person
    request: dict[str, str]
    used: bool = False


def new_key(algorithm: str, kid: str | None) -> SigningKey:
    """Make a signing key for an algorithm."""
    parameters: KeyParameters = {"use": "sig"} if kid is None else {"use": "sig", "kid": kid}
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
    if algorithm in curves:
        return ECKey.generate_key(curves[algorithm], parameters, auto_kid=False)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters, auto_kid=False)
    return RSAKey.generate_key(2048, parameters, auto_kid=False)


@cache
def _first_key(issuer: str, algorithm: str) -> SigningKey:  # noqa: ARG001 - each issuer has a key of its own
    """Make the key an issuer begins with: once in a session, for a good RSA key takes a tenth of a second."""
    return new_key(algorithm, "key-1")


class FakeProvider:
    """One issuer.

    Args:
        issuer: its identifier.
        clock: seconds since the epoch.
        client_secret: None for a public client.
        algorithm: it signs ID tokens with.
    """

    def __init__(
        self,
        issuer: str,
        clock: Callable[[], float],
        *,
        client_id: str = "client-1",
        client_secret: str | None = "s3cret:with %odd+chars",
        algorithm: str = "RS256",
    ) -> None:
        self.issuer = issuer
        self.clock = clock
        self.client_id = client_id
        self.client_secret = client_secret
        self.algorithm = algorithm
        self.keys: list[SigningKey] = [_first_key(issuer, algorithm)]
        self.person = Person()
        self.lies = Lies()
        self.refuses: dict[str, str] | None = None
        self.redirect_uris: list[str] | None = None  # None: any
        self.is_down: Callable[[httpx.Request], httpx.Response] | None = None
        self.claims_in_id_token = False
        self.new_code: Callable[[], str] = lambda: secrets.token_urlsafe(24)
        self.new_access_token: Callable[[], str] = lambda: secrets.token_urlsafe(24)
        self.requests: list[str] = []
        self.grants: dict[str, Grant] = {}
        self.access_tokens: dict[str, Person] = {}
        self.issued: list[str] = []  # everything that must never be seen in a log

    @property
    def host(self) -> str:
        return urlsplit(self.issuer).netloc

    def count(self, path: str) -> int:
        """Say how often an address was asked."""
        return self.requests.count(path)

    def rotate(self) -> None:
        """Sign with a new key, and publish it alone."""
        self.keys = [new_key(self.algorithm, f"key-{secrets.token_hex(4)}")]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, of the broker or of the browser."""
        path = request.url.path.removeprefix(urlsplit(self.issuer).path)
        self.requests.append(path)
        if self.is_down is not None:
            return self.is_down(request)
        pages = {
            "/.well-known/openid-configuration": self._discovery,
            "/keys": self._jwks,
            "/authorize": self._authorize,
            "/token": self._token,
            "/userinfo": self._userinfo,
        }
        page = pages.get(path)
        answer = page(request) if page else httpx.Response(404)
        return self.lies.answers.get(path, as_it_is)(answer)

    def _discovery(self, _: httpx.Request) -> httpx.Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
        }
        return httpx.Response(200, json=self.lies.discovery(document))

    def _jwks(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=self.lies.jwks({"keys": [key.as_dict(private=False) for key in self.keys]}))

    def _authorize(self, request: httpx.Request) -> httpx.Response:
        """Sign the one person in at once, or refuse."""
        asked = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        assert request.method == "GET"
        assert asked["response_type"] == "code", "only the code flow is known here"
        if asked["client_id"] != self.client_id:
            return httpx.Response(400, text="<h1>400</h1>invalid_client: client is invalid")
        if self.redirect_uris is not None and asked["redirect_uri"] not in self.redirect_uris:
            return httpx.Response(400, text="<h1>400</h1>redirect_uri did not match any of those registered")
        assert asked["code_challenge_method"] == "S256", "PKCE is demanded here"
        answer: Document = {"state": asked["state"]}
        if self.refuses is not None:
            answer |= self.refuses
        elif asked.get("prompt") == "none":
            answer["error"] = "login_required"
        else:
            code = self.new_code()
            self.grants[code] = Grant(self.person, asked)
            self.issued += [code, asked["state"], asked["nonce"]]
            answer["code"] = code
        url = httpx.URL(asked["redirect_uri"], params=self.lies.callback(answer))
        return httpx.Response(302, headers={"Location": str(url)})

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.issued.append(form.get("code_verifier", ""))
        if not self._knows_client(request, form):
            return httpx.Response(401, json={"error": "invalid_client", "error_description": "client unknown"})
        grant = self.grants.get(form.get("code", ""))
        if grant is None or grant.used or not self._fits(grant, form):
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": "code unknown"})
        grant.used = True
        access_token = self.new_access_token()
        self.access_tokens[access_token] = grant.person
        id_token = self._id_token(grant)
        self.issued += [access_token, id_token]
        body = {"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "id_token": id_token}
        return httpx.Response(200, json=self.lies.token_response(body))

    def _knows_client(self, request: httpx.Request, form: dict[str, str]) -> bool:
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Basic "):
            client_id, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
            return (unquote_plus(client_id), unquote_plus(secret)) == (self.client_id, self.client_secret)
        return (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.client_secret)

    @staticmethod
    def _fits(grant: Grant, form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return (
            form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == grant.request["redirect_uri"]
            and challenge == grant.request["code_challenge"]
        )

    def _id_token(self, grant: Grant) -> str:
        now = int(self.clock())
        claims: Document = {
            "iss": self.issuer,
            "sub": grant.person.sub,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.request["nonce"],
        }
        if self.claims_in_id_token:
            claims |= grant.person.claims
        header: Document = {"alg": self.algorithm, "typ": "JWT"}
        if (kid := self.keys[0].kid) is not None:
            header["kid"] = kid
        header, claims = self.lies.header(header), self.lies.claims(claims)
        return self.lies.id_token(self.lies.sign(header, claims) if self.lies.sign else self.sign(header, claims))

    def sign(self, header: Document, claims: Document, key: SigningKey | None = None) -> str:
        """Sign with one of the provider's keys, by whatever header."""
        registry = jws.JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is an old name; providers still use it
            return jws.serialize_compact(header, json.dumps(claims), key or self.keys[0], registry=registry)

    def _userinfo(self, request: httpx.Request) -> httpx.Response:
        assert not request.url.query, "the access token belongs in the header"
        person = self.access_tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if person is None:
            return httpx.Response(401)
        return httpx.Response(200, json=self.lies.userinfo({"sub": person.sub, **person.claims}))
