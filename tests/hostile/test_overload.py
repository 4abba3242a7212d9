"""A crowd at a provider that never answers: what it reads, and what the people at another provider notice."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from broker.capacity import MAX_AT_WORK
from broker.errors import Overloaded, OverloadedByProvider, ProviderTimedOut
from tests.fakes import hostile_server as bad
from tests.fakes.log_record import LogRecord
from tests.hostile.running import RunningBroker, running_broker

PROVIDER_SECONDS = 0.5  # of each of two calls to the provider that answers
RATES = (60, 30, 15)  # sign-ins a second at the provider that answers: as many as the machine has CPU for
CROWD = 1_000
CROWD_SECONDS = 3.0  # in which the crowd comes, at the first of the rates
USUAL_SECONDS = 5.0
BUSY_SECONDS = 0.2  # of a sign-in besides the provider's: a machine that needs more has no CPU left for a crowd
ROUNDS = 3
PATIENCE = 60.0  # until the places are taken
LOGIN_SECONDS = 5.0  # for a few logins; a login that waited for a place would take longer


@dataclass(frozen=True)
class Parts:
    broker: RunningBroker
    good: bad.HostileProvider
    dead: bad.HostileProvider
    silence: Silence


@dataclass(frozen=True)
class Answer:
    """The end of a sign-in: `signed in` or the code on the page, and the seconds until it came."""

    end: str
    seconds: float


@dataclass
class Silence:
    """A provider's token endpoint that never answers, and the most calls it had at once."""

    now: int = 0
    most: int = 0
    is_full: asyncio.Event = field(default_factory=asyncio.Event)

    async def trick(self, wire: bad.Wire, _: httpx.Response) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= MAX_AT_WORK:
            self.is_full.set()
        await wire.reader.read()  # until the broker gives up
        self.now -= 1


@asynccontextmanager
async def two_providers(folder: Path, record: LogRecord) -> AsyncIterator[Parts]:
    """Run a broker with `good`, which takes its time, and `dead`, whose token endpoint never answers."""
    slow, silence = dict.fromkeys((bad.TOKEN, bad.USERINFO), bad.late(PROVIDER_SECONDS)), Silence()
    async with (
        bad.hostile_provider(slow) as good,
        bad.hostile_provider({bad.TOKEN: silence.trick}) as dead,
        running_broker(folder, {"good": good.honest, "dead": dead.honest}, record) as broker,
    ):
        yield Parts(broker, good, dead, silence)


async def begin(broker: RunningBroker, provider: bad.HostileProvider, idp: str, count: int) -> list[bytes]:
    """Begin sign-ins over one connection; return the requests with which the browsers come back from the provider."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    host = f"Host: 127.0.0.1:{broker.port}"
    callbacks = []
    for _ in range(count):
        writer.write(f"GET /login?idp={idp} HTTP/1.1\r\n{host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        location, cookie = (re.findall(rf"(?im)^{name}: ([^;\r]+)", head)[0] for name in ("location", "set-cookie"))
        back = (await provider.honest.handle(httpx.Request("GET", location))).headers["location"]
        target = back.removeprefix(broker.program.public)
        callbacks.append(f"GET {target} HTTP/1.1\r\n{host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
    writer.close()
    await writer.wait_closed()
    return callbacks


async def come_back(broker: RunningBroker, callback: bytes, delay: float) -> Answer:
    await asyncio.sleep(delay)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(callback)
    answer = (await reader.read()).decode()
    writer.close()
    found = re.search(r"<dt>Error code</dt><dd><code>([^<]*)</code>", answer)
    return Answer(found[1] if found else "signed in" if "?jwt=" in answer else answer, time.monotonic() - began)


async def come_back_at_a_rate(broker: RunningBroker, callbacks: Sequence[bytes], a_second: float) -> list[Answer]:
    people = (come_back(broker, callback, number / a_second) for number, callback in enumerate(callbacks))
    return await asyncio.gather(*people)


async def sign_in_at_a_rate(parts: Parts, a_second: int, seconds: float) -> float:
    """Let people sign in at the provider that answers; return the 99th percentile of the seconds of a callback."""
    people = await begin(parts.broker, parts.good, "good", round(a_second * seconds))
    answers = await come_back_at_a_rate(parts.broker, people, a_second)
    assert Counter(answer.end for answer in answers) == {"signed in": len(people)}
    return sorted(answer.seconds for answer in answers)[int(len(answers) * 0.99)]


async def find_rate(parts: Parts) -> tuple[int, float]:
    """Return a rate that leaves the broker time for others, and the usual 99th percentile at this rate."""
    for rate in RATES[:-1]:
        usual = await sign_in_at_a_rate(parts, rate, USUAL_SECONDS)
        if usual < 2 * PROVIDER_SECONDS + BUSY_SECONDS:
            return rate, usual
    return RATES[-1], await sign_in_at_a_rate(parts, RATES[-1], USUAL_SECONDS)


async def log_in_beside_the_crowd(parts: Parts) -> float:
    """Begin some sign-ins at the dead provider while its places are taken; return the seconds they took."""
    async with asyncio.timeout(PATIENCE):
        await parts.silence.is_full.wait()
    began = time.monotonic()
    await begin(parts.broker, parts.dead, "dead", 20)
    return time.monotonic() - began


@dataclass(frozen=True)
class Round:
    """What one crowd got, and what the others noticed, in seconds."""

    usual: float
    beside: float
    logins: float
    ends: Counter[str]


async def meet_a_crowd(parts: Parts) -> Round:
    crowd = await begin(parts.broker, parts.dead, "dead", CROWD)
    rate, before = await find_rate(parts)
    parts.silence.is_full.clear()
    seconds = CROWD_SECONDS * RATES[0] / rate
    answers, beside, logins = await asyncio.gather(
        come_back_at_a_rate(parts.broker, crowd, CROWD / seconds),
        sign_in_at_a_rate(parts, rate, seconds + 17),
        log_in_beside_the_crowd(parts),
    )
    after = await sign_in_at_a_rate(parts, rate, USUAL_SECONDS)
    ends = Counter(answer.end for answer in answers)
    print(f"{rate} a second: p99 {before:.2f} s before, {beside:.2f} beside, {after:.2f} after the crowd; {dict(ends)}")
    return Round(max(before, after), beside, logins, ends)


@pytest.mark.requirement("S-57")
async def test_a_crowd_at_a_dead_provider_does_not_slow_the_people_at_another(
    tmp_path: Path, log_record: LogRecord
) -> None:
    """Other work of the machine can only make the figures of a round worse: one good round is enough."""
    async with two_providers(tmp_path, log_record) as parts:
        for _ in range(ROUNDS):
            met = await meet_a_crowd(parts)
            assert set(met.ends) <= {ProviderTimedOut.code, OverloadedByProvider.code, Overloaded.code}
            assert met.logins < LOGIN_SECONDS
            assert parts.silence.most == MAX_AT_WORK
            if met.beside < 2 * met.usual:
                return
    pytest.fail(f"the crowd slowed the others in each of {ROUNDS} rounds")
