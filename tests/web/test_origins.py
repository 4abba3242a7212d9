"""By whom rejected codes are counted: a browser's network, or everybody behind a peer that is not believed."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from broker.rejected_codes import Origin
from broker.web.origins import Origins
from tests.fakes.world import World

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PUBLIC = "8.8.4.4"
FORWARDED = [(b"x-forwarded-for", b"203.0.113.9")]


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
    assert Origins(TRUSTED).of({"client": (peer, 4711), "headers": headers}, client)[-1] == origin


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("silent", ["unknown", "", "_hidden", "unknown, 10.0.0.2", "10.0.0.2, unknown"])
def test_what_stands_before_a_hop_that_says_nothing_makes_no_origin(silent: str) -> None:
    headers = [(b"x-forwarded-for", f"203.0.113.66, {silent}".encode())]
    scope = {"client": ("10.0.0.1", 4711), "headers": headers}
    assert Origins(TRUSTED).of(scope, "203.0.113.66") == (Origin("10.0.0.1", shared=True),)


@pytest.mark.requirement("S-62")
def test_around_a_64_the_48_has_a_bound_too() -> None:
    origins = Origins(()).of({"client": ("2a00:1450:4001:82a::200e", 1), "headers": []}, "2a00:1450:4001:82a::200e")
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
    wide, *narrow = Origins(TRUSTED).of({"client": ("192.168.0.1", 1), "headers": headers}, "192.168.0.1")
    assert wide == Origin("192.168.0.1", shared=True)
    assert narrow == ([Origin(claimed, shared=False, claimed_by="192.168.0.1")] if claimed else [])


def test_a_peer_without_an_address_is_shared_by_many() -> None:
    assert Origins(()).of({"client": None, "headers": []}, "") == (Origin("", shared=True),)


@pytest.mark.requirement("S-62")
def test_a_proxy_that_is_not_trusted_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(TRUSTED)
    for number in range(3):
        origins.of({"client": (f"192.168.0.{number}", 1), "headers": FORWARDED}, f"192.168.0.{number}")
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
