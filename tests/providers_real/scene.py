"""One vendor's provider, the broker and Comm100's address; and how a sign-in there is judged.

Knows what both sides of the broker see. Knows no vendor: which one it is, the tests say.
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from broker.errors import BrokerError
from broker.log_writer import PAUSE_SECONDS
from tests.fakes.ports import free_port
from tests.providers_real import person, programs
from tests.providers_real.vendors import Vendor

CLIENT_ID = "comm100-broker"
CLIENT_SECRET = "a:b%2Bc d+e/f&g=h"
SHARED_SECRET = "ZmFrZS1zaGFyZWQtc2VjcmV0LW9mLWNvbW0xMDAtc2l0ZQ=="
SECRET_KEY = "k" * 20 + "0123456789abcdef0123456789abcdef"
START_URL = "https://secure.comm100.io/signin"

_TRACE_ID = re.compile(r"Trace id</dt><dd><code>([0-9a-f]+)</code>")


@dataclass(frozen=True, slots=True)
class Scene:
    """The addresses of one provider, the broker and Comm100, and where the broker's files are.

    Args:
        origin: of the provider.
        public_url: of the broker.
        operations_url: of the broker.
        comm100: its origin.
        folder: with the broker's secrets and log.
    """

    origin: str
    public_url: str
    operations_url: str
    comm100: str
    folder: Path

    @property
    def endpoint(self) -> str:
        return f"{self.comm100}/AdminWebService/SSO/SSOJWTConsumer.aspx"

    @property
    def wanted_page(self) -> str:
        return f"{self.comm100}/agent?site=10001&next=%2Fchats%3Fa%26b"

    def begin(self, browser: httpx.Client, path: str = "/login", **parameters: str) -> str:
        """Open an address of the broker that starts a sign-in; where it sends the browser."""
        return person.redirected_to(browser.get(f"{self.public_url}{path}", params=parameters))

    def come_back(self, browser: httpx.Client, login: str) -> httpx.Response:
        """Come from Comm100, sign in at the provider, and take its answer to the broker."""
        location = self.begin(browser, redirect_url=self.wanted_page)
        return browser.get(person.sign_in_at_the_provider(browser, location, login=login))

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what the broker logged so far."""
        time.sleep(3 * PAUSE_SECONDS)  # lines wait for so long at most before they are written
        return [json.loads(line) for line in (self.folder / "broker.log").read_text().splitlines()]


@contextmanager
def started(
    folder: Path,
    make_vendor: Callable[[str], Vendor],
    *,
    accounts: Mapping[str, Mapping[str, Any]],
    client: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Scene]:
    """Run a provider as a vendor's, and the broker registered there as `idp`.

    Args:
        folder: for secrets and logs.
        make_vendor: gets where the provider will be, as an origin with the scheme http.
        accounts: claims by login.
        client: more of the registration at the provider.
        settings: more of the broker's settings, at the top.
    """
    provider_port, public_port, operations_port, comm100_port = (free_port() for _ in range(4))
    vendor = make_vendor(f"http://127.0.0.1:{provider_port}")
    public_url = f"http://127.0.0.1:{public_port}"
    registration = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [f"{public_url}/callback/idp"],
        "post_logout_redirect_uris": [f"{public_url}/logout"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": vendor.authentication,
        "id_token_signed_response_alg": "RS256",
        **(client or {}),
    }
    if not vendor.provider.get("signs_out", True):
        del registration["post_logout_redirect_uris"]
    if registration["token_endpoint_auth_method"] == "private_key_jwt":
        del registration["client_secret"]
    configuration = {**vendor.provider, "port": provider_port, "client": registration, "accounts": accounts}
    with programs.oidc_provider(folder / "provider.log", configuration) as issuer:
        parts = urlsplit(issuer)
        scene = Scene(
            f"{parts.scheme}://{parts.netloc}",
            public_url,
            f"http://127.0.0.1:{operations_port}",
            f"http://127.0.0.1:{comm100_port}",
            folder,
        )
        with programs.broker(
            folder / "broker.log", {**_settings(scene, vendor), **(settings or {})}, scene.operations_url
        ):
            yield scene


