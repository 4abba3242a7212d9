"""An OpenID provider in its own process. Its back channel can be made to fail while browsers still sign in there.

Browsers use the front port (plain http), replicas the back port (TLS). `POST /control` at the front port gives orders.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.hostile_server import GONE, KEYS, TOKEN, USERINFO, Wire, as_bytes
from tests.fakes.lies import Lies
from tests.fakes.provider import FakeProvider, new_key

CERTIFICATES = ("good", "expired", "other")  # by its authority, by that authority but expired, by another authority
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
KEY_LIFETIME = 86_400  # seconds a key document may be cached


@dataclass(frozen=True)
class Faults:
    """How the back channel answers. The defaults are an honest answer at once.

    Args:
        paths: the faults are limited to them; empty for all.
        delay: seconds before each answer.
        silent: no answer at all.
        status: instead of the honest status; 0 for the honest answer.
        location: where an answer with a status of 3xx leads.
        cut: `reset`, `truncated` or `half_json`.
        every: each n-th call of a path is answered 503; 0 for none.
        idle_close: seconds after which an idle connection is closed; 0 for never.
        latency: seconds until the client knows that it is closed.
    """

    paths: Sequence[str] = ()
    delay: float = 0.0
    silent: bool = False
    status: int = 0
    location: str = ""
    cut: str = ""
    every: int = 0
    idle_close: float = 0.0
    latency: float = 0.04


class _SeveralSecrets(FakeProvider):
    """Accepts each of several client secrets, as providers do while a secret is rotated."""

    accepted: Sequence[str] = ()

    def _knows_client(self, request: httpx.Request, form: dict[str, str]) -> bool:
        for secret in self.accepted:
            self.client_secret = secret
            if super()._knows_client(request, form):
                return True
        return False


@dataclass(eq=False)
class Connection:
    """A connection of the back port. A deaf connection is never answered again."""

    writer: asyncio.StreamWriter
    is_deaf: bool = False


@dataclass
class Provider:
    """The provider and its present faults.

    Args:
        contexts: of TLS, by the name of the certificate.
    """

    honest: _SeveralSecrets
    contexts: Mapping[str, ssl.SSLContext]
    back_port: int
    faults: Faults = field(default_factory=Faults)
    certificate: str = "good"
    seconds_ahead: float = 0.0
    connections: set[Connection] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    server: asyncio.Server | None = None

    def clock(self) -> float:
        return time.time() + self.seconds_ahead

    # ------------------------------------------------------------------------------------------------------- orders

    async def listen(self) -> None:
        """Accept connections at the back port."""
        if self.server is None:
            context = self.contexts["good"]
            context.sni_callback = self._choose_certificate
            self.server = await asyncio.start_server(
                self.converse, "127.0.0.1", self.back_port, ssl=context, backlog=2048
            )

    async def refuse(self) -> None:
        """Close the back port and all its connections."""
        if self.server is not None:
            self.server.close()
            self.server = None
        await self.drop()

    async def drop(self) -> None:
        """Reset all connections of the back port."""
        for connection in self.connections:
            connection.writer.transport.abort()

    async def deafen(self) -> None:
        """Never answer on the connections that are open now: the network has forgotten them."""
        for connection in self.connections:
            connection.is_deaf = True
        self.counts["deaf"] = len(self.connections)

    async def fail(self, **faults: Any) -> None:
        """Take on these faults instead of the present faults."""
        self.faults = Faults(**faults)

    async def show_certificate(self, certificate: str) -> None:
        """Show another certificate on new connections, and drop the present connections."""
        self.certificate = certificate
        await self.drop()

    async def rotate(self, *, keep: bool = False, same_kid: bool = False, lag: float = 0.0) -> None:
        """Sign with a new key at once.

        Args:
            keep: publish the old key, too.
            lag: seconds until the key document follows.
        """
        old = list(self.honest.keys)
        kid = old[0].kid if same_kid else f"key-{random.randrange(10**9)}"  # noqa: S311 - no secret
        self.honest.keys = [new_key("RS256", kid), *(old if keep else ())]
        published = {"keys": [key.as_dict(private=False) for key in old]}
        until = time.monotonic() + lag
        self.honest.lies = Lies(jwks=lambda document: published if time.monotonic() < until else document)

    async def accept_secrets(self, secrets: Sequence[str], file: str = "", new: str = "") -> None:
        """Accept these client secrets only.

        Args:
            file: is replaced at the same moment by the file `new`, if given.
        """
        if file:
            Path(new).replace(file)  # noqa: ASYNC240 - within one step of the loop
        self.honest.accepted = secrets

    async def set_clock(self, seconds_ahead: float) -> None:
        """Move the provider's clock."""
        self.seconds_ahead = seconds_ahead

    async def count(self) -> dict[str, int]:
        """Return what was counted: calls by path, connections now, calls that failed by an order."""
        return {**self.counts, "connections": len(self.connections)}

    # ------------------------------------------------------------------------------------------------- conversations

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection of the back port."""
        connection = Connection(writer)
        self.connections.add(connection)
        wire = Wire(reader, writer)
        try:
            with suppress(*GONE):
                while (request := await self._next_request(wire)) is not None:
                    path = request.url.path
                    self.counts[path] += 1
                    answer = await self.honest.handle(request)
                    if connection.is_deaf or (self._applies(path) and self.faults.silent):
                        await reader.read()  # until the replica gives up
                        break
                    await self._answer(wire, path, answer)
        finally:
            self.connections.discard(connection)
            writer.transport.abort() if connection.is_deaf else writer.close()

    async def _next_request(self, wire: Wire) -> httpx.Request | None:
        if not self.faults.idle_close:
            return await wire.listen()
        try:
            return await asyncio.wait_for(wire.listen(), self.faults.idle_close)
        except TimeoutError:
            pass
        try:
            await asyncio.wait_for(wire.listen(), self.faults.latency)
        except TimeoutError:
            return None
        self.counts["met a closing connection"] += 1
        return None

    def _applies(self, path: str) -> bool:
        return not self.faults.paths or path in self.faults.paths

    async def _answer(self, wire: Wire, path: str, answer: httpx.Response) -> None:
        """Send the answer, as the faults say.

        Raises:
            ConnectionError: the connection is over.
        """
        faults = self.faults if self._applies(path) else Faults()
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if faults.every and path in (TOKEN, USERINFO) and self.counts[path] % faults.every == 0:
            self.counts[f"failed {path}"] += 1
            faults = replace(faults, status=503)
        if faults.status:
            headers = {"Location": faults.location} if faults.location else {}
            answer = httpx.Response(faults.status, headers=headers, content=b"out of order")
        if faults.cut == "half_json":
            answer = httpx.Response(200, headers={"Content-Type": "application/json"}, content=answer.content[:-20])
        cache = {"cache_control": f"max-age={KEY_LIFETIME}"} if path == KEYS else {}
        data = as_bytes(answer, connection="keep-alive", date=formatdate(self.clock(), usegmt=True), **cache)
        if faults.cut in ("reset", "truncated"):
            await wire.send(data[:-20])
            if faults.cut == "reset":
                plain = wire.writer.get_extra_info("socket")
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                wire.writer.transport.abort()
            raise ConnectionError
        await wire.send(data)

    async def converse_in_front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a browser, or take an order."""
        wire = Wire(reader, writer)
        with suppress(*GONE):
            request = await wire.listen()
            if request.url.path == "/control":
                answer = {"result": await self._obey(json.loads(request.content))}
                await wire.send(as_bytes(httpx.Response(200, json=answer)))
            else:
                await wire.send(as_bytes(await self.honest.handle(request)))
        writer.close()

    async def _obey(self, order: dict[str, Any]) -> Any:
        orders: tuple[Callable[..., Any], ...] = (
            self.listen,
            self.refuse,
            self.drop,
            self.deafen,
            self.fail,
            self.show_certificate,
            self.rotate,
            self.accept_secrets,
            self.set_clock,
            self.count,
        )
        return await {each.__name__: each for each in orders}[order.pop("do")](**order)

    def _choose_certificate(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self.contexts[self.certificate]


def tls_context(chain: Path) -> ssl.SSLContext:
    """Return a server's context with this certificate and key."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


async def serve(options: argparse.Namespace) -> None:
    """Serve both ports until the process is killed."""
    contexts = {name: tls_context(options.certificates / name / "server.pem") for name in CERTIFICATES}
    honest = _SeveralSecrets(options.issuer, time.time, client_id=options.client_id)
    honest.accepted = [options.client_secret]
    provider = Provider(honest, contexts, options.back_port)
    honest.clock = provider.clock
    await asyncio.start_server(provider.converse_in_front, "127.0.0.1", options.front_port, backlog=2048)
    if not options.is_down:
        await provider.listen()
    await asyncio.Event().wait()


def main() -> None:
    """Read the options, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("issuer", "client-id", "client-secret"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("front-port", "back-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--is-down", action="store_true", help="does not listen at the back port yet")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
