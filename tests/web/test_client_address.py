"""Whose address is in the log: the peer's, or what a trusted proxy says of it; nobody else is believed."""

from __future__ import annotations

import logging

import pytest

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
        pytest.param([PEER], [("X-Forwarded-For", "<script>")], "", id="no address at all"),
        pytest.param([PEER], [("X-Forwarded-For", f"{AGENT}:4711")], "", id="an address with a port"),
        pytest.param([PEER], [("X-Forwarded-For", "")], "", id="an empty header"),
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