def _settings(scene: Scene, vendor: Vendor) -> dict[str, Any]:
    folder = scene.folder
    provider = {"client_id": CLIENT_ID, **vendor.settings}
    if "client_authentication" not in provider:
        provider["client_secret_file"] = programs.secret_file(folder / "client-secret", CLIENT_SECRET)
    shared_secret = programs.secret_file(folder / "shared-secret", SHARED_SECRET)
    return {
        "public_url": scene.public_url,
        "secret_keys_file": programs.secret_file(folder / "secret-keys", SECRET_KEY),
        "listen": urlsplit(scene.public_url).netloc,
        "operations_listen": urlsplit(scene.operations_url).netloc,
        "sites": {"main": {"endpoint": scene.endpoint, "shared_secret_file": shared_secret, "start_url": START_URL}},
        "identity_providers": {"idp": provider},
    }


def claims_for_comm100(answer: httpx.Response, scene: Scene, secret: str = SHARED_SECRET) -> dict[str, Any]:
    """Return what the redirect to Comm100 says, judged by nothing but PyJWT and what Comm100 documents."""
    location = urlsplit(person.redirected_to(answer))
    assert answer.status_code == httpx.codes.SEE_OTHER
    assert location._replace(query="").geturl() == scene.endpoint
    query = parse_qs(location.query, strict_parsing=True)
    assert list(query) == ["jwt", "redirect_url"]
    assert query["redirect_url"] == [scene.wanted_page]
    [token] = query["jwt"]
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims: dict[str, Any] = jwt.decode(
        token, secret.encode(), algorithms=["HS256"], audience="Comm100", issuer="jwt server", subject="comm100"
    )
    assert set(claims) == {"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "email", "name"}
    assert (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"]) == (60, 60)
    return claims


def assert_admitted(answer: httpx.Response, scene: Scene, *, email: str, name: str, email_from: str) -> None:
    """Comm100 gets this person, and the log says which claim the address came from."""
    claims = claims_for_comm100(answer, scene)
    assert (claims["email"], claims["name"]) == (email, name)
    outcome = [line for line in scene.log_lines() if line["event"] == "sign-in"][-1]
    assert (outcome["result"], outcome["email_from"]) == ("signed_in", email_from)
    assert email not in json.dumps(outcome)


def assert_refused(
    answer: httpx.Response, scene: Scene, error: type[BrokerError], *, got: str, remedy: str | None = None
) -> None:
    """Page, log line of the same trace, and counter tell a person, an admin and a program the same.

    Args:
        answer: the broker's.
        scene: where it happened.
        error: that is expected.
        got: what the log says came; how it begins.
        remedy: how the log's advice begins, where it is the preset's own.
    """
    assert (answer.status_code, "location" in answer.headers) == (error.status, False), answer.text
    page = html.unescape(answer.text)
    assert error.user_message in page
    assert f"<code>{error.code}</code>" in page
    assert "jwt=" not in page
    trace_id = _TRACE_ID.search(page)
    assert trace_id
    [line] = [line for line in scene.log_lines() if line["event"] == "sign-in" and line.get("trace_id") == trace_id[1]]
    assert (line["result"], line["code"], line["provider"]) == (
        "failed" if error.status >= 500 else "refused", error.code, "idp"
    )  # fmt: skip
    said = str(line.get("got", ""))
    assert said.startswith(got), line
    assert len(said) < 12 or said not in page  # shorter ones are words of ours, which a page may use as well
    assert line["remedy"].startswith(remedy or error.remedy[:200]), line
    metrics = httpx.get(f"{scene.operations_url}/metrics", trust_env=False).text
    assert re.search(rf'^comm100_sso_signins_total{{[^}}]*reason="{error.code}"[^}}]*}} [1-9]', metrics, re.MULTILINE)
