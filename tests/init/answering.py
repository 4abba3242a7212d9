"""The other sides of `broker init`, in memory: a person who answers questions, and providers to be asked."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import typer
from typer.testing import CliRunner

from broker.init import NotWritten, Probe, Request, Written, set_up
from broker.oidc.client import ClientFactory, NetworkPolicy
from broker.settings import Settings, load_settings
from tests.fakes.provider import FakeProvider

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
ENDPOINT = "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx"
SHARED_SECRET = "NTc4ZDk2YzQtMjU1Mi00YzFhLTk0ZjQtMGE3ZDkyMmQ1ZjE3"
CLIENT_SECRET = "client-secret-of-nobody-4711"

GIVEN: Mapping[str, str] = {
    "public_url": "https://sso.acme.example",
    "preset": "oidc",
    "issuer": "https://idp.example",
    "id": "oidc",
    "client_id": "client-1",
    "client_secret": CLIENT_SECRET,
    "email_domains": "acme.example",
    "endpoint": ENDPOINT,
    "shared_secret": SHARED_SECRET,
}


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation that has ended.

    Args:
        words: everything on the screen, in one line.
        written: None if nothing was written.
    """

    words: str
    written: Written | None

    @property
    def settings(self) -> Settings:
        """What was written, as `broker serve` loads it."""
        assert self.written is not None, self.words
        return load_settings(self.written.files[-1], {})


def talk(request: Request, answers: Sequence[tuple[str, str]], probe: Probe | None = None) -> Talk:
    """Let a person answer exactly these questions.

    Args:
        answers: how the question begins, and what the person types.
    """
    written: list[Written] = []
    app = typer.Typer()

    @app.command()
    def init() -> None:
        try:
            written.append(set_up(replace(request, interactive=True), probe))
        except NotWritten as reason:
            typer.echo(str(reason))
        assert sys.stdin.read() == "", "an answer was not asked for"

    typed = "".join(f"{text}\n" for _, text in answers)
    result = CliRunner().invoke(app, input=typed, env={"COLUMNS": "80"}, catch_exceptions=False)
    place = 0
    for question, _ in answers:
        asked = re.compile(rf"^{re.escape(question)}.*: ", re.MULTILINE).search(result.output, place)
        assert asked is not None, f"{question}\n{result.output}"
        place = asked.end()
    assert result.exit_code == 0, result.output  # 1: there was a question more than there are answers
    return Talk(" ".join(result.output.split()), written[0] if written else None)


def looking(*providers: FakeProvider, pages: Mapping[str, Callable[[], httpx.Response]] | None = None) -> Probe:
    """Return a probe of a world in which only these providers and pages exist; pages by their address."""

    async def answer(request: httpx.Request) -> httpx.Response:
        page = (pages or {}).get(str(request.url))
        if page is not None:
            return page()
        for provider in providers:
            if request.url.netloc.decode() == provider.host:
                answered = await provider.handle(request)
                return httpx.Response(
                    answered.status_code, headers=answered.headers, stream=httpx.ByteStream(answered.content)
                )
        raise httpx.ConnectError(f"no such host: {request.url.host}")

    return Probe(_clients(answer))


def document(issuer: str, **more: Any) -> Callable[[], httpx.Response]:
    """Return a page with a discovery document."""
    members = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        **more,
    }
    made = httpx.Response(200, json=members)
    return lambda: httpx.Response(200, headers=made.headers, stream=httpx.ByteStream(made.content))


def _clients(answer: Callable[[httpx.Request], Any]) -> ClientFactory:
    @asynccontextmanager
    async def opened(_reach: NetworkPolicy) -> AsyncIterator[httpx.AsyncBaseTransport]:
        yield httpx.MockTransport(answer)

    return opened
