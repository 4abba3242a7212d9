"""How long the client waits, how much it takes, and how many requests it sends at once: on real sockets (S-42).

Bounds are small where a test waits for one to pass, and far away where it must not pass. No test asks how long
anything took on this machine; one that hangs is broken off.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.errors import AnswerTooLarge, ProviderTimedOut
from broker.oidc.client import CALL_SECONDS, NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import RESPONSE_LIMIT, ProviderRequest, ProviderResponse
from tests.oidc.servers import Server, Talk, drips, ok, says, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LOOPBACK = NetworkPolicy(private_networks=True)
SHORT = 0.3  # seconds
FAR = 600.0  # seconds nobody waits
HANGING = 30.0  # seconds after which a test that hangs is broken off
CROWD = 110


def get(server: Server) -> ProviderRequest:
    return ProviderRequest("GET", f"http://127.0.0.1:{server.port}/keys", RESPONSE_LIMIT)


async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


@asynccontextmanager
async def under_way(client: ProviderClient, server: Server, count: int) -> AsyncIterator[None]:
    """Have so many requests wait for an answer that does not come, until the block ends."""
    waiting: list[asyncio.Task[ProviderResponse]] = []
    try:
        async with asyncio.timeout(HANGING):
            for number in range(count):
                waiting.append(asyncio.create_task(client.send(get(server))))
                while len(server.requests) <= number and not waiting[number].done():
                    await asyncio.wait({waiting[number]}, timeout=0.001)
        yield
        assert not any(one.done() for one in waiting)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    ("talk", "got"),
    [
        pytest.param(silent, "no answer within 0.3 s", id="silent"),
        pytest.param(drips(HEAD + b"X: ", b"y"), "no answer within 0.3 s", id="a header without end"),
        pytest.param(drips(HEAD, b"X: y\r\n"), "no answer within 0.3 s", id="headers without end"),
        pytest.param(drips(b"", b"HTTP/1.1 100 C\r\n\r\n"), "no answer within 0.3 s", id="continuing without end"),
        pytest.param(drips(HEAD + b"\r\n", b" "), "not complete within 0.3 s, ", id="a body without end"),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            "not complete within 0.3 s, ",
            id="chunks without end",
        ),
    ],
)
async def test_every_way_of_being_slow_ends_with_the_time_for_one_call(talk: Talk, got: str) -> None:
    async with (
        serving(talk) as server,
        open_client(LOOPBACK) as http,
        asyncio.timeout(HANGING),
    ):
        client = ProviderClient(http, LOOPBACK, call_seconds=SHORT)
        with pytest.raises(ProviderTimedOut) as failure:
            await client.send(get(server))
    assert failure.value.expected == f"an answer of 127.0.0.1:{server.port}/keys"
    assert got in str(failure.value.got)


@pytest.mark.requirement("S-42")
async def test_a_call_has_5_seconds_unless_it_is_given_others() -> None:
    async def late(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * SHORT)
        writer.write(ok())

    async with serving(late) as server, open_client(LOOPBACK) as http:
        hasty = ProviderClient(http, LOOPBACK, call_seconds=SHORT)
        patient = ProviderClient(http, LOOPBACK, call_seconds=FAR)
        too_late, in_time = await asyncio.wait_for(
            asyncio.gather(hasty.send(get(server)), patient.send(get(server)), return_exceptions=True), HANGING
        )
    assert isinstance(too_late, ProviderTimedOut)
    assert isinstance(in_time, ProviderResponse)
    assert in_time.status == 200
    assert inspect.signature(ProviderClient).parameters["call_seconds"].default == CALL_SECONDS == 5


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD + b"Content-Length: 1000000000000\r\n\r\n", id="announced"),
        pytest.param(HEAD + b"\r\n", id="until the connection closes"),
    ],
)
async def test_an_endless_answer_is_cut_off_at_the_limit(head: bytes) -> None:
    sent = 0

    async def pours(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with serving(pours) as server, open_client(LOOPBACK) as http:
        with pytest.raises(AnswerTooLarge):
            await ProviderClient(http, LOOPBACK, call_seconds=FAR).send(get(server))
    assert sent < 64 * RESPONSE_LIMIT  # what the sockets' buffers took


async def test_a_provider_that_answers_nobody_keeps_nobody_from_another() -> None:
    """They share one pool of connections, which has no limit of its own."""
    async with (
        serving(silent) as hangs,
        serving(says(ok())) as answers,
        open_client(LOOPBACK) as http,
    ):
        slow, good = (ProviderClient(http, LOOPBACK, call_seconds=FAR) for _ in range(2))
        async with under_way(slow, hangs, CROWD), asyncio.timeout(HANGING):
            assert (await good.send(get(answers))).status == 200
