"""Connects to the first address that answers, speaks TLS, and sends one request at a time on a connection."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from typing import cast

from broker.capacity import LoopTurns
from broker.oidc.answer import Answer
from broker.oidc.messages import Peer
from broker.oidc.network import is_public_address

NEXT_ADDRESS_SECONDS = 0.25  # before the next address is tried beside the last one (RFC 8305, section 5)
READ_BYTES = 16 * 1024  # at once: the largest TLS record

SocketAddress = tuple[int, tuple[str, int] | tuple[str, int, int, int]]  # family and address


class AddressRefused(OSError):
    """None of the addresses is on the public network."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EPERM, "the address is not on the public network")
        self.address = address


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of a name, as the system orders them (RFC 6724)."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def public_addresses(addresses: list[SocketAddress]) -> list[SocketAddress]:
    """Return the public addresses. A name may resolve to others later, so each connection asks."""
    public = [entry for entry in addresses if is_public_address(entry[1][0])]
    if not public:
        raise AddressRefused(addresses[0][1][0])
    return public


async def connect_to_any(addresses: list[SocketAddress]) -> socket.socket:
    """Return a socket connected to the first address that answers (RFC 8305).

    Raises:
        OSError: no address answered; the words name each.
    """
    waiting = list(addresses)
    attempts: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_connect_to(waiting.pop(0))))
            pause = NEXT_ADDRESS_SECONDS if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.remove(attempt)
                if (failure := attempt.exception()) is None:
                    return attempt.result()
                if not isinstance(failure, OSError):
                    raise failure
                failures.append(failure)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close_loser)
    raise OSError(failures[0].errno, "; ".join(failure.strerror or str(failure) for failure in failures))


def _close_loser(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect_to(entry: SocketAddress) -> socket.socket:
    family, address = entry
    new = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # explicit: asyncio then sets TCP_NODELAY
    try:
        new.setblocking(False)
        await asyncio.get_running_loop().sock_connect(new, address)
    except BaseException:
        new.close()
        raise
    return new


class _Tls:
    """A layer of TLS in memory."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.is_ready = False
        self.failure: ssl.SSLError | None = None

    def encrypt(self, data: bytes) -> bytes:
        """Return the bytes to send, those of the handshake included."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]  # a record at a time
        return self.outgoing.read()

    def decrypt(self, pieces: list[bytes | memoryview], *, ended: bool) -> tuple[list[bytes | memoryview], bool]:
        """Return what the other side sent, and whether nothing follows: it closed the connection, or TLS failed."""
        for piece in pieces:
            self.incoming.write(piece)
        if ended:
            self.incoming.write_eof()
        if not self.is_ready:
            return [], False
        plain: list[bytes | memoryview] = []
        try:
            while self.incoming.pending or self.tls.pending() or ended:  # a read without data costs 20 us
                piece = self.tls.read(READ_BYTES)
                if not piece:
                    return plain, True  # close_notify
                plain.append(piece)
        except ssl.SSLWantReadError:
            return plain, False
        except ssl.SSLError as error:
            self.failure = error
            return plain, True
        return plain, False


class Connection(asyncio.BufferedProtocol):
    """A connection to a server: one request at a time, TLS in layers where it goes through a proxy.

    Args:
        host: the server, for the log.
        buffer: takes what is read; connections may share it.

    Attributes:
        peer: the other end of the socket, which may be the proxy.
        is_reusable: the last answer is complete, and the connection is open.
        idle_until: the loop's time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, buffer: memoryview) -> None:
        self.loop = loop
        self._host = host
        self.peer = Peer("", None)
        self.is_reusable = False
        self.idle_until = 0.0
        self._buffer = buffer
        self._layers: list[_Tls] = []
        self._answer: Answer | None = None
        self._early = b""
        self._waiter: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing until a request is sent or TLS begins."""
        self._transport = cast("asyncio.Transport", transport)
        self.peer = Peer(str((transport.get_extra_info("peername") or ("",))[0]), None)
        self._transport.pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return the buffer for the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that were read."""
        self._received([self._buffer[:nbytes]])

    def eof_received(self) -> None:
        """Take the end of what the other side sends."""
        self._received([], ended=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self._failure = self._failure or exc
        self._received([], ended=True)

    async def ask(self, message: bytes, answer: Answer) -> None:
        """Send a message, and read the answer.

        Raises:
            CallFailed: the answer cannot be used, or did not come.
        """
        self.is_reusable = False
        self._answer = answer
        try:
            self._write(message)
            self._transport.resume_reading()
            self._received([], ended=self._has_ended)  # bytes may have come with the end of the handshake
            while not answer.is_over:
                await self._more()
        except OSError as error:
            answer.end(error, self._host)
        finally:
            self._answer = None
            self._early = answer.early
            answer.release()
        if answer.failure is not None:
            raise answer.failure
        self.is_reusable = answer.keeps_alive and not self._has_ended

    async def start_tls(self, context: ssl.SSLContext, host: str, turns: LoopTurns) -> None:
        """Begin TLS, inside the layers of TLS that exist.

        Args:
            turns: bounds the handshakes that compute in one turn of the event loop.
        """
        layer = _Tls(context, host)
        layer.incoming.write(self._early)
        self._layers.append(layer)
        self._transport.resume_reading()
        while True:
            await turns.take()
            self._shake_hands(layer)
            if layer.is_ready:
                break
            await self._more()
        certificate = layer.tls.getpeercert()
        expires = ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else None
        self.peer = Peer(self.peer.address, expires)

    def _shake_hands(self, layer: _Tls) -> None:
        """Take the handshake as far as the bytes read allow."""
        try:
            layer.tls.do_handshake()
            layer.is_ready = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError as error:
            raise self._failure or error from None
        finally:
            self._write(b"")  # an alert, too

    def close(self) -> None:
        """Close the connection; over TLS, send close_notify first."""
        self.is_reusable = False
        if self._layers and not self._has_ended:
            with suppress(OSError):
                self._layers[-1].tls.unwrap()
            with suppress(OSError):
                self._write(b"")
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.is_reusable = False
        self._transport.abort()

    async def _more(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _received(self, pieces: list[bytes | memoryview], *, ended: bool = False) -> None:
        """Pass bytes up through the layers, to the answer that is awaited."""
        self._has_ended = self._has_ended or ended
        for layer in self._layers:
            pieces, ended = layer.decrypt(pieces, ended=ended)
            self._failure = self._failure or layer.failure
        try:
            if self._layers and self._layers[-1].outgoing.pending:
                self._write(b"")
        except ssl.SSLError as error:
            self._failure = self._failure or error
            ended = True
        if self._answer is not None:
            for piece in pieces:
                self._answer.feed(piece)
            if ended:
                self._has_ended = True
                self._answer.end(self._failure, self._host)
        elif pieces or ended:
            self.is_reusable = False  # no request is under way
            self._transport.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        for layer in reversed(self._layers):
            data = layer.encrypt(data)
        if data:
            self._transport.write(data)
