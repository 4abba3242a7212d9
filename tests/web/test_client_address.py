"""Whose address is in the log: the peer's, or what a trusted proxy says of it; nobody else is believed."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from broker.web.client_address import find_client_address
from tests.fakes.world import BROKER, World

PEER = "127.0.0.1"  # of every request of these tests
AGENT = "203.0.113.9"
INNER = "10.1.2.3"
FORGED = "198.51.100.7"


@pytest.mark.requirement("S-52")
@pytest.mark.parametrize(
    ("trusted_proxies", "headers", "expected"),
    [
        pytest.param([], [("X-Forwarded-For", AGENT)], PEER, id="no proxy is trusted"),
        pytest.param(["10.0.0.0/8"], [("X-Forwarded-For", AGENT)], PEER, id="another proxy is trusted"),
        pytest.param([PEER], [], PEER, id="the proxy says nothing"),
        pytest.param([PEER], [("X-Forwarded-For", AGENT)], AGENT, id="the proxy names the browser"),
        pytest.param(
            [PEER], [("X-Forwarded-For", f"{FORGED}, {AGENT}")], AGENT, id="the browser said something before"
        ),
        pytest.param([PEER], [("X-Forwarded-For", FORGED), ("X-Forwarded-For", AGENT)], AGENT, id="in two headers"),
        pytest.param([PEER], [("X-Forwarded-For", f"{AGENT}, {INNER}")], INNER, id="a proxy behind it is not trusted"),
        pytest.param(
            [PEER, "10.0.0.0/8"], [("X-Forwarded-For", f"{AGENT}, {INNER}")], AGENT, id="a proxy behind it is trusted"
        ),
        pytest.param([PEER, "10.0.0.0/8"], [("X-Forwarded-For", INNER)], INNER, id="there are only proxies"),
        pytest.param([PEER], [("X-Forwarded-For", "2001:db8::9")], "2001:db8::9", id="an IPv6 address"),
        pytest.param([PEER], [("X-Forwarded-For", "<script>")], PEER, id="no address at all"),
        pytest.param([PEER], [("X-Forwarded-For", f"{AGENT}:4711")], AGENT, id="an address with a port"),
        pytest.param([PEER], [("X-Forwarded-For", "")], PEER, id="an empty header"),
        # CVE-2025-64484: oauth2-proxy let headers pass whose names only look like those it judges.
        pytest.param([PEER], [("X_Forwarded_For", FORGED)], PEER, id="underscores instead of hyphens"),
        pytest.param([PEER], [("Forwarded", f"for={FORGED}"), ("X-Real-IP", FORGED)], PEER, id="other headers"),
    ],
)
async def test_the_address_in_the_log_is_the_peers_or_a_trusted_proxys_word(
    world: World,
    caplog: pytest.LogCaptureFixture,
    trusted_proxies: list[str],
    headers: list[tuple[str, str]],
    expected: str,
) -> None:
    caplog.set_level(logging.INFO, logger="broker")
    async with world.broker(trusted_proxies=trusted_proxies) as service:
        await world.browser(service).client.get(f"{BROKER}/callback/idp", headers=headers)
    clients = [vars(record)["facts"]["client"] for record in caplog.records if record.getMessage() == "sign-in"]
    assert clients == [expected]


INSIDE = [ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        pytest.param(INNER, f"{AGENT}:51234", AGENT, id="a port"),
        pytest.param(INNER, "[2001:db8::9]:443", "2001:db8::9", id="IPv6 and a port"),
        pytest.param(INNER, "[2001:db8::9]", "2001:db8::9", id="IPv6 in brackets"),
        pytest.param(INNER, '"[2001:db8::9]:443"', "2001:db8::9", id="IPv6 in quotes"),
        pytest.param(INNER, f'"{AGENT}"', AGENT, id="quotes"),
        pytest.param(INNER, f"for={AGENT}", AGENT, id="as in Forwarded"),
        pytest.param(INNER, f'For="{AGENT}:80"', AGENT, id="as in Forwarded, quoted, with a port"),
        pytest.param(INNER, f"::ffff:{AGENT}", AGENT, id="IPv4 written as IPv6"),
        pytest.param(INNER, f"[::ffff:{AGENT}]:80", AGENT, id="IPv4 written as IPv6, with a port"),
        pytest.param(INNER, "fe80::1%eth0", "fe80::1", id="a zone"),
        pytest.param(f"::ffff:{INNER}", AGENT, AGENT, id="an IPv4 proxy at an IPv6 socket"),
        pytest.param("::ffff:127.0.0.1", "", "127.0.0.1", id="an IPv4 peer at an IPv6 socket"),
        pytest.param("fd00::1", AGENT, AGENT, id="an IPv6 proxy"),
        pytest.param(INNER, f"{AGENT}, unknown, 10.9.9.9", AGENT, id="unknown in between"),
        pytest.param(INNER, f"{AGENT}, _hidden, ,10.9.9.9", AGENT, id="hidden and nothing in between"),
        pytest.param(INNER, f"{FORGED}, unknown, {AGENT}", AGENT, id="unknown, sent by the browser"),
        pytest.param(INNER, f"{FORGED}, <script>, 10.9.9.9", "10.9.9.9", id="no address in between"),
        pytest.param(INNER, "unknown", INNER, id="nothing that can be read"),
        pytest.param(INNER, f"{AGENT}:port", INNER, id="a port that is no number"),
        pytest.param(INNER, f"{AGENT}:1:2", INNER, id="two ports"),
        pytest.param(INNER, ",".join(["10.1.1.1"] * 5_000), "10.1.1.1", id="5,000 hops"),
        pytest.param(INNER, None, INNER, id="a trusted proxy that says nothing"),
        pytest.param("192.168.7.7", AGENT, "192.168.7.7", id="perhaps a proxy: near, and not trusted"),
        pytest.param("100.64.0.9", AGENT, "100.64.0.9", id="perhaps a proxy: a pod's shared address"),
        pytest.param("192.168.7.7", None, "192.168.7.7", id="near, and forwards for nobody"),
        pytest.param(AGENT, FORGED, AGENT, id="a stranger who says something"),
        pytest.param("", AGENT, "", id="no peer"),
    ],
)
def test_every_spelling_of_a_hop_is_read(peer: str, forwarded: str | None, address: str) -> None:
    assert find_client_address(peer, [] if forwarded is None else [forwarded], INSIDE) == address
