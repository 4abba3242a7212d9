"""Many people at once, and many requests of nobody: what they cost the provider, and the memory of the broker."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.errors import IdTokenKeyUnknown
from tests.fakes import hostile_server as bad
from tests.fakes.lies import Document, Lies, status
from tests.fakes.log_record import LogRecord
from tests.fakes.world import assert_refused
from tests.hostile.running import (
    MEGABYTE,
    People,
    RunningBroker,
    Visitor,
    assert_signed_in,
    meeting_people,
    running_broker,
)
from tests.oidc.servers import new_authority

PAUSE = 1.2  # seconds after which keys that could not be had are asked for again
PROVIDER_SECONDS = 0.3
CROWD = 100  # twice as many have their handshakes too late on a busy machine


@asynccontextmanager
async def a_broker_with_people(
    folder: Path, record: LogRecord, tricks: Mapping[str, bad.Trick] | None = None, lies: Lies | None = None
) -> AsyncIterator[tuple[RunningBroker, People, bad.HostileProvider]]:
    """Run a broker with one provider, `idp`."""
    async with bad.hostile_provider(tricks) as provider:
        provider.honest.lies = lies or Lies()
        async with (
            running_broker(folder, {"idp": provider.honest}, record) as broker,
            meeting_people(broker, record) as people,
        ):
            yield broker, people, provider


def of_a_key_nobody_knows(header: Document) -> Document:
    return {**header, "kid": secrets.token_hex(8)}


@pytest.mark.requirement("S-43")
async def test_200_tokens_of_200_unknown_keys_make_the_broker_look_for_keys_a_few_times(
    tmp_path: Path, log_record: LogRecord
) -> None:
    """The first fetch, and refetches after 0, 1, 3, 7, 15 and 31 seconds, as long as this test takes."""
    began = time.monotonic()
    async with a_broker_with_people(tmp_path, log_record, lies=Lies(header=of_a_key_nobody_knows)) as parts:
        _, people, provider = parts
        for _ in range(4):
            for end in await asyncio.gather(*(people.sign_in("idp") for _ in range(50))):
                assert_refused(end, IdTokenKeyUnknown)
    assert provider.honest.count(bad.KEYS) <= 2 + math.log2(1 + time.monotonic() - began)


@pytest.mark.requirement("S-44")
async def test_50_people_who_come_back_before_there_are_keys_share_one_fetch(
    tmp_path: Path, log_record: LogRecord
) -> None:
    """Single flight."""
    lies = Lies(answers={bad.KEYS: status(503)})
    async with a_broker_with_people(tmp_path, log_record, lies=lies) as (_, people, provider):
        browsers = [people.browser("idp") for _ in range(50)]
        departures = await asyncio.gather(*(browser.to_callback() for browser in browsers))
        await asyncio.sleep(PAUSE)
        provider.tricks = {bad.KEYS: bad.late(PROVIDER_SECONDS)}
        provider.honest.lies = Lies()
        provider.honest.requests.clear()
        arrivals = await asyncio.gather(
            *(
                browser.open(redirect.headers["location"])
                for browser, redirect in zip(browsers, departures, strict=True)
            )
        )
        for signed_in in arrivals:
            assert_signed_in(signed_in)
    assert provider.honest.count(bad.KEYS) == 1


async def test_100_people_at_once_all_sign_in_at_a_provider_that_takes_its_time(
    tmp_path: Path, log_record: LogRecord
) -> None:
    slow = dict.fromkeys((bad.TOKEN, bad.USERINFO), bad.late(PROVIDER_SECONDS))
    async with a_broker_with_people(tmp_path, log_record, slow) as (_, people, _provider):
        for signed_in in await asyncio.gather(*(people.sign_in("idp") for _ in range(100))):
            assert_signed_in(signed_in)


@pytest.mark.requirement("S-57")
async def test_100_calls_to_a_provider_at_once_take_little_memory(tmp_path: Path, log_record: LogRecord) -> None:
    """Over TLS, as real providers are: of asyncio's own size, the buffers of the connections would need 25 MB alone.

    How many of them end well is for the test above: here the provider has TLS to do in the tests' own process.
    """
    authority = new_authority()
    slow = {bad.TOKEN: bad.late(PROVIDER_SECONDS * 5)}
    async with bad.hostile_provider(slow, tls=authority.context(tmp_path, "127.0.0.1")) as provider:
        ca_file = str(authority.write(tmp_path / "ca.pem"))
        async with (
            running_broker(tmp_path, {"idp": provider.honest}, log_record, trusted_ca_file=ca_file) as broker,
            meeting_people(broker, log_record) as people,
        ):
            assert_signed_in(await people.sign_in("idp"))
            browsers = [people.browser("idp") for _ in range(CROWD)]
            back = [(await browser.to_callback()).headers["location"] for browser in browsers]
            broker.forget_peak()
            before = broker.memory()
            await asyncio.gather(*map(Visitor.open, browsers, back))
            assert broker.peak_memory() - before < 20 * MEGABYTE
        assert provider.honest.count(bad.TOKEN) > CROWD // 2


@pytest.mark.requirement("S-57")
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/login", id="sign-ins that never come back"),
        pytest.param("/callback/idp?state=x&code=y", id="callbacks with a made-up state"),
    ],
)
async def test_5000_requests_in_a_row_ask_no_provider_and_leave_nothing_in_memory(
    tmp_path: Path, log_record: LogRecord, target: str
) -> None:
    async with a_broker_with_people(tmp_path, log_record) as (broker, people, provider):
        assert_signed_in(await people.sign_in("idp"))
        await _ask(broker, target, times=500)
        provider.honest.requests.clear()
        broker.forget_peak()
        before = broker.memory()
        await _ask(broker, target, times=5000)
        assert broker.peak_memory() - before < 2 * MEGABYTE
    assert provider.honest.requests == []


async def _ask(broker: RunningBroker, target: str, *, times: int) -> None:
    """Ask for the same address again and again over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\n\r\n".encode()
    for _ in range(times):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith((b"http/1.1 303", b"http/1.1 400"))
        _, _, length = head.partition(b"content-length: ")
        await reader.readexactly(int(length.partition(b"\r\n")[0] or b"0"))
    writer.close()
    await writer.wait_closed()
