"""Runs the broker as the program it is, lets people sign in to it over real sockets, and weighs its process."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from tests.fakes import processes
from tests.fakes.log_record import LogRecord, secrets_in
from tests.fakes.ports import free_port
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SECRET_KEY, SHARED_SECRET, section_for

COMM100 = "http://127.0.0.1:9/AdminWebService/SSO/SSOJWTConsumer.aspx"  # nobody goes there: its address is the end
MEGABYTE = 1024 * 1024
BROWSER_SECONDS = 120.0  # a browser's patience: no test is about it


@dataclass(frozen=True)
class RunningBroker:
    """A broker under way, with eyes on its memory.

    Args:
        program: its process.
        port: the public one.
    """

    program: processes.BrokerProcess
    port: int

    def memory(self) -> int:
        """Return the bytes in use now."""
        return self._bytes("VmRSS")

    def peak_memory(self) -> int:
        """Return the most bytes ever in use since `forget_peak`."""
        return self._bytes("VmHWM")

    def forget_peak(self) -> None:
        self._proc("clear_refs").write_text("5")  # proc(5): resets the peak resident set size

    def _bytes(self, line: str) -> int:
        found = re.search(rf"^{line}:\s+(\d+) kB$", self._proc("status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def _proc(self, name: str) -> Path:
        return Path("/proc", str(self.program.process.pid), name)


@asynccontextmanager
async def running_broker(
    folder: Path, providers: Mapping[str, FakeProvider], record: LogRecord, **more: Any
) -> AsyncIterator[RunningBroker]:
    """Run `broker serve` from alive to stopped, and leave its log and all secrets of these people to the record.

    `more` are further settings.
    """
    port = free_port()
    program = processes.running_broker(folder, {**_settings(providers, port), **more}, port)
    # In a thread, both: the providers answer from this one, and the broker asks them as soon as it starts.
    broker = await asyncio.to_thread(program.__enter__)
    try:
        yield RunningBroker(broker, port)
        assert await asyncio.to_thread(broker.stop) == 0, broker.errors.read_text()
    finally:
        await asyncio.to_thread(program.__exit__, None, None, None)
        record.add_file(broker.output)
        record.add_file(broker.errors)
        record.add_secrets([SECRET_KEY, SHARED_SECRET])
        for provider in providers.values():
            record.add_secrets([*provider.issued, provider.client_secret or ""])


def _settings(providers: Mapping[str, FakeProvider], port: int) -> dict[str, Any]:
    return {
        "public_url": f"http://127.0.0.1:{port}",
        "secret_keys": [SECRET_KEY],
        "shared_email_domains": True,
        "sites": {"main": {"endpoint": COMM100, "shared_secret": SHARED_SECRET}},
        "identity_providers": {identifier: section_for(provider) for identifier, provider in providers.items()},
    }


@dataclass
class People:
    """Any number of people, each with a browser of their own, over one pool of connections.

    Args:
        broker: where they sign in.
        record: remembers every secret that passes through their browsers.
        transport: the pool.
    """

    broker: RunningBroker
    record: LogRecord
    transport: AiohttpTransport

    def browser(self, idp: str) -> Visitor:
        """Let a new person begin at this provider."""
        return Visitor(self, idp, httpx.AsyncClient(transport=self.transport, timeout=BROWSER_SECONDS, trust_env=False))

    async def sign_in(self, idp: str) -> httpx.Response:
        """Let a new person go the whole way."""
        return await self.browser(idp).sign_in()


@dataclass
class Visitor:
    """One person at one provider.

    Args:
        people: all of them.
        idp: the provider's id.
        client: the browser.
        slowest: seconds the broker's slowest answer took.
    """

    people: People
    idp: str
    client: httpx.AsyncClient
    slowest: float = field(default=0.0)

    async def open(self, url: str) -> httpx.Response:
        started = time.monotonic()
        response = await self.client.get(url)
        if url.startswith(self.people.broker.program.public):
            self.slowest = max(self.slowest, time.monotonic() - started)
        self.people.record.add_secrets(secrets_in(response.headers))
        return response

    async def to_callback(self) -> httpx.Response:
        """Return the provider's answer, which leads to the callback, or the broker's refusal before that."""
        redirect = await self.open(f"{self.people.broker.program.public}/login?idp={self.idp}")
        return await self.open(redirect.headers["location"]) if redirect.has_redirect_location else redirect

    async def sign_in(self) -> httpx.Response:
        """Return the broker's last answer: a redirect to Comm100, or a page."""
        response = await self.to_callback()
        return await self.open(response.headers["location"]) if response.has_redirect_location else response


@asynccontextmanager
async def meeting_people(broker: RunningBroker, record: LogRecord) -> AsyncIterator[People]:
    """Open the pool of connections that all browsers share."""
    # aiohttp's pool, for httpx's own looks through all of its connections at every request.
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=False), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )
    async with session:
        yield People(broker, record, AiohttpTransport(client=session, verify=False, trust_env=False))


def assert_signed_in(response: httpx.Response) -> None:
    assert response.status_code == 303, response.text
    assert response.headers["location"].startswith(f"{COMM100}?jwt=")
