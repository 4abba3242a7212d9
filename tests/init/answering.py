"""The other sides of `broker init`, in memory: somebody who answers questions, and providers to be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from broker.init.probe import NetworkProbe
from broker.oidc.client import ClientFactory, NetworkPolicy
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


@dataclass
class Somebody:
    """A person who has an answer for each question, in this order, and is asked nothing else.

    Args:
        answers: how the question begins, and what they type; yes and no are True and False.
    """

    answers: list[tuple[str, str | bool]]
    heard: list[str] = field(default_factory=list)
    proposed: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """All they were told."""
        return "\n".join(self.heard)

    def head(self, text: str) -> None:
        self.heard.append(text)

    def say(self, text: str = "") -> None:
        self.heard.append(text)

    def show(self, text: str) -> None:
        self.heard.append(text)

    def ask(self, what: str, *, default: str = "", hidden: bool = False) -> str:
        answer = self._next(what)
        assert isinstance(answer, str)
        assert hidden == ("secret" in what)
        self.proposed[what] = default
        return answer or default

    def agree(self, question: str, *, default: bool) -> bool:
        answer = self._next(question)
        return default if answer == "" else answer is True

    def _next(self, question: str) -> str | bool:
        self.heard.append(question)
        assert self.answers, f"{question}\n{self.words}"
        expected, answer = self.answers.pop(0)
        assert question.startswith(expected), f"{question}, not {expected}\n{self.words}"
        return answer


def looking(*providers: FakeProvider, pages: Mapping[str, Callable[[], httpx.Response]] | None = None) -> NetworkProbe:
    """Return a look at a world in which these providers and pages are all there is; pages by their address."""

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

    return NetworkProbe(_clients(answer))


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
    async def opened(_reach: NetworkPolicy) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            yield client

    return opened
