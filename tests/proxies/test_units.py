"""Two units of the broker, set up as docs/admin/high-availability.md says: nobody notices that they restart."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import aiohttp
import httpx
import jwt
import pytest
import yaml
from httpx_aiohttp import AiohttpTransport

from tests.fakes.hostile_server import HostileProvider, hostile_provider
from tests.fakes.ports import free_port
from tests.fakes.processes import wait_until, without_broker_settings
from tests.fakes.provider import Person
from tests.fakes.world import SECRET_KEY, SHARED_SECRET, section_for
from tests.hostile.running import COMM100
from tests.proxies.running import Proxy, haproxy, nginx, running
from tests.test_unit_files import UNITS, environment

PAGE = (Path(__file__).parents[2] / "docs" / "admin" / "high-availability.md").read_text(encoding="utf-8")
RESTARTS = 6
PEOPLE_A_SECOND = 40.0


def shown(beginning: str) -> str:
    """Return the block of the page that begins with these words."""
    found = re.search(rf"^   ```\n(   {re.escape(beginning)}.*?)^   ```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, beginning
    return re.sub(r"^   ", "", found[1], flags=re.MULTILINE)


def with_ports(block: str, instances: Sequence[str]) -> str:
    """Return a block with the ports of these units in place of those of the units 01 and 02."""
    for written, instance in zip(("01", "02"), instances, strict=True):
        block = re.sub(rf"\b([89])0{written}\b", rf"\g<1>0{instance}", block)
    return block


def proxies(instances: Sequence[str]) -> dict[str, Proxy]:
    """Return the three proxies in front of these units, with the blocks of the page."""
    upstream, backend, caddy = (
        with_ports(shown(one), instances) for one in ("upstream broker", "backend broker", "reverse_proxy 127")
    )
    location = shown("proxy_pass http://broker;")

    def to_nginx(folder: Path, port: int, _: int) -> list[str]:
        http = f"""
            {upstream}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    {location}
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $remote_addr;
                }}
            }}
        """
        return nginx(folder, http)

    def to_haproxy(folder: Path, port: int, _: int) -> list[str]:
        return haproxy(folder, port, backend)

    def to_caddy(folder: Path, port: int, _: int) -> list[str]:
        site = f"http://:{port} {{\nbind 127.0.0.1\n{caddy}}}\n"
        (folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https off\n}}\n{site}")
        return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]

    return {"nginx": Proxy(to_nginx), "HAProxy": Proxy(to_haproxy), "Caddy": Proxy(to_caddy)}


def free_instances() -> list[str]:
    """Return two numbers of units whose ports are free."""

    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    numbers = (f"{number:02}" for number in range(11, 99))
    free = (one for one in numbers if is_free(int(f"80{one}")) and is_free(int(f"90{one}")))
    return list(itertools.islice(free, 2))


class Unit:
    """One instance of the template, run as systemd runs it: with the environment of the unit file."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._command = [sys.executable, "-m", "broker", "serve", "--config", str(folder / "broker.yaml")]
        self._environment = without_broker_settings(**environment(UNITS["broker@.service"], instance))
        self._output = folder / f"{instance}.txt"
        self._operations = f"http://127.0.0.1:90{instance}/readyz"
        self._process = self._start()

    def _start(self) -> Popen[bytes]:
        with self._output.open("ab") as output:
            process = Popen(self._command, stdout=output, stderr=output, env=self._environment)
        wait_until(lambda: self._is_ready(process), "the unit is ready")
        return process

    def _is_ready(self, process: Popen[bytes]) -> bool:
        assert process.poll() is None, self._output.read_text(encoding="utf-8")
        try:
            return b"missing" not in httpx.get(self._operations, trust_env=False).raise_for_status().content
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0

    def restart(self) -> None:
        """Do what `systemctl restart` and the wait for /readyz do."""
        self.stop()
        self._process = self._start()


@contextmanager
def two_units(folder: Path, settings: dict[str, Any], instances: Sequence[str]) -> Iterator[list[Unit]]:
    (folder / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with ExitStack() as stack:
        units = []
        for instance in instances:
            units.append(Unit(folder, instance))
            stack.callback(units[-1].stop)
        yield units


def settings_of(provider: HostileProvider, port: int) -> dict[str, Any]:
    return {
        "public_url": f"http://127.0.0.1:{port}",
        "secret_keys": [SECRET_KEY],
        "trusted_proxies": ["127.0.0.1/32"],
        "sites": {"main": {"endpoint": COMM100, "shared_secret": SHARED_SECRET}},
        "identity_providers": {"idp": section_for(provider.honest)},
    }


async def sign_in(port: int, provider: HostileProvider, transport: AiohttpTransport, number: int) -> str:
    """Let a person sign in; return what was wrong, or nothing."""
    client = httpx.AsyncClient(transport=transport, timeout=60, trust_env=False)
    departed = await client.get(f"http://127.0.0.1:{port}/login")
    if departed.status_code != 303:
        return f"/login: {departed.status_code}"
    email = f"agent{number}@acme.example"
    provider.honest.person = Person(f"sub-{number}", {"email": email, "email_verified": True, "name": "A"})
    authorized = await provider.honest.handle(httpx.Request("GET", departed.headers["location"]))
    arrived = await client.get(authorized.headers["location"])
    location = httpx.URL(arrived.headers.get("location", ""))
    if arrived.status_code != 303 or "jwt" not in location.params:
        return f"/callback: {arrived.status_code}"
    claims = jwt.decode(location.params["jwt"], SHARED_SECRET, ["HS256"], audience="Comm100")
    return "" if claims["email"] == email else "the token of another person"


def restart_in_turn(units: Sequence[Unit], done: Callable[[], None]) -> None:
    """Restart one unit after the other without a pause, as the loop of the page does."""
    try:
        for unit in itertools.islice(itertools.cycle(units), RESTARTS):
            unit.restart()
    finally:
        done()


@pytest.mark.parametrize("name", ["nginx", "HAProxy", "Caddy"])
async def test_nobody_notices_that_two_units_restart_one_after_the_other(name: str, tmp_path: Path) -> None:
    port, instances = free_port(), free_instances()
    outcomes: list[asyncio.Task[str]] = []
    async with (
        hostile_provider() as provider,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session,
    ):
        transport = AiohttpTransport(client=session, trust_env=False)
        with ExitStack() as stack:
            units = await asyncio.to_thread(
                stack.enter_context, two_units(tmp_path, settings_of(provider, port), instances)
            )
            stack.enter_context(running(proxies(instances)[name], tmp_path, port, 0))
            await asyncio.sleep(2)  # until HAProxy has checked both units
            finished = threading.Event()
            restarting = asyncio.create_task(asyncio.to_thread(restart_in_turn, units, finished.set))
            began = time.monotonic()
            while not finished.is_set():
                outcomes.append(asyncio.create_task(sign_in(port, provider, transport, len(outcomes))))
                await asyncio.sleep(1 / PEOPLE_A_SECOND)
            await restarting
            seconds = time.monotonic() - began
            counted = Counter(await asyncio.gather(*outcomes))
            await asyncio.to_thread(stack.close)
    failed = {what: count for what, count in counted.items() if what}
    print(f"{name}: {RESTARTS} restarts in {seconds:.0f} s, {len(outcomes)} sign-ins, failed: {failed or 0}")
    assert failed == {}
