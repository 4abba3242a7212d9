"""Where a redirect_url could take the token, as a browser reads it.

This file owns what must hold of the verdict on any text; it makes up no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import parse_qsl

from ada_url import URL

from broker.comm100 import Site, build_delivery_url, check_redirect_url
from broker.errors import RedirectUrlRefused

HOST = "acme.comm100.com"
ENDPOINT = f"https://{HOST}/AdminWebService/SSO/SSOJWTConsumer.aspx"
ON_LOOPBACK = "http://127.0.0.1:8403/AdminWebService/SSO/SSOJWTConsumer.aspx"
TOKEN = "header.claims.signature"


def judge(url: str, site: Site) -> bool:
    """Say whether the broker takes the address, having checked that a browser would not be led astray."""
    try:
        accepted = check_redirect_url(url, site)
    except RedirectUrlRefused:
        return False
    assert accepted == url, "never repaired"
    seen, endpoint = URL(url), URL(site.endpoint)
    assert (seen.username, seen.password) == ("", "")
    if seen.origin != endpoint.origin:
        assert (seen.protocol, seen.port) == ("https:", "")
        assert seen.hostname in site.redirect_hosts | {endpoint.hostname}
    delivered = URL(build_delivery_url(TOKEN, accepted, site))
    assert delivered.origin + delivered.pathname == site.endpoint, "the token goes to the endpoint alone"
    found = parse_qsl(delivered.search.removeprefix("?"), keep_blank_values=True)
    assert [value for name, value in found if name.lower() == "jwt"] == [TOKEN]
    if site.delivery == "endpoint":
        assert found == [("jwt", TOKEN), ("redirect_url", url)]
    else:
        assert delivered.hash == seen.hash
    return True


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: the bytes are an address in UTF-8."""
    sites = [
        _site("endpoint", ENDPOINT),
        _site("append", ENDPOINT),
        _site("endpoint", ON_LOOPBACK),
        _site("append", ON_LOOPBACK),
    ]

    def one_input(data: bytes) -> None:
        url = data.decode("utf-8", "surrogateescape")
        for site in sites:
            judge(url, site)

    yield one_input


def _site(delivery: Literal["endpoint", "append"], endpoint: str) -> Site:
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
        on_loopback=endpoint == ON_LOOPBACK,
    )
