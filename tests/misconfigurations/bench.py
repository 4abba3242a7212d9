"""A set-up that works, on real sockets or in memory, for a row to break; and what an admin is told first about it.

On sockets (`Bench`) the settings are read and `broker check` runs; in memory (`SignIn`) an admin tests a sign-in from
the setup page. Both say nothing (`None`) of a set-up that is right.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import yaml

from broker.check_runs import run_checks
from broker.checks import PAGE_MARK, unusable_settings
from broker.demo.comm100 import ENDPOINT_PATH
from broker.errors import SettingsError
from broker.settings import load_settings
from tests.fakes.admin import link_for, run_dry_run, text_of
from tests.fakes.clock import Clock
from tests.fakes.hostile_server import as_bytes
from tests.fakes.provider import FakeProvider
from tests.fakes.world import BROKER, PAGE, SHARED_SECRET, World
from tests.misconfigurations.vendors import SECRET, make, section_of
from tests.oidc.servers import Talk, new_authority, ok, serving

_OWN_KEY = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"


@dataclass(frozen=True)
class Said:
    """What an admin reads first.

    Args:
        where: `settings`, the name of a check, `test sign-in` or `setup page`.
        text: what is wrong.
        remedy: what to do.
    """

    where: str
    text: str
    remedy: str


@dataclass
class Bench:
    """A set-up on loopback: a provider, Comm100, and our own public address, each on a socket of its own.

    Args:
        folder: with the settings file and the secrets.
        provider: honest, of one kind.
        settings: right, until a row changes them.
        endpoint: of Comm100, the right one.
        names: what each socket stands for, by its address.
        offline: only what needs no network is asked.
        clock_behind: seconds by which this machine is behind the provider.
        front: what answers at public_url.
        proxy: what the same socket answers as a proxy that is asked for a connection.
        rewrite: alters the settings file's text.
    """

    folder: Path
    provider: FakeProvider
    settings: dict[str, Any]
    endpoint: str
    names: Mapping[str, str]
    offline: bool = False
    clock_behind: float = 0
    front: bytes = ok(PAGE_MARK)
    proxy: bytes = ok(b"", status="407 Proxy Authentication Required")
    rewrite: Callable[[str], str] = str

    @property
    def idp(self) -> dict[str, Any]:
        """The provider's settings."""
        section: dict[str, Any] = self.settings["identity_providers"]["idp"]
        return section

    @property
    def site(self) -> dict[str, Any]:
        """The site's settings."""
        section: dict[str, Any] = self.settings["sites"]["main"]
        return section

    def write(self, name: str, text: str) -> None:
        """Put a secret into its file."""
        (self.folder / name).write_text(f"{text}\n", encoding="utf-8")

    def in_production(self) -> None:
        """Move to addresses as an admin has them; they are only looked at, for they do not exist."""
        self.offline = True
        self.settings["public_url"] = "https://sso.acme.example"
        self.site["endpoint"] = f"https://acme.comm100.com{ENDPOINT_PATH}"
        if self.idp["preset"] == "entra":
            del self.idp["issuer"]
        else:
            self.idp["issuer"] = "https://acme.okta.com"

    async def ask(self, *, with_unknown: bool = False) -> Said | None:
        """Read the settings and run the checks; what a provider does not tell counts only where it is asked for."""
        path = self.folder / "broker.yaml"
        path.write_text(self.rewrite(yaml.safe_dump(self.settings, sort_keys=False)), encoding="utf-8")
        try:
            settings = load_settings(path, {})
        except SettingsError as error:
            first = unusable_settings(error.mistakes)[0]
            return Said("settings", first.message, first.remedy)
        findings = await run_checks(settings, offline=self.offline, begin=lambda *_: None)
        # That public_url has no TLS is this bench's own doing.
        told = [one for one in findings if "public_url_without_tls" not in one.message]
        unknown = ["unknown"] if with_unknown else []
        told = [one for one in told if one.check != "client_secret_expiry" or one.status != "unknown"]
        for status in ("failed", "warning", *unknown):
            for one in told:
                if one.status == status:
                    return Said(one.check, one.message, one.remedy)
        return None


