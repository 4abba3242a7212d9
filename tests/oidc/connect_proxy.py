"""An HTTP proxy on loopback that connects as it is asked to, if it is shown the right credentials."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

UNAUTHORIZED = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="acme"\r\n\r\n'


@dataclass
class ConnectProxy:
    """What it was asked for.

    Args:
        port: on loopback.
        heads: of the requests so far.
        sent: every byte that went into a tunnel towards a provider.
    """

    port: int = 0
    heads: list[str] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)

    @property
    def asked_for(self) -> list[str]:
        """Return where it was to connect to."""
        return [head.split(" ", 2)[1] for head in self.heads]


def basic(user: str, password: str) -> str:
    """Return the header's value for these credentials (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@asynccontextmanager
async def connect_proxy(
    *, wants: str | None = None, leads_to: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ConnectProxy]:
    """Run a proxy.

    Args:
        wants: the value of Proxy-Authorization it insists on.
        leads_to: a port on loopback every tunnel ends at, whatever was asked for.
        tls: is spoken with it.
    """
    seen = ConnectProxy()
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray) -> None:
        try:
            while data := await reader.read(65536):
                copy += data
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            seen.heads.append(head)
            if wants is not None and f"proxy-authorization: {wants.lower()}\r\n" not in head.lower():
                writer.write(UNAUTHORIZED)
                writer.close()
                return
            method, where, _ = head.split(" ", 2)
            host, _, port = where.rpartition(":")
            if method != "CONNECT":
                writer.close()
                return
            there = await asyncio.open_connection("127.0.0.1" if leads_to else host, leads_to or int(port))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        writers.append(there[1])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        tasks.add(asyncio.create_task(pump(reader, there[1], seen.sent)))
        tasks.add(asyncio.create_task(pump(there[0], writer, bytearray())))

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
