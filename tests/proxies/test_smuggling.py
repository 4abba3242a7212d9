"""Behind real proxies: no byte of a body becomes a request, and everybody gets their own answer."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import jwt
import pytest
from httpx_aiohttp import AiohttpTransport

from tests.fakes.hostile_server import HostileProvider, hostile_provider, late
from tests.fakes.log_record import LogRecord
from tests.fakes.ports import free_port
from tests.fakes.provider import Person
from tests.fakes.world import SHARED_SECRET
from tests.hostile.running import COMM100, RunningBroker, running_broker
from tests.proxies.running import PROXIES, Proxy, running

PEOPLE = 200
AT_ONCE = 40  # people under way
TOKEN_SECONDS = 0.2  # that the provider takes, so that a smuggled answer would have the time to be another person's
SIZES = [1, 2, 100, 1_000, 4_000, 8_192, 8_193, 16_000, 16_384, 32_000, 40_000, 64_000, 65_536, 80_000, 100_000]
SIZES += [131_072, 150_000, 180_000, 200_000, 220_000, 240_000, 256_000, 262_144, 280_000, 300_000]
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: sso.acme.example\r\n\r\n"

EACH_PROXY = pytest.mark.parametrize("proxy", [pytest.param(one, id=name) for name, one in PROXIES.items()])


def attacks() -> list[bytes]:
    """Return 100 POSTs: 25 sizes, with Content-Length and in chunks, two values of Upgrade."""
    found = []
    for size in SIZES:
        body = _lined_up(size)
        for upgrade in (b"websocket", b"h2c"):
            head = b"POST / HTTP/1.1\r\nHost: sso.acme.example\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
            found.append(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            found.append(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    return found


def _lined_up(size: int) -> bytes:
    """Return line ends, which parsers skip between requests, and a request, as far as there is room for it."""
    return b"\r\n" * ((size - len(HIDDEN)) // 2) + HIDDEN[:size]


async def send(port: int, data: bytes) -> int:
    """Send a request, and return the status of the answer; 0 where none came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    sending = asyncio.create_task(_write(writer, data))
    with suppress(TimeoutError, ConnectionError):
        while b"\r\n\r\n" not in received and (more := await asyncio.wait_for(reader.read(65_536), 10)):
            received += more
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    return int(status[1]) if status else 0


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


@dataclass
class Crowd:
    """People behind one proxy, each with an address of their own."""

    proxy_port: int
    provider: HostileProvider
    transport: AiohttpTransport

    async def sign_in(self, number: int) -> str:
        """Let one person sign in; return what was wrong, or nothing."""
        email = f"agent{number}@acme.example"
        client = httpx.AsyncClient(transport=self.transport, timeout=60, trust_env=False)
        departed = await client.get(f"http://127.0.0.1:{self.proxy_port}/login")
        if not departed.headers.get("location", "").startswith(self.provider.honest.issuer):
            return f"/login: {departed.status_code}"
        # No wait between the two: the provider signs in whoever it knows of at that moment.
        self.provider.honest.person = Person(f"sub-{number}", {"email": email, "email_verified": True, "name": "A"})
        authorized = await self.provider.honest.handle(httpx.Request("GET", departed.headers["location"]))
        arrived = await client.get(authorized.headers["location"])
        location = arrived.headers.get("location", "")
        if not location.startswith(f"{COMM100}?jwt="):
            return f"/callback: {arrived.status_code}"
        claims = jwt.decode(parse_qs(urlsplit(location).query)["jwt"][0], SHARED_SECRET, ["HS256"], audience="Comm100")
        return "" if claims["email"] == email else "the token of another person"


def smuggled(broker: RunningBroker) -> int:
    """Count requests that nobody sent: all of these ask for no page of ours."""
    return sum(line.get("code") == "no_such_page" for line in broker.program.lines())


@pytest.mark.requirement("S-59")
@EACH_PROXY
async def test_no_body_becomes_a_request_and_everybody_gets_their_own_token(
    proxy: Proxy, tmp_path: Path, log_record: LogRecord
) -> None:
    port = free_port()
    async with (
        hostile_provider({"/token": late(TOKEN_SECONDS)}) as provider,
        running_broker(tmp_path, {"idp": provider.honest}, log_record, public_url=f"http://127.0.0.1:{port}") as broker,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session,
    ):
        with running(proxy, tmp_path, port, broker.port):
            crowd = Crowd(port, provider, AiohttpTransport(client=session, trust_env=False))
            assert await crowd.sign_in(0) == ""
            gate, queue = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(4)

            async def person(number: int) -> str:
                async with gate:
                    return await crowd.sign_in(number)

            async def attack(data: bytes) -> int:
                async with queue:
                    return await send(port, data)

            people = asyncio.gather(*(person(number) for number in range(PEOPLE)))
            statuses = await asyncio.gather(*map(attack, attacks()))
            wrong = [one for one in await people if one]
    print(f"{len(statuses)} attacks, {smuggled(broker)} smuggled, {len(wrong)} of {PEOPLE} people got a wrong answer")
    print("answers to the attacks:", {status: statuses.count(status) for status in set(statuses)})
    assert smuggled(broker) == 0
    assert wrong == []
    assert set(statuses) <= {405, 413}  # 405 where Caddy passes chunks on: with Upgrade nothing is known of their body


@pytest.mark.requirement("S-59")
@EACH_PROXY
async def test_an_early_refusal_reaches_the_client_through_a_proxy(
    proxy: Proxy, tmp_path: Path, log_record: LogRecord
) -> None:
    port = free_port()
    async with (
        hostile_provider() as provider,
        running_broker(tmp_path, {"idp": provider.honest}, log_record) as broker,
    ):
        with running(proxy, tmp_path, port, broker.port):
            statuses = []
            for size in SIZES * 2:
                data = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
                statuses.append(await send(port, data))
            empty = b"GET /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            assert await send(port, empty) == 303
    print("answers:", {status: statuses.count(status) for status in set(statuses)})
    assert set(statuses) == {413}
