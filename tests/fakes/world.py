"""A whole small world in memory: the broker under test, identity providers, Comm100, and a browser that reaches all.

The broker is the real one, wired by `create_app` from a real settings file. Only the other sides are fakes.
"""

from __future__ import annotations

import copy
import html
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from broker.app import Service, create_app
from broker.demo.comm100 import ENDPOINT_PATH, Agent, Received, create_comm100
from broker.errors import BrokerError
from broker.oidc.client import NetworkPolicy
from broker.settings import load_settings, read_authorities
from broker.watch import Intervals
from tests.fakes.clock import Clock
from tests.fakes.log_record import secrets_in
from tests.fakes.provider import FakeProvider, Person

BROKER = "https://sso.acme.example"
COMM100 = "https://acme.comm100.example"
ENDPOINT = f"{COMM100}{ENDPOINT_PATH}"
PAGE = f"{COMM100}/agentconsole?queue=vip"
SHARED_SECRET = "NTc4ZDk2YzQtMjU1Mi00YzFhLTk0ZjQtMGE3ZDkyMmQ1ZjE3"
EUROPEAN = Agent("emmy@acme-eu.example", "Emmy Noether")  # signs in at the second provider
SECRET_KEY = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"


def section_for(provider: FakeProvider, **keys: Any) -> dict[str, Any]:
    """Return the settings of one identity provider; `keys` replace or add."""
    section: dict[str, Any] = {
        "preset": "oidc",
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "email_domains": ["acme.example"],
        "signing_algorithms": [provider.algorithm],
    }
    if provider.client_secret is None:
        section["client_authentication"] = "none"
    else:
        section["client_secret"] = provider.client_secret
    return {**section, **keys}


def settings_for(provider: FakeProvider, **keys: Any) -> dict[str, Any]:
    """Return the settings of one identity provider and one site; `keys` go to the provider."""
    return {
        "public_url": BROKER,
        "secret_keys": [SECRET_KEY],
        "sites": {"main": {"endpoint": ENDPOINT, "shared_secret": SHARED_SECRET}},
        "identity_providers": {"idp": section_for(provider, **keys)},
    }


class World:
    """One broker, its providers by id, and Comm100.

    Args:
        folder: where the settings file goes.
        clock: everybody's.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.provider = FakeProvider("https://idp.example", clock)
        self.providers = [self.provider]
        self.settings = settings_for(self.provider)
        self.received: list[Received] = []
        self.comm100 = create_comm100(
            public_url=COMM100,
            agents=[Agent("ada@acme.example", "Ada Lovelace"), Agent("grace@acme.example", "Grace Hopper"), EUROPEAN],
            shared_secret=SHARED_SECRET,
            remote_login_url=f"{BROKER}/login",
            remote_logout_url=f"{BROKER}/logout",
            clock=clock,
            received=self.received,
        )
        self.intervals = Intervals()
        self.opened: list[NetworkPolicy] = []
        self.browsers: list[Browser] = []

    def secrets(self) -> list[str]:
        """Return every secret of this world that came up so far: none of them may be in a log."""
        ours = [SECRET_KEY, SHARED_SECRET]
        providers = [*self.providers, self.provider]  # a test may have put another in the first one's place
        theirs = [one for provider in providers for one in (provider.client_secret or "", *provider.issued)]
        seen = [one for browser in self.browsers for step in browser.steps for one in secrets_in(step.headers)]
        links = [step.url.params.get("link", "") for browser in self.browsers for step in browser.steps]
        return ours + theirs + seen + links

    def add_provider(self, identifier: str = "eu", **keys: Any) -> FakeProvider:
        """Add a second identity provider, with people and keys of its own; `keys` go to its settings."""
        provider = FakeProvider(f"https://{identifier}.example", self.clock, client_id=f"client-{identifier}")
        claims = {"email": EUROPEAN.email, "email_verified": True, "name": EUROPEAN.name}
        provider.person = Person(f"sub-{identifier}", claims)
        self.providers.append(provider)
        section = section_for(provider, **{"email_domains": ["acme-eu.example"], **keys})
        self.settings["identity_providers"][identifier] = section
        return provider

    @asynccontextmanager
    async def broker(self, clock: Clock | None = None, **changes: Any) -> AsyncIterator[Service]:
        """Run the broker with these settings; keys given replace top-level ones, `clock` the one everybody else has."""
        path = self.folder / "broker.yaml"
        path.write_text(yaml.safe_dump({**copy.deepcopy(self.settings), **changes}, sort_keys=False))
        clock = clock or self.clock
        settings = load_settings(path, {})
        async with create_app(
            settings,
            http=self._outbound,
            read_authorities=read_once,
            clock=clock,
            sleep=clock.sleep,
            intervals=self.intervals,
        ) as service:
            yield service

    @asynccontextmanager
    async def _outbound(self, network: NetworkPolicy) -> AsyncIterator[httpx.AsyncBaseTransport]:
        self.opened.append(network)
        yield httpx.MockTransport(self._provider_answer)

    async def _provider_answer(self, request: httpx.Request) -> httpx.Response:
        for provider in self.providers:
            if request.url.netloc.decode() == provider.host:
                return _unread(await provider.handle(request))
        raise httpx.ConnectError(f"no such host: {request.url.host}")

    def browser(self, service: Service) -> Browser:
        """Open a fresh browser: no cookies, no history."""
        browser = Browser(self, service)
        self.browsers.append(browser)
        return browser


def read_once(file: Path | None) -> ssl.SSLContext:
    """Read an admin's authorities anew and the public ones once: they take longer than most tests."""
    return _public_authorities() if file is None else read_authorities(file)


