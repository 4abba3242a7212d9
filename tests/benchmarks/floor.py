"""Starts the floor: the same work in C with the least around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from tests.benchmarks.contestants import Peer, Running, Setting
from tests.benchmarks.peers.launching import launched
from tests.benchmarks.programs import Programs, compiler_versions
from tests.benchmarks.stub import Stub
from tests.fakes.ports import free_port


def floor_peer(programs: Programs, stub: Stub) -> Peer:
    """Return the floor for one stub provider: it is given the key instead of fetching it."""
    return Peer("C floor", compiler_versions, partial(_start, programs, stub))


@contextmanager
def _start(programs: Programs, stub: Stub, setting: Setting) -> Iterator[Running]:
    port = free_port()
    arguments: dict[str, object] = {
        "port": port,
        "provider": urlsplit(setting.issuer).port,
        "issuer": setting.issuer,
        "client_id": setting.client_id,
        "client_secret": setting.client_secret,
        "shared_secret": setting.shared_secret,
        "endpoint": setting.endpoint,
        "public_key": stub.public_key,
    }
    if setting.ca_file is not None:
        arguments["ca_file"] = setting.ca_file
    command = [str(programs.floor), *(f"{name}={value}" for name, value in arguments.items())]
    with launched(command, port, setting.folder, setting.core) as pid:
        yield Running(f"http://127.0.0.1:{port}/login", pid)
