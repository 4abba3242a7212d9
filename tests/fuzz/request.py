"""What any request at all can do to the whole broker, wired as it runs, beside an honest provider.

This file owns what must hold of every answer. It knows one sign-in under way, and that nobody else does.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
from starlette.types import ASGIApp

from broker.errors import InternalError
from tests.fakes.clock import Clock
from tests.fakes.world import BROKER, ENDPOINT, PAGE, World
from tests.fuzz.wire import Reply, Request, ask, read_request

STATUSES = {200, 303, 400, 403, 404, 405, 413, 414, 431}
PLACEHOLDERS = (b"{state}", b"{code}", b"{cookie}", b"{issuer}")


@dataclass(frozen=True)
class UnderWay:
    """A sign-in whose person is about to come back from the provider.

    Args:
        state: as the provider sends it back.
        code: good for one ID token.
        cookie: name and value, as the browser sends it back.
    """

    state: str
    code: str
    cookie: str


async def begin(application: ASGIApp, world: World, query: str = "") -> UnderWay:
    """Begin a sign-in and let the provider sign the person in."""
    redirect = await ask(application, Request(b"/login?" + query.encode()))
    sent_back = await world.provider.handle(httpx.Request("GET", redirect.values(b"location")[0]))
    answer = dict(parse_qsl(urlsplit(sent_back.headers["location"]).query))
    return UnderWay(answer["state"], answer["code"], redirect.values(b"set-cookie")[0].partition(";")[0])


async def judge(application: ASGIApp, world: World, request: Request, under_way: UnderWay | None) -> Reply:
    """Return the answer, having checked that only the one sign-in under way can lead to a token."""
    for provider in world.providers:
        provider.requests.clear()
    reply = await ask(application, request)
    # A person can write the provider's excuse into the address themselves, but for their own sign-in alone.
    excused = reply.status == 503 and is_its_own(request, under_way)
    assert reply.status in STATUSES or excused, f"{reply.status}, with a provider that is honest"
    assert f"<code>{InternalError.code}</code>".encode() not in reply.body
    assert reply.values(b"x-content-type-options") == ["nosniff"]
    assert reply.values(b"cache-control") == ["no-store"]
    assert len(reply.values(b"content-security-policy")) == 1
    assert not reply.values(b"server")
    assert b"<script" not in reply.body.lower()
    assert not any({10, 13, 0} & set(name + value) for name, value in reply.headers)
    assert all(one.startswith(f"1;url={BROKER}/login") for one in reply.values(b"refresh"))
    locations = reply.values(b"location")
    assert len(locations) == (reply.status == 303)
    places = tuple(f"{provider.issuer}/authorize?" for provider in world.providers)
    assert all(one.startswith((*places, f"{ENDPOINT}?jwt=")) for one in locations)
    everything = reply.body + b"".join(name + value for name, value in reply.headers)
    hits = {path for provider in world.providers for path in provider.requests}
    if b"jwt=" in everything or hits & {"/token", "/userinfo"}:
        assert is_its_own(request, under_way), "a token, or a call to the provider, for a sign-in that is nobody's"
    if b"jwt=" in everything:
        assert hits >= {"/token", "/userinfo"}
        assert reply.body == b""
    return reply


def is_its_own(request: Request, under_way: UnderWay | None) -> bool:
    """Say whether this is a navigation that brings the sign-in's own state, and its own cookie."""
    states = [value for name, value in parse_qsl(request.query.decode("latin-1")) if name == "state"]
    cookies = [pair.strip() for line in request.values(b"cookie") for pair in line.decode("latin-1").split(";")]
    return (
        under_way is not None
        and request.method == "GET"
        and states == [under_way.state]
        and _worth(under_way.cookie) in map(_worth, cookies)
    )


def _worth(cookie: str) -> str:
    """Leave out the time in a cookie, which is the browser's to make up, and spare bits of base64."""
    name, _, value = cookie.partition("=")
    return f"{name}={value.partition('.')[2][:42]}"


@dataclass(frozen=True)
class Stage:
    """A broker that runs, its world, and the loop both run on."""

    runner: asyncio.Runner
    application: ASGIApp
    world: World

    def play(self, template: bytes) -> Reply:
        """Judge a request given as text.

        Args:
            template: `{state}`, `{code}`, `{cookie}` and `{issuer}` stand for what a sign-in under way has, never twice
                the same.
        """
        return self.runner.run(self._play(template))

    async def _play(self, template: bytes) -> Reply:
        under_way, data = None, template
        self.world.clock.advance(4)  # seconds, in which a rejected code is forgotten: the bound is not judged here
        if any(placeholder in template for placeholder in PLACEHOLDERS):
            # Every second one carries a page to return to.
            under_way = await begin(self.application, self.world, f"redirect_url={PAGE}" if len(template) % 2 else "")
            own = (under_way.state, under_way.code, under_way.cookie, self.world.provider.issuer)
            for placeholder, text in zip(PLACEHOLDERS, own, strict=True):
                data = data.replace(placeholder, text.encode())
        reply = await judge(self.application, self.world, read_request(data), under_way)
        for kept in (self.world.provider.grants, self.world.provider.access_tokens, self.world.provider.issued):
            kept.clear()
        return reply


@contextmanager
def stage() -> Iterator[Stage]:
    """Run a broker with two sites: one with one provider, one with two."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        world = World(Path(folder), Clock())
        world.add_provider()
        world.settings["sites"]["both"] = dict(world.settings["sites"]["main"])
        world.settings["sites"]["main"]["identity_providers"] = ["idp"]
        broker = world.broker()
        service = runner.run(broker.__aenter__())
        try:
            yield Stage(runner, service.public, world)
        finally:
            runner.run(broker.__aexit__(None, None, None))


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: a request as text (see `read_request`), with placeholders (see `Stage.play`)."""
    with stage() as playing:

        def one_input(data: bytes) -> None:
            playing.play(data)

        yield one_input
