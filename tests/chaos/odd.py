"""Connections that no browser makes, from a process of their own: slow heads, garbage, requests that end half-way."""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

HOST = b"Host: 127.0.0.1\r\n"
RESET = struct.pack("ii", 1, 0)
MANY_HEADERS = b"".join(b"X-%d: y\r\n" % number for number in range(500))
# What is written on a connection; then the client waits for two seconds at most, and goes.
WRITTEN: Sequence[bytes] = (
    b"",
    b"GET /login HTTP/1.1\r\n" + HOST,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\xff" * 500,
    b"GET /login HTTP/1.1\r\n\r\n",  # no Host
    b"GET /login HTTP/1.1\r\n" + HOST + MANY_HEADERS + b"\r\n",
    b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\nabc",
    b"GET /login HTTP/1.1\r\n%b\r\n" % HOST * 20,  # pipelined
)
LINGER = 2.0  # seconds


async def _write(data: bytes, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(LINGER):
            await reader.read()
    finally:
        writer.close()


async def _reset(port: int) -> None:
    """Send half a request, and a reset."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(WRITTEN[1])
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def _repeat(act: Callable[[], Awaitable[None]], end: float) -> None:
    while time.monotonic() < end:
        with suppress(OSError, TimeoutError):
            await act()
        await asyncio.sleep(0.2)


def odd_connections(each: int, port: int, seconds: float) -> None:
    """Make odd connections of each kind, so many at once."""

    async def attack() -> None:
        end = time.monotonic() + seconds
        acts: list[Callable[[], Awaitable[None]]] = [partial(_write, data, port) for data in WRITTEN]
        acts.append(partial(_reset, port))
        await asyncio.gather(*(_repeat(act, end) for act in acts for _ in range(each)))

    asyncio.run(attack())


def hold_slow_heads(count: int, port: int, seconds: float) -> None:
    """Keep so many connections at a head that never ends; connect again where the broker closes."""

    async def hold(end: float) -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET /login HTTP/1.1\r\n" + HOST)
                    while time.monotonic() < end and not reader.at_eof():
                        writer.write(b"X-A: b\r\n")
                        await writer.drain()
                        await asyncio.sleep(2)
                finally:
                    writer.close()
            await asyncio.sleep(1)

    async def attack() -> None:
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(hold(end))
                await asyncio.sleep(0.001)

    asyncio.run(attack())


ATTACKS: Mapping[str, Callable[[int, int, float], None]] = {"slow": hold_slow_heads, "odd": odd_connections}


def main() -> None:
    """Read the options, and attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=ATTACKS)
    parser.add_argument("count", type=int, help="connections at once; for `odd` of each kind")
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    ATTACKS[options.kind](options.count, options.port, options.seconds)


if __name__ == "__main__":
    main()
