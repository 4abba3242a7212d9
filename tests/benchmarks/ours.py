"""Starts the broker for the benchmark: `broker serve` from its wheel, in an environment of its own."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tests.benchmarks.contestants import Peer, Running, Setting
from tests.benchmarks.peers.launching import launched
from tests.fakes.ports import free_port
from tests.fakes.world import SECRET_KEY

ROOT = Path(__file__).parents[2]
BENCHMARK_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
DISTRIBUTIONS = ("starlette", "uvicorn", "httptools", "httpx", "joserfc", "cryptography", "pyjwt")


@dataclass(frozen=True)
class Ours:
    """A running broker."""

    running: Running
    operations_port: int


def ours_peer(python: Path) -> Peer:
    """Return the broker as it is installed for an interpreter."""
    return Peer("ours", partial(_versions, python), partial(_start, python))


@contextmanager
def running_ours(setting: Setting, *, python: Path = BENCHMARK_PYTHON) -> Iterator[Ours]:
    """Run the broker until the block ends; it answers when the block begins."""
    public_port, operations_port = free_port(), free_port()
    file = setting.folder / "broker.yaml"
    file.write_text(yaml.safe_dump(settings_of(setting, public_port, operations_port)), encoding="utf-8")
    command = [str(python), "-m", "broker", "serve", "--config", str(file)]
    with launched(command, operations_port, setting.folder, setting.core) as pid:
        with urllib.request.urlopen(f"http://127.0.0.1:{operations_port}/healthz", timeout=30):
            pass
        yield Ours(Running(f"http://127.0.0.1:{public_port}/login", pid), operations_port)


@contextmanager
def _start(python: Path, setting: Setting) -> Iterator[Running]:
    with running_ours(setting, python=python) as ours:
        yield ours.running


def _versions(python: Path) -> str:
    program = (
        "from importlib import metadata; import sys;"
        f"print('Python', sys.version.split()[0], *(f', {{n}} {{metadata.version(n)}}' for n in {DISTRIBUTIONS}))"
    )
    found = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    return found.replace(" ,", ",")


def settings_of(setting: Setting, public_port: int, operations_port: int) -> dict[str, object]:
    """Return the broker's settings."""
    settings: dict[str, object] = {
        "public_url": f"http://127.0.0.1:{public_port}",
        "listen": f"127.0.0.1:{public_port}",
        "operations_listen": f"127.0.0.1:{operations_port}",
        "secret_keys": [SECRET_KEY],
        "sites": {
            "main": {
                "endpoint": setting.endpoint,
                "shared_secret": setting.shared_secret,
                "redirect_hosts": ["dash11.comm100.example"],
            }
        },
        "identity_providers": {
            "idp": {
                "preset": "oidc",
                "issuer": setting.issuer,
                "client_id": setting.client_id,
                "client_secret": setting.client_secret,
                "email_domains": ["acme.example"],
            }
        },
    }
    if setting.ca_file is not None:
        settings["trusted_ca_file"] = str(setting.ca_file)
    return settings


OURS = ours_peer(BENCHMARK_PYTHON)
