"""The image as it runs in a cluster: nobody's user, no capability, nothing to write to, 128 MB."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from broker.demo.comm100 import ENDPOINT_PATH, Agent, Received, create_comm100
from tests.fakes.log_record import LogRecord
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, provider_site, served, wait_until
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SECRET_KEY, SHARED_SECRET, settings_for
from tests.image.building import Podman

MEGABYTES = 128
RESTRICTED = ("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--memory={MEGABYTES}m", "--pids-limit=64")
READ_ONLY = ("--read-only", "--read-only-tmpfs=false")
# podman's own bounds are higher than some machines let anybody set.
BOUNDS = ("--network=host", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
SIGN_INS = 50


@pytest.fixture
def provider(log_record: LogRecord) -> Iterator[FakeProvider]:
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    with served(provider_site(provider), urlsplit(provider.issuer).port):
        yield provider
    log_record.add_secrets(provider.issued)


@pytest.fixture
def received() -> list[Received]:
    """Return the list that Comm100 adds to, for each token that arrives."""
    return []


@pytest.fixture
def settings(provider: FakeProvider, received: list[Received]) -> Iterator[dict[str, Any]]:
    settings = settings_for(provider)
    public, site = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    settings["public_url"] = public
    settings["listen"] = urlsplit(public).netloc
    settings["operations_listen"] = f"127.0.0.1:{free_port()}"
    settings["sites"]["main"]["endpoint"] = site + ENDPOINT_PATH
    comm100 = create_comm100(
        public_url=site,
        agents=[Agent("ada@acme.example", "Ada Lovelace")],
        shared_secret=SHARED_SECRET,
        remote_login_url=f"{public}/login",
        received=received,
    )
    with served(comm100, urlsplit(site).port):
        yield settings


@pytest.fixture
def mounted(tmp_path: Path, settings: dict[str, Any]) -> Path:
    """Write the settings as a cluster has them: secrets as files beside, readable by the broker, writable by nobody."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    secrets = {
        "secret_keys": (settings, SECRET_KEY),
        "shared_secret": (settings["sites"]["main"], SHARED_SECRET),
        "client_secret": (
            settings["identity_providers"]["idp"],
            settings["identity_providers"]["idp"]["client_secret"],
        ),
    }
    for key, (section, secret) in secrets.items():
        (folder / key).write_text(secret + "\n", encoding="utf-8")
        del section[key]
        section[f"{key}_file"] = f"/etc/broker/{key}"
    (folder / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def run(podman: Podman, image: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run one command in the image, restricted as the service is."""
    command = podman.command("run", "--rm", *BOUNDS, *RESTRICTED, *READ_ONLY, *options, image, *arguments)
    # In podman's own folder: where a container runs out of memory, an empty file `oom` is left in the current one.
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=podman.folder)


@contextmanager
def serving(
    podman: Podman, image: str, mounted: Path, settings: dict[str, Any], *options: str
) -> Iterator[BrokerProcess]:
    """Run the service in a container named `broker`, from ready to removed."""
    output, errors = mounted.parent / "stdout.txt", mounted.parent / "stderr.txt"
    command = podman.command(
        "run", "--name=broker", f"--volume={mounted}:/etc/broker:ro", *BOUNDS, *RESTRICTED, *options, image
    )
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=podman.folder)
    broker = BrokerProcess(process, settings["public_url"], f"http://{settings['operations_listen']}", output, errors)
    try:
        wait_until(broker.is_up, "the container starts")
        yield broker
    finally:
        if process.poll() is None:
            broker.stop()
        podman("rm", "--force", "broker")


def sign_in(broker: BrokerProcess) -> None:
    """Sign in as a browser does, from the broker to the provider and back, and on to Comm100."""
    with httpx.Client(trust_env=False) as person:
        answer = person.get(f"{broker.public}/login")
        for _ in ("to the provider", "to the broker", "to Comm100"):
            assert answer.is_redirect, answer.text
            answer = person.get(answer.headers["location"])


def test_a_person_signs_in_through_a_read_only_container_of_128_mb(
    podman: Podman, image: str, mounted: Path, settings: dict[str, Any], received: list[Received], measured: list[str]
) -> None:
    started = time.monotonic()
    with serving(podman, image, mounted, settings, *READ_ONLY) as broker:
        ready = time.monotonic() - started
        for _ in range(SIGN_INS):
            sign_in(broker)
        assert [one.refusal for one in received] == [None] * SIGN_INS
        inside = json.loads(podman("exec", "broker", "python3", "-c", LOOK_AROUND))
        stopping = time.monotonic()
        assert broker.stop() == 0
        stopped = time.monotonic() - stopping
        assert broker.lines()[-1]["event"] == "stopped"
        assert broker.errors.read_text(encoding="utf-8") == ""
    assert inside["limit"] == MEGABYTES * 2**20
    assert inside["status"]["Uid"].split() == ["65532"] * 4
    assert int(inside["status"]["CapEff"], 16) == int(inside["status"]["CapBnd"], 16) == 0
    assert inside["status"]["NoNewPrivs"] == "1"
    assert inside["writable"] == []
    measured.append(
        f"in a container of {MEGABYTES} MB: ready after {ready:.1f} s, {inside['used'] / 2**20:.0f} MB"
        f" after {SIGN_INS} sign-ins, stopped after {stopped:.1f} s"
    )


# Of the memory, what cannot be given back: the files' pages come and go as there is room. Both versions of cgroups.
LOOK_AROUND = """
import json, os
from pathlib import Path

def first(*names):
    return next(Path(name).read_text() for name in names if Path(name).exists())

here = "/sys/fs/cgroup"
memory = dict(line.split() for line in first(f"{here}/memory/memory.stat", f"{here}/memory.stat").splitlines())
tried = []
for folder in ("/", "/etc/broker", "/home", "/opt/broker", "/run", "/tmp", "/usr/lib", "/var"):
    try:
        Path(folder, "written").write_text("")
    except OSError:
        continue
    tried.append(folder)
print(json.dumps({
    "limit": int(first(f"{here}/memory/memory.limit_in_bytes", f"{here}/memory.max")),
    "used": int(memory["rss"] if "rss" in memory else memory["anon"]),
    "status": dict(line.split(":\\t", 1) for line in Path("/proc/1/status").read_text().splitlines() if ":\\t" in line),
    "writable": tried,
}))
"""


def test_the_service_writes_nothing_where_it_could(
    podman: Podman, image: str, mounted: Path, settings: dict[str, Any]
) -> None:
    idle = (f"--volume={mounted}:/etc/broker:ro", *BOUNDS, "--user=0:0", "--entrypoint=python3", image, "-c", "")
    podman("run", "--name=idle", *idle)
    with serving(podman, image, mounted, settings, "--user=0:0") as broker:
        sign_in(broker)
        assert podman("diff", "broker") == podman("diff", "idle"), "podman itself writes some files"
    podman("rm", "idle")


def test_more_memory_than_the_container_has_ends_a_process(podman: Podman, image: str) -> None:
    """Without this the test above would pass on a machine that does not keep the limit."""
    done = run(podman, image, "-c", f"bytearray({MEGABYTES} << 20)", options=("--entrypoint=python3",))
    assert done.returncode == 137, done.stderr


def test_broker_check_asks_the_provider_from_inside(podman: Podman, image: str, mounted: Path) -> None:
    done = run(podman, image, "check", "--json", options=(f"--volume={mounted}:/etc/broker:ro",))
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (0, True), done.stdout
    assert {"discovery", "keys", "client_authentication"} <= {one["check"] for one in found["findings"]}


def test_the_schema_is_printed_without_settings(podman: Podman, image: str) -> None:
    done = run(podman, image, "schema")
    assert done.returncode == 0, done.stderr
    assert "identity_providers" in json.loads(done.stdout)["properties"]


def test_without_settings_it_says_so_and_ends_with_2(podman: Podman, image: str) -> None:
    done = run(podman, image)
    assert done.returncode == 2
    assert "/etc/broker has no broker.yaml" in done.stderr


def test_init_writes_into_a_folder_that_is_lent_to_it(podman: Podman, image: str, tmp_path: Path) -> None:
    for name, secret in (("client", "c" * 40), ("shared", SHARED_SECRET)):
        (tmp_path / name).write_text(secret, encoding="utf-8")
    os.chown(tmp_path, 65532, 65532)
    answers = {
        "public-url": "https://sso.acme.example",
        "provider": "okta",
        "issuer": "https://acme.okta.com",
        "client-id": "0oa1b2c3d4",
        "client-secret-file": "client",
        "email-domain": "acme.example",
        "endpoint": f"https://acme.comm100.com{ENDPOINT_PATH}",
        "shared-secret-file": "shared",
    }
    given = [f"--{name}={value}" for name, value in answers.items()]
    lent = (f"--volume={tmp_path}:/etc/broker",)
    done = run(podman, image, "init", "--offline", *given, options=lent)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = run(podman, image, "check", "--offline", options=lent)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_hook_can_wait_though_there_is_no_shell(podman: Podman, image: str) -> None:
    waited = run(podman, image, "-c", "import time; time.sleep(1)", options=("--entrypoint=python3",))
    assert (waited.returncode, waited.stderr) == (0, "")
    shell = run(podman, image, "-c", "exit", options=("--entrypoint=sh",))
    assert shell.returncode == 127
