"""Runs the stub provider, over TLS or plain http."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import RSAKey

from tests.benchmarks.programs import Programs
from tests.fakes.ports import free_port
from tests.fakes.processes import wait_until
from tests.oidc.servers import new_authority

CLIENT_ID = "benchmark"  # letters and digits: the products encode other characters differently
CLIENT_SECRET = "benchmarkclientsecret0123456789abcdef"
KEY_ID = "key-1"
DAYS = 2


@dataclass(frozen=True)
class Stub:
    """A running stub provider.

    Args:
        control: The plain port for the load generator.
        ca_file: None over plain http.
        public_key: Verifies the ID tokens, for the floor.
    """

    issuer: str
    port: int
    control: int
    ca_file: Path | None
    public_key: Path

    def set_delay(self, milliseconds: float) -> None:
        """Answer each call for token and userinfo that much later."""
        self._ask(f"/delay?ms={milliseconds}")

    def counts(self) -> dict[str, int]:
        """Return how many calls of each kind came."""
        found: dict[str, int] = json.loads(self._ask("/counts"))
        return found

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}{path}", timeout=10) as response:
            body: bytes = response.read()
        return body


@contextmanager
def running_stub(programs: Programs, folder: Path, core: int, *, tls: bool) -> Iterator[Stub]:
    """Run the provider on one core while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    port, control = free_port(), free_port()
    public_key = _write_keys(folder)
    ca_file = _write_certificates(folder) if tls else None
    issuer = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    arguments = {
        "issuer": issuer,
        "port": port,
        "control": control,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "key": folder / "key.pem",
        "kid": KEY_ID,
        "jwks": folder / "jwks.json",
    }
    if tls:
        arguments |= {"certificate": folder / "server.pem", "certificate_key": folder / "server.pem"}
    command = [str(programs.provider), *(f"{name}={value}" for name, value in arguments.items())]
    process = subprocess.Popen(["taskset", "--cpu-list", str(core), *command])
    stub = Stub(issuer, port, control, ca_file, public_key)
    try:
        wait_until(lambda: _answers(process, stub), "the stub provider starts")
        yield stub
    finally:
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], stub: Stub) -> bool:
    assert process.poll() is None, "the stub provider ended"
    try:
        stub.counts()
    except OSError:
        return False
    return True


def _write_keys(folder: Path) -> Path:
    key = RSAKey.generate_key(2048, {"kid": KEY_ID, "use": "sig", "alg": "RS256"}, auto_kid=False)
    (folder / "key.pem").write_bytes(key.as_pem(private=True))
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}), encoding="utf-8")
    public_key = folder / "public_key.pem"
    public_key.write_bytes(key.as_pem(private=False))
    return public_key


def _write_certificates(folder: Path) -> Path:
    """Write the authority's certificate, and the server's with its key to `server.pem`."""
    authority = new_authority()
    authority.context(folder, "127.0.0.1", days=DAYS)
    return authority.write(folder / "ca.pem")
