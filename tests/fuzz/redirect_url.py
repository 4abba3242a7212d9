"""Where a redirect_url could take the token, as a browser reads it.

This file owns what must hold of the verdict on any text; it makes up no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

from ada_url import URL

from broker.comm100 import Site, build_delivery_url, check_redirect_url
from broker.errors import RedirectUrlRefused

HOST = "acme.comm100.com"
ENDPOINT = f"https://{HOST}/AdminWebService/SSO/SSOJWTConsumer.aspx"
ON_LOOPBACK = "http://127.0.0.1:8403/AdminWebService/SSO/SSOJWTConsumer.aspx"
TOKEN = "header.claims.signature"


def judge(url: str, at: Site) -> bool:
    """Say whether the broker takes the address, having checked that a browser would not be led astray."""
    try:
        accepted = check_redirect_url(url, at)
    except RedirectUrlRefused:
        return False
    assert accepted == url, "never repaired"
    seen, endpoint = URL(url), URL(at.endpoint)
    assert (seen.username, seen.password) == ("", "")
    if seen.origin != endpoint.origin:
        assert (seen.protocol, seen.port) == ("https:", "")
        assert seen.hostname in at.redirect_hosts | {endpoint.hostname}
    assert URL(_fully_decoded(seen.pathname), base="https://receiver.example/").hostname == "receiver.example"
    assert not set(url) & set('"<>`\\ '), "a browser would encode or replace them"
    delivered = URL(build_delivery_url(TOKEN, accepted, at))
    assert delivered.origin + delivered.pathname == at.endpoint, "the token goes to the endpoint alone"
    found = parse_qsl(delivered.search.removeprefix("?"), keep_blank_values=True)
    assert [value for name, value in found if name.lower() == "jwt"] == [TOKEN]
    if at.delivery == "endpoint":
        assert found == [("jwt", TOKEN), ("redirect_url", url)]
        assert quote(url, safe="") in delivered.search
    else:
        assert delivered.hash == seen.hash
    return True


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: the bytes are an address in UTF-8."""
    sites = [
        site("endpoint"),
        site("append"),
        site("endpoint", endpoint=ON_LOOPBACK, on_loopback=True),
        site("append", endpoint=ON_LOOPBACK, on_loopback=True),
    ]

    def one_input(data: bytes) -> None:
        url = data.decode("utf-8", "surrogateescape")
        for one in sites:
            judge(url, one)

    yield one_input


def _fully_decoded(text: str) -> str:
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def site(
    delivery: Literal["endpoint", "append"] = "endpoint", *, endpoint: str = ENDPOINT, on_loopback: bool = False
) -> Site:
    """Return a site whose Comm100 has one further host."""
    return Site(
        id="main",
        endpoint=endpoint,
        shared_secret=lambda: "s" * 40,
        delivery=delivery,
        redirect_hosts=frozenset({"dash11.comm100.io"}),
        token_lifetime=60,
        claims={},
        provider_ids=("idp",),
        start_url=None,
        on_loopback=on_loopback,
    )