@cache
def _public_authorities() -> ssl.SSLContext:
    return read_authorities(None)


class Browser:
    """A person's browser: cookies, and every step it takes kept for looking at.

    Args:
        world: the hosts it can reach.
        service: the broker it meets; another one can be put in its place (another replica).
    """

    def __init__(self, world: World, service: Service) -> None:
        self.world = world
        self.service = service
        self.steps: list[httpx.Response] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer), follow_redirects=False)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.netloc.decode()
        if host == httpx.URL(BROKER).netloc.decode():
            return await httpx.ASGITransport(self.service.public).handle_async_request(request)
        if host == httpx.URL(COMM100).netloc.decode():
            return await httpx.ASGITransport(self.world.comm100).handle_async_request(request)
        return await self.world._provider_answer(request)  # noqa: SLF001 - one world

    async def open(self, url: str, **parameters: str) -> httpx.Response:
        """Open an address and stop at its answer."""
        response = await self.client.get(url, params=parameters or None)
        self.steps.append(response)
        return response

    async def follow(self, response: httpx.Response, *, until: str = "") -> httpx.Response:
        """Follow redirects to the end, or until the next address begins with `until`."""
        while response.has_redirect_location:
            target = str(response.url.join(response.headers["location"]))
            if until and target.startswith(until):
                return response
            response = await self.open(target)
        return response

    async def sign_in(self, **parameters: str) -> httpx.Response:
        """Go the whole way from the Remote Login URL to wherever it ends."""
        return await self.follow(await self.open(f"{BROKER}/login", **parameters))

    async def to_callback(self, **parameters: str) -> str:
        """Go to the provider and return the address it sends the browser back to, without opening it."""
        last = await self.follow(await self.open(f"{BROKER}/login", **parameters), until=f"{BROKER}/callback")
        return str(last.headers["location"])

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """Open an address with headers of our own making, `_` standing for `-`, and stop at its answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.get(url, headers=named)
        self.steps.append(response)
        return response

    def forget_cookies(self) -> None:
        """Lose all cookies, as a browser does that clears them."""
        self.client.cookies.clear()

    def broker_cookies(self) -> list[str]:
        """Return the names of the broker's cookies."""
        return [cookie.name for cookie in self.client.cookies.jar if cookie.domain == "sso.acme.example"]


def assert_refused(response: httpx.Response, error: type[BrokerError]) -> None:
    """Check that an answer is the error page of this very error, and that no token is on its way."""
    assert error_code(response) == error.code
    assert response.status_code == error.status
    assert "location" not in response.headers
    assert "jwt=" not in response.text + str(response.headers)
    assert response.headers["cache-control"] == "no-store"


def error_code(response: httpx.Response) -> str:
    """Read the error code on a page."""
    return _fact(response, "Error code")


def trace_id(response: httpx.Response) -> str:
    """Read the trace id on a page."""
    return _fact(response, "Trace id")


def start_again(response: httpx.Response) -> str | None:
    """Read where the button of an error page leads."""
    found = re.search(r'href="([^"]*)">Start again<', response.text)
    return html.unescape(found[1]) if found else None


def refresh(response: httpx.Response) -> str | None:
    """Read where the browser goes by itself after an error page."""
    return response.headers["refresh"].partition(";url=")[2] if "refresh" in response.headers else None


async def metrics(service: Service) -> str:
    """Read the metrics from the operations port."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.operations)) as client:
        return (await client.get("http://127.0.0.1:9000/metrics")).text


def signins_counted(exported: str) -> list[str]:
    """Return the series of sign-ins that are above 0; what failures would count is exported from the start."""
    return re.findall(r"^comm100_sso_signins_total\{.*\} (?!0\.0$).*$", exported, re.MULTILINE)


def _fact(response: httpx.Response, name: str) -> str:
    found = re.search(rf"<dt>{name}</dt><dd><code>([^<]*)</code>", response.text)
    assert found, f"no error page: {response.status_code} {response.text[:200]}"
    return found[1]


def _unread(response: httpx.Response) -> httpx.Response:
    """Return the answer as it comes from a wire: not yet read."""
    if response.is_stream_consumed:
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))
    return response
