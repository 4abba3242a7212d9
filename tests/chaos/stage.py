"""Starts what a row needs, as real processes: two providers, replicas of the broker, and a proxy in front."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.people import Address
from tests.chaos.provider import CERTIFICATES
from tests.chaos.proxy import PROXIES, ProxyName, Upstream
from tests.chaos.row import Bench, NotMeasured
from tests.fakes.ports import free_port
from tests.fakes.processes import wait_until, without_broker_settings
from tests.fakes.world import SECRET_KEY, SHARED_SECRET
from tests.oidc.servers import Authority, new_authority
from tests.proxies.running import PATH, running

ENDPOINT = "http://127.0.0.1:9/AdminWebService/SSO/SSOJWTConsumer.aspx"  # a sign-in ends with a redirect to it
CLIENT_ID = "chaos-client"
ROOT = Path(__file__).parents[2]
SECONDS_TO_STOP = 40.0
SLOW_HOST = "idp-a.chaos.test"  # known to the shim alone

# Reads no certificates, and keeps no connection: a replica that stops would close it.
_PLAIN = httpx.Client(
    trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), limits=httpx.Limits(max_keepalive_connections=0)
)
Lookup = Literal["found", "no such name", "no answer"]
LOOKUPS: Mapping[Lookup, int] = {"found": 0, "no such name": 1, "no answer": 2}  # as c/shim.c names them


def client_secret(provider: str, number: int = 1) -> str:
    """Return a client secret."""
    return f"chaos-client-secret-{provider}-{number}-0123456789abcdef"


@dataclass(frozen=True)
class ProviderProcess:
    """A provider under way."""

    id: str
    issuer: str
    front_port: int
    process: subprocess.Popen[bytes]

    def order(self, name: str, **more: Any) -> Any:
        """Give an order: a method of `provider.Provider` and its arguments."""
        url = f"http://127.0.0.1:{self.front_port}/control"
        return _PLAIN.post(url, json={"do": name, **more}, timeout=30).raise_for_status().json()["result"]

    def fail(self, **faults: Any) -> None:
        """Take on faults instead of the present faults; without any, be honest."""
        self.order("fail", **faults)

    def count(self, what: str) -> int:
        """Return one of the counts."""
        return int(self.order("count").get(what, 0))


@dataclass
class Replica:
    """A replica: its settings file, its ports and its process.

    Args:
        prefix: a program and its arguments that run the replica.
        stdout: what takes the log instead of `stdout.txt`.
        environment: more variables.
    """

    folder: Path
    port: int
    operations_port: int
    prefix: Sequence[str] = ()
    stdout: BinaryIO | int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        """The settings file."""
        return self.folder / "broker.yaml"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def errors(self) -> str:
        """What the replica wrote to standard error."""
        return (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")

    def start(self, *, waits: bool = True) -> None:
        """Start the process, and wait until it answers."""
        command = [*self.prefix, sys.executable, "-m", "broker", "serve", "--config", str(self.file)]
        with (self.folder / "stdout.txt").open("ab") as output, (self.folder / "stderr.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdout=output if self.stdout is None else self.stdout,
                stderr=errors,
                cwd=self.folder,
                env=_environment(self.environment),
            )
        if waits:
            wait_until(self.is_up, f"the replica starts: {self.errors}")

    def is_up(self) -> bool:
        """Tell whether the replica answers; a replica that ended is a failure."""
        assert self.process is not None
        assert self.process.poll() is None, self.errors
        return self.status("/healthz") == 200

    def status(self, path: str, *, seconds: float = 5.0) -> int:
        """Return the status of an address of the operations port; 0 without an answer."""
        try:
            return self._ask(path, seconds).status_code
        except httpx.TransportError:
            return 0

    def _ask(self, path: str, seconds: float = 5.0) -> httpx.Response:
        return _PLAIN.get(f"http://127.0.0.1:{self.operations_port}{path}", timeout=seconds)

    def readiness(self) -> dict[str, Any]:
        """Return what /readyz says."""
        found: dict[str, Any] = self._ask("/readyz").json()
        return found

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the first sample with this name and these labels; None if there is none."""
        for family in text_string_to_metric_families(self._ask("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the log so far, or the lines of one event."""
        text = (self.folder / "stdout.txt").read_text(encoding="utf-8", errors="replace")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if event in (None, line.get("event"))]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = SECONDS_TO_STOP) -> int | None:
        """Send a signal, and return the exit status; None if the process does not end in time."""
        assert self.process is not None
        if self.process.poll() is None:
            self.send(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the process without a chance to do anything."""
        self.stop(signal.SIGKILL)

    def change_settings(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Write the settings file anew."""
        settings = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        change(settings)
        self.file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

    def set_orders(self, *, seconds_ahead: float = 0.0, lookup: Lookup = "found", seconds_skipped: float = 0.0) -> None:
        """Tell the shim where the clock stands, what a lookup gives, and how much waiting is skipped in all."""
        with (self.folder / "orders").open("r+b") as file:
            file.write(struct.pack("ddd", seconds_ahead, LOOKUPS[lookup], seconds_skipped))


@dataclass(frozen=True)
class Stage:
    """Everything a row plays with.

    Args:
        shared_secrets: those that Comm100 accepts; a row may change them.
    """

    folder: Path
    providers: Mapping[str, ProviderProcess]
    replicas: Sequence[Replica]
    address: Address
    shared_secrets: list[str]
    authorities: Mapping[str, Authority]

    @property
    def a(self) -> ProviderProcess:
        """The provider that is made to fail."""
        return self.providers["a"]

    @property
    def b(self) -> ProviderProcess:
        """The provider whose people must notice nothing."""
        return self.providers["b"]

    def secret(self, name: str) -> Path:
        """Return a secret's file."""
        return self.folder / "secrets" / name

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event in the logs of all replicas."""
        return [line for replica in self.replicas for line in replica.lines(event)]


@contextmanager
def staged(
    bench: Bench,
    *,
    count: int = 1,
    proxy: ProxyName | None = None,
    is_a_down: bool = False,
    shimmed: bool = False,
    has_c: bool = False,
    starts: bool = True,
    prefix: Sequence[str] = (),
    stdout: BinaryIO | int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Stage]:
    """Run providers, replicas and a proxy while the block runs.

    Args:
        count: of replicas; without a proxy, people go to the first.
        is_a_down: provider a does not listen at its back port yet.
        shimmed: replicas run with the shim, and provider a has a name.
        has_c: settings have a provider c, which is provider a under another id.
        starts: start the replicas; they wait until metadata and keys are there.
        settings: more settings at the top.
    """
    shim = bench.needs_shim() if shimmed else None
    folder = bench.folder
    folder.mkdir(parents=True, exist_ok=True)
    authorities = _write_secrets(folder)
    public = free_port()
    with ExitStack() as stack:
        host = SLOW_HOST if shimmed else "127.0.0.1"
        providers = {
            "a": stack.enter_context(_provider(folder, "a", host, is_down=is_a_down)),
            "b": stack.enter_context(_provider(folder, "b", "127.0.0.1", is_down=False)),
        }
        for provider in providers.values():
            wait_until(partial(_answers, provider), "the provider starts")
        common = _settings(folder, providers, public) | dict(settings or {})
        if has_c:
            common["identity_providers"]["c"] = common["identity_providers"]["a"]
        ports = [free_port() if proxy or number else public for number in range(count)]
        replicas = [Replica(folder / f"replica-{port}", port, free_port(), prefix, stdout) for port in ports]
        for replica in replicas:
            _configure(replica, common)
            stack.callback(_end, replica)
            if shim is not None:
                _preload(replica, shim)
        if starts:
            start_all(replicas, wait_for_a=not is_a_down)
        if proxy is not None:
            needs_program(proxy.partition(" ")[0])
            upstreams = [Upstream(replica.port, replica.operations_port) for replica in replicas]
            stack.enter_context(running(PROXIES[proxy](upstreams), folder, public, 0))
        fronts = {each.issuer.partition("//")[2]: each.front_port for each in providers.values()}
        shared_secrets = [SHARED_SECRET]
        address = Address(public, fronts, ENDPOINT, shared_secrets)
        yield Stage(folder, providers, replicas, address, shared_secrets, authorities)


def start_all(replicas: Sequence[Replica], *, wait_for_a: bool = True) -> None:
    """Start replicas, and wait until they have the documents of the providers."""
    for replica in replicas:
        replica.start(waits=False)
    wanted = ["a", "b"] if wait_for_a else ["b"]
    for replica in replicas:
        wait_until(replica.is_up, "the replica starts")
        wait_until(partial(has_documents, replica, wanted), "the documents are there")


def has_documents(replica: Replica, providers: Sequence[str]) -> bool:
    """Tell whether a replica has metadata and keys of these providers."""
    states = [replica.readiness()["identity_providers"][each] for each in providers]
    return not any("missing" in (state["metadata"], state["keys"]) for state in states)


def _end(replica: Replica) -> None:
    if replica.process is not None and replica.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            replica.send(signal.SIGCONT)
        if replica.stop(seconds=15) is None:
            replica.kill()


def _write_secrets(folder: Path) -> dict[str, Authority]:
    authorities = {"usual": new_authority(), "other": new_authority()}
    hosts = ("127.0.0.1", SLOW_HOST)
    for name in CERTIFICATES:
        (folder / "certificates" / name).mkdir(parents=True)
        authority = authorities["other" if name == "other" else "usual"]
        authority.context(folder / "certificates" / name, *hosts, days=-1 if name == "expired" else 2)
    secrets = folder / "secrets"
    secrets.mkdir()
    authorities["usual"].write(secrets / "ca.pem")
    texts = {
        "keys": SECRET_KEY,
        "comm100": SHARED_SECRET,
        "client_a": client_secret("a"),
        "client_b": client_secret("b"),
    }
    for name, text in texts.items():
        (secrets / name).write_text(text, encoding="utf-8")
    return authorities


@contextmanager
def _provider(folder: Path, name: str, host: str, *, is_down: bool) -> Iterator[ProviderProcess]:
    front, back = free_port(), free_port()
    issuer = f"https://{host}:{back}"
    command = [sys.executable, "-m", "tests.chaos.provider", f"--issuer={issuer}", f"--client-id={CLIENT_ID}"]
    command += [f"--client-secret={client_secret(name)}", f"--front-port={front}", f"--back-port={back}"]
    command += [f"--certificates={folder / 'certificates'}", *(["--is-down"] if is_down else [])]
    process = subprocess.Popen(command, cwd=ROOT, env=_environment({}))
    try:
        yield ProviderProcess(name, issuer, front, process)
    finally:
        process.kill()
        process.wait()


def _answers(provider: ProviderProcess) -> bool:
    assert provider.process.poll() is None, "the provider ended"
    try:
        provider.order("count")
    except httpx.TransportError:
        return False
    return True


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without coverage, which makes a process several times as slow."""
    kept = {name: text for name, text in without_broker_settings().items() if not name.startswith("COVERAGE_")}
    return {**kept, **more}


def _settings(folder: Path, providers: Mapping[str, ProviderProcess], public: int) -> dict[str, Any]:
    secrets = folder / "secrets"
    return {
        "public_url": f"http://127.0.0.1:{public}",
        "secret_keys_file": str(secrets / "keys"),
        "trusted_ca_file": str(secrets / "ca.pem"),
        "trusted_proxies": ["127.0.0.1/32"],
        "shared_email_domains": True,
        "sites": {"main": {"endpoint": ENDPOINT, "shared_secret_file": str(secrets / "comm100")}},
        "identity_providers": {
            each.id: {
                "preset": "oidc",
                "issuer": each.issuer,
                "client_id": CLIENT_ID,
                "client_secret_file": str(secrets / f"client_{each.id}"),
                "email_domains": ["acme.example"],
            }
            for each in providers.values()
        },
    }


def _configure(replica: Replica, settings: Mapping[str, Any]) -> None:
    replica.folder.mkdir()
    addresses = {"listen": f"127.0.0.1:{replica.port}", "operations_listen": f"127.0.0.1:{replica.operations_port}"}
    replica.file.write_text(yaml.safe_dump({**settings, **addresses}, sort_keys=False), encoding="utf-8")


def _preload(replica: Replica, shim: Path) -> None:
    orders = replica.folder / "orders"
    orders.write_bytes(bytes(24))
    replica.environment = {"LD_PRELOAD": str(shim), "CHAOS_ORDERS": str(orders)}


def needs_program(name: str) -> None:
    """Make sure that a program is installed.

    Raises:
        NotMeasured: it is not.
    """
    if shutil.which(name, path=PATH) is None:
        raise NotMeasured(f"{name} is not installed")


def descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of another process


def until(holds: Callable[[], bool], seconds: float, *, step: float = 0.05) -> float | None:
    """Wait until something holds; return the seconds it took, or None if it did not hold in time."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if holds():
            return time.monotonic() - began
        time.sleep(step)
    return None