@asynccontextmanager
async def bench(kind: str, folder: Path, *, tls: bool = False, critical: bool = True) -> AsyncIterator[Bench]:
    """Run a set-up that works.

    Args:
        kind: of provider.
        folder: for its files.
        tls: the provider speaks TLS, with a certificate of an authority of its own in `ca.pem`.
        critical: that authority's basicConstraints are.
    """
    made: list[Bench] = []

    async def provider(raw: bytes, writer: asyncio.StreamWriter) -> None:
        date = formatdate(time.time() + made[0].clock_behind, usegmt=True)
        writer.write(as_bytes(await made[0].provider.handle(_request(raw)), date=date))

    async def comm100(raw: bytes, writer: asyncio.StreamWriter) -> None:
        found = _request(raw).url.path == ENDPOINT_PATH
        writer.write(ok(b"Token is missing.", status="200 OK" if found else "404 Not Found"))

    async def front(raw: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(made[0].proxy if raw.startswith(b"CONNECT ") else made[0].front)

    authority = new_authority(critical=critical) if tls else None
    if authority is not None:
        authority.write(folder / "ca.pem")
    async with AsyncExitStack() as stack:

        async def port(talk: Talk, context: ssl.SSLContext | None = None) -> str:
            server = await stack.enter_async_context(serving(talk, tls=context))
            return f"http{'s' if context else ''}://127.0.0.1:{server.port}"

        base = await port(provider, authority.context(folder, "127.0.0.1", days=300) if authority else None)
        honest = make(kind, base, time.time)
        endpoint = f"{await port(comm100)}{ENDPOINT_PATH}"
        settings: dict[str, Any] = {
            "public_url": await port(front),
            "secret_keys_file": "broker-keys",
            "sites": {"main": {"endpoint": endpoint, "shared_secret_file": "comm100-secret"}},
            "identity_providers": {"idp": section_of(kind, honest, client_secret_file="client-secret")},
        }
        honest.redirect_uris = [f"{settings['public_url']}/callback/idp"]
        names = {
            base: "https://id.acme.example",
            settings["public_url"]: "https://sso.acme.example",
            endpoint.removesuffix(ENDPOINT_PATH): "https://acme.comm100.com",
        }
        made.append(Bench(folder, honest, settings, endpoint, names))
        for name, text in {"broker-keys": _OWN_KEY, "comm100-secret": SHARED_SECRET, "client-secret": SECRET}.items():
            made[0].write(name, text)
        yield made[0]


@dataclass
class SignIn:
    """A set-up in memory, where a person signs in.

    Args:
        world: the broker, the provider and Comm100.
        page: where Comm100 wants the person to arrive.
        names: as in `Bench`.
    """

    world: World
    page: str = PAGE
    names: Mapping[str, str] = field(default_factory=lambda: {"https://idp.example": "https://id.acme.example"})

    @property
    def idp(self) -> dict[str, Any]:
        """The provider's settings."""
        section: dict[str, Any] = self.world.settings["identity_providers"]["idp"]
        return section

    async def ask(self) -> Said | None:
        """Test a sign-in from the setup page; then let Comm100 call, and look at what the setup page says of that."""
        async with self.world.broker() as service:
            browser = self.world.browser(service)
            lines = text_of(await run_dry_run(browser)).splitlines()
            if "Reason" in lines:
                reason, expected, got = (_behind(name, lines) for name in ("Reason", "Expected", "Got"))
                return Said(
                    "test sign-in", f"{reason}: expected {expected}, got {got}", _behind("What to do next", lines)
                )
            assert any(line.startswith("Admitted as") for line in lines)
            await browser.open(f"{BROKER}/login", redirect_url=self.page)
            lines = text_of(await browser.open(f"{BROKER}/setup", link=link_for(self.world))).splitlines()
        outcome, host = _behind("Outcome", lines), _behind("Host in redirect_url", lines)
        if outcome == "accepted":
            return None
        return Said("setup page", f"{outcome}, with {host} in redirect_url", _behind("To do", lines))


def sign_in(kind: str, folder: Path) -> SignIn:
    """Make a small world with a provider of this kind."""
    world = World(folder, Clock())
    world.provider = make(kind, "https://idp.example", world.clock)
    world.providers = [world.provider]
    world.settings["identity_providers"]["idp"] = section_of(kind, world.provider, client_secret=SECRET)
    return SignIn(world)


def without_particulars(said: Said, folder: Path, names: Mapping[str, str]) -> Said:
    """Leave out what differs from run to run and from machine to machine: ports, folders, the system's words.

    Args:
        said: as it came.
        folder: of the settings.
        names: what each socket stands for, by its address.
    """

    def redact(text: str) -> str:
        for address, name in {str(folder): "/etc/broker", **names}.items():
            text = text.replace(address, name)
        text = re.sub(r"\b127\.0\.0\.1, port \d+", "id.acme.example, port 8443", text)
        text = text.replace("127.0.0.1", "id.acme.example")
        return re.sub(r"(cannot be resolved) \([^)]*\)|(unknown authority): [^.]*", r"\1\2", text)

    return Said(said.where, redact(said.text), redact(said.remedy))


def _behind(name: str, lines: list[str]) -> str:
    return lines[lines.index(name) + 1]


def _request(raw: bytes) -> httpx.Request:
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
    return httpx.Request(method, f"http://{dict(headers).get('Host', 'x')}{target}", headers=headers, content=body)
