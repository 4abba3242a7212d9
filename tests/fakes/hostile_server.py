"""An identity provider on a real socket that misbehaves below the message: slow, endless, packed, broken off.

What it says is the honest FakeProvider's; how it says it is decided by one named trick per address. It knows nothing
of the broker's code.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

import httpx

from tests.fakes.provider import FakeProvider

DISCOVERY, KEYS, TOKEN, USERINFO = "/.well-known/openid-configuration", "/keys", "/token", "/userinfo"
BOMB_BYTES = 300_000_000
GONE = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)


@dataclass(frozen=True)
class Wire:
    """One connection, from the provider's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_for_ever(self, data: bytes) -> None:
        while True:
            await self.send(data)

    async def drip(self, data: bytes, *, seconds: float) -> None:
        """Send byte by byte, all of it in so many seconds."""
        for place in range(len(data)):
            await self.send(data[place : place + 1])
            await asyncio.sleep(seconds / len(data))

    async def listen(self) -> httpx.Request:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.strip().split("\r\n")
        method, target, _ = request_line.split(" ")
        headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return httpx.Request(method, f"http://{headers['host']}{target}", headers=headers, content=body)


Trick = Callable[[Wire, httpx.Response], Awaitable[None]]
"""Answers in its own way; the response given is the honest one. The connection is closed behind it."""


@dataclass
class HostileProvider:
    """An honest provider and the tricks played with its answers, by path."""

    honest: FakeProvider
    tricks: Mapping[str, Trick]
    with_cookie: list[str] = field(default_factory=list)  # addresses the broker sent a cookie to

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        with suppress(*GONE):
            while True:
                request = await wire.listen()
                path = request.url.path
                if "cookie" in request.headers and path != "/authorize":  # where the browser goes
                    self.with_cookie.append(path)
                answer = await self.honest.handle(request)
                if path in self.tricks and self.honest.is_down is None:
                    await self.tricks[path](wire, answer)
                    break
                await wire.send(as_bytes(answer))


@asynccontextmanager
async def hostile_provider(
    tricks: Mapping[str, Trick] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HostileProvider]:
    """Run a provider on a free loopback port; `tricks` by path; with `tls` it is at https."""
    talks: set[asyncio.Task[None]] = set()
    hostile: HostileProvider

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await hostile.converse(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (asyncio.CancelledError, ConnectionError):  # the test is over, or the broker has had enough
            writer.transport.abort()
        talks.discard(task)

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1000, ssl=tls)
    issuer = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    hostile = HostileProvider(FakeProvider(issuer, time.time, algorithm="ES256"), tricks or {})
    try:
        yield hostile
    finally:
        server.close()
        for task in [*talks]:
            task.cancel()
        await asyncio.gather(*talks)


def as_bytes(answer: httpx.Response, **changes: str) -> bytes:
    """Write an answer as it goes over the wire; `changes` are headers that replace or add, `_` standing for `-`."""
    headers = {name.title(): value for name, value in answer.headers.items()}
    headers |= {name.replace("_", "-").title(): value for name, value in changes.items()}
    headers.setdefault("Content-Length", str(len(answer.content)))
    headers.setdefault("Connection", "close")  # as is the way of this server; who is not told uses the connection again
    return head_of(answer.status_code, headers) + answer.content


def head_of(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def json_head(**headers: str) -> bytes:
    return head_of(200, {"Content-Type": "application/json", "Connection": "close", **headers})


def late(seconds: float) -> Trick:
    """The honest answer, so many seconds too late."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await asyncio.sleep(seconds)
        await wire.send(as_bytes(answer))

    return trick


def late_and_old(provider: FakeProvider, seconds: float) -> Trick:
    """Keys as late, of which a newer one signs from then on: who asked for them early has to ask again."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        provider.rotate()
        await late(seconds)(wire, answer)

    return trick


def dripping_body(seconds: float) -> Trick:
    """The head at once, the body byte by byte."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await wire.send(json_head(**{"Content-Length": str(len(answer.content))}))
        await wire.drip(answer.content, seconds=seconds)

    return trick


def dripping_head(seconds: float) -> Trick:
    """Even the head comes byte by byte."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await wire.drip(as_bytes(answer), seconds=seconds)

    return trick


def says(status: int, headers: Mapping[str, str], body: bytes = b"") -> Trick:
    """Another answer, in good form."""

    async def trick(wire: Wire, _: httpx.Response) -> None:
        await wire.send(head_of(status, {"Content-Length": str(len(body)), "Connection": "close", **headers}) + body)

    return trick


def says_json(body: bytes) -> Trick:
    """Another body, in good form."""
    return says(200, {"Content-Type": "application/json"}, body)


def honest_but(**headers: str) -> Trick:
    """The honest body under other headers, `_` standing for `-`."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await wire.send(as_bytes(answer, **headers))

    return trick


def with_headers(count: int, size: int) -> Trick:
    """The honest answer with further headers: so many, of so many characters each."""
    return honest_but(**{f"x_{number}": "h" * size for number in range(count)})


def raw(data: bytes, *, then_wait: float = 0) -> Trick:
    """Bytes that may be no HTTP at all; the connection stays open for so many seconds after them."""

    async def trick(wire: Wire, _: httpx.Response) -> None:
        await wire.send(data)
        await asyncio.sleep(then_wait)

    return trick


def endless(head: bytes, more: bytes) -> Trick:
    """A head, and then the same bytes for as long as anybody takes them."""

    async def trick(wire: Wire, _: httpx.Response) -> None:
        await wire.send(head)
        await wire.send_for_ever(more)

    return trick


async def packed(wire: Wire, answer: httpx.Response) -> None:
    """The honest answer, compressed although nobody asked for that."""
    body = gzip([answer.content])
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
    await wire.send(json_head(**headers) + body)


async def packed_bomb(wire: Wire, _: httpx.Response) -> None:
    """Less than a kilobyte that unpacks, twice, to 300 MB."""
    body = bomb()
    headers = {"Content-Encoding": "gzip, gzip", "Content-Length": str(len(body))}
    await wire.send(json_head(**headers) + body)


async def broken_off(wire: Wire, answer: httpx.Response) -> None:
    """Half the body, then the end."""
    whole = as_bytes(answer)
    await wire.send(whole[: -len(answer.content) // 2])


async def hung_up(_wire: Wire, _answer: httpx.Response) -> None:
    """Not a byte."""


async def reset(wire: Wire, answer: httpx.Response) -> None:
    """Half the body, then a reset instead of an end."""
    await wire.send(as_bytes(answer)[: -len(answer.content) // 2])
    connection = wire.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def length_off_by(difference: int) -> Trick:
    """A Content-Length that is not the body's; the connection stays open for a while."""

    async def trick(wire: Wire, answer: httpx.Response) -> None:
        await wire.send(as_bytes(answer, content_length=str(len(answer.content) + difference)))
        await asyncio.sleep(30)

    return trick


async def two_lengths(wire: Wire, answer: httpx.Response) -> None:
    """Two Content-Lengths that differ (RFC 9112, section 6.3)."""
    length = len(answer.content)
    await wire.send(as_bytes(answer).replace(b"\r\n\r\n", f"\r\nContent-Length: {length - 5}\r\n\r\n".encode(), 1))


@cache
def bomb() -> bytes:
    """Pack 300 MB of spaces, which JSON allows anywhere, twice."""
    million = b" " * 1_000_000
    once = gzip([million] * (BOMB_BYTES // len(million)))
    return gzip([once])


def gzip(parts: list[bytes]) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])
