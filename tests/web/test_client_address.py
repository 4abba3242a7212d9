"""Whose address is in the log, and by which networks rejected codes are counted; only trusted proxies are believed."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from broker.rejected_codes import Origin
from broker.web.request import ClientAddresses, find_client_address
from tests.fakes.world import BROKER, World

PEER = "127.0.0.1"  # of every request of these tests
AGENT = "203.0.113.9"
INNER = "10.1.2.3"
FORGED = "198.51.100.7"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PUBLIC = "8.8.4.4"
FORWARDED = [(b"x-forwarded-for", b"203.0.113.9")]


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
        pytest.param(INNER, f"fe80::1%{'e' * 100}", INNER, id="a hop of more than 100 characters"),
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


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize(
    ("peer", "client", "headers", "origin"),
    [
        pytest.param("10.0.0.1", PUBLIC, FORWARDED, Origin(PUBLIC, shared=False), id="named by a trusted proxy"),
        pytest.param("10.0.0.1", "192.168.7.7", FORWARDED, Origin("192.168.7.7", shared=False), id="of an intranet"),
        pytest.param("10.0.0.1", "10.0.0.2", FORWARDED, Origin("10.0.0.1", shared=True), id="only proxies"),
        pytest.param("10.0.0.1", "10.0.0.1", [], Origin("10.0.0.1", shared=True), id="a proxy that says nothing"),
        pytest.param("10.0.0.1", "", FORWARDED, Origin("10.0.0.1", shared=True), id="a proxy that says no address"),
        pytest.param(PUBLIC, PUBLIC, [], Origin(PUBLIC, shared=False), id="a browser without a proxy"),
        pytest.param(
            PUBLIC,
            PUBLIC,
            FORWARDED,
            Origin("203.0.113.9", shared=False, claimed_by=PUBLIC),
            id="a public proxy, not trusted",
        ),
        pytest.param(
            PUBLIC, PUBLIC, [(b"forwarded", b"for=x")], Origin(PUBLIC, shared=True), id="the same by its other header"
        ),
        pytest.param("192.168.0.1", "192.168.0.1", [], Origin("192.168.0.1", shared=True), id="a private peer"),
        pytest.param("127.0.0.1", "127.0.0.1", [], Origin("127.0.0.1", shared=True), id="loopback"),
        pytest.param("100.64.0.1", "100.64.0.1", [], Origin("100.64.0.1", shared=True), id="a carrier's address"),
        pytest.param("::ffff:10.0.0.1", PUBLIC, FORWARDED, Origin(PUBLIC, shared=False), id="a proxy seen by IPv6"),
        pytest.param("::ffff:8.8.4.4", "8.8.4.4", [], Origin(PUBLIC, shared=False), id="IPv4 in IPv6, unmapped before"),
        pytest.param("::ffff:8.8.4.4", "::ffff:8.8.4.4", [], Origin(PUBLIC, shared=False), id="IPv4 in IPv6"),
        pytest.param(
            "fd00::1",
            "2a00:1450:4001:82a::200e",
            FORWARDED,
            Origin("2a00:1450:4001:82a::/64", shared=False),
            id="a /64",
        ),
        pytest.param("", "", [], Origin("", shared=True), id="nobody knows"),
    ],
)
def test_the_origin_is_a_browsers_network_or_a_peer_shared_by_many(
    peer: str, client: str, headers: list[tuple[bytes, bytes]], origin: Origin
) -> None:
    assert ClientAddresses(TRUSTED).origins_of({"client": (peer, 4711), "headers": headers}, client)[-1] == origin


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("silent", ["unknown", "", "_hidden", "unknown, 10.0.0.2", "10.0.0.2, unknown"])
def test_what_stands_before_a_hop_that_says_nothing_makes_no_origin(silent: str) -> None:
    headers = [(b"x-forwarded-for", f"203.0.113.66, {silent}".encode())]
    scope = {"client": ("10.0.0.1", 4711), "headers": headers}
    assert ClientAddresses(TRUSTED).origins_of(scope, "203.0.113.66") == (Origin("10.0.0.1", shared=True),)


@pytest.mark.requirement("S-62")
def test_around_a_64_the_48_has_a_bound_too() -> None:
    browser = "2a00:1450:4001:82a::200e"
    origins = ClientAddresses(()).origins_of({"client": (browser, 1), "headers": []}, browser)
    assert origins == (Origin("2a00:1450:4001::/48", shared=True), Origin("2a00:1450:4001:82a::/64", shared=False))


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize(
    ("said", "claimed"),
    [
        pytest.param([b"203.0.113.9"], "203.0.113.9", id="an address"),
        pytest.param([b"198.51.100.1, 203.0.113.9"], "203.0.113.9", id="the last of several"),
        pytest.param([b"198.51.100.1", b"203.0.113.9"], "203.0.113.9", id="the last header"),
        pytest.param([b"203.0.113.9:4711"], "203.0.113.9", id="with a port"),
        pytest.param([b"[2001:db8::1]:4711"], "2001:db8::/64", id="IPv6 with a port"),
        pytest.param([b"2001:db8::1"], "2001:db8::/64", id="IPv6"),
        pytest.param([b"::ffff:203.0.113.9"], "203.0.113.9", id="IPv4 in IPv6"),
        pytest.param([b"unknown"], None, id="no address"),
        pytest.param([b""], None, id="nothing"),
    ],
)
def test_an_address_that_a_peer_claims_narrows_what_the_peer_may_have(said: list[bytes], claimed: str | None) -> None:
    headers = [(b"x-forwarded-for", value) for value in said]
    scope = {"client": ("192.168.0.1", 1), "headers": headers}
    wide, *narrow = ClientAddresses(TRUSTED).origins_of(scope, "192.168.0.1")
    assert wide == Origin("192.168.0.1", shared=True)
    assert narrow == ([Origin(claimed, shared=False, claimed_by="192.168.0.1")] if claimed else [])


def test_a_peer_without_an_address_is_shared_by_many() -> None:
    assert ClientAddresses(()).origins_of({"client": None, "headers": []}, "") == (Origin("", shared=True),)


@pytest.mark.requirement("S-62")
def test_a_proxy_that_is_not_trusted_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    addresses = ClientAddresses(TRUSTED)
    for number in range(3):
        addresses.origins_of({"client": (f"192.168.0.{number}", 1), "headers": FORWARDED}, f"192.168.0.{number}")
    assert [record.getMessage() for record in caplog.records if record.name == "broker"] == ["a proxy is not trusted"]
    assert vars(caplog.records[-1])["facts"]["peer"] == "192.168.0.0"


@pytest.mark.parametrize(("trusted", "told"), [([], 1), (["10.0.0.0/8"], 0)], ids=["no proxy", "one"])
async def test_a_service_that_trusts_no_proxy_says_so_at_the_start(
    world: World, caplog: pytest.LogCaptureFixture, trusted: list[str], told: int
) -> None:
    caplog.set_level(logging.INFO, logger="broker")
    async with world.broker(trusted_proxies=trusted):
        pass
    assert [record.getMessage() for record in caplog.records].count("no proxy is trusted") == told
