"""Signs in once at a running peer, as a browser does, and checks where the sign-in ends."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from tests.benchmarks.contestants import Peer, Running, Setting

REDIRECT_URL = "https://dash11.comm100.example/page?id=1"
MAX_REDIRECTS = 5
CALL_SECONDS = 30.0


def verify(peer: Peer, setting: Setting, running: Running) -> None:
    """Sign in once.

    Raises:
        AssertionError: the sign-in does not end at the endpoint with an e-mail address and the redirect_url.
    """
    address = _sign_in(setting, running)
    assert address.startswith(f"{setting.endpoint}?"), f"{peer.name} leads to {address}"
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert query["redirect_url"] == REDIRECT_URL, f"{peer.name} gives redirect_url {query['redirect_url']}"
    if "jwt" not in query:
        assert "@" in query["email"], f"{peer.name} gives the e-mail address {query['email']}"
        return
    claims = jwt.decode(
        query["jwt"], setting.shared_secret, algorithms=["HS256"], options={"require": ["exp"], "verify_aud": False}
    )
    assert "@" in claims["email"], f"{peer.name} gives the e-mail address {claims['email']}"
    assert claims["name"], f"{peer.name} gives no name"


def _sign_in(setting: Setting, running: Running) -> str:
    """Follow the redirects from /login to the endpoint, and return the last address."""
    trusted: ssl.SSLContext | bool = True
    if setting.ca_file is not None:
        trusted = ssl.create_default_context(cafile=str(setting.ca_file))
    with httpx.Client(verify=trusted, trust_env=False, timeout=CALL_SECONDS) as browser:
        address = str(httpx.URL(running.login_url, params={"redirect_url": REDIRECT_URL}))
        for _ in range(MAX_REDIRECTS):
            response = browser.get(address)
            assert response.is_redirect, f"{address} answers {response.status_code}: {response.text[:500]}"
            address = str(response.url.join(response.headers["location"]))
            if address.startswith(setting.endpoint):
                return address
    raise AssertionError(f"the sign-in does not end; it came to {address}")
