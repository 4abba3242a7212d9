"""What is in the image, file by file, and what is not."""

from __future__ import annotations

import email
import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.building import PYTHON, Podman, base_files

PACKAGES = f"opt/broker/lib/python{PYTHON}/site-packages/"
UNCHECKED = 0b01  # PEP 552: taken without a look at the text it was made of


@dataclass(frozen=True, slots=True)
class Root:
    """The image's files: what tar says of each, by its path, and the content of some."""

    members: dict[str, tarfile.TarInfo]
    archive: Path

    def read(self, *names: str) -> list[bytes]:
        with tarfile.open(self.archive) as archive:
            return [archive.extractfile(self.members[name]).read() for name in names]  # type: ignore[union-attr]

    @property
    def files(self) -> set[str]:
        return {name for name, member in self.members.items() if not member.isdir()}


def members_of(archive: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(archive) as opened:
        return {member.name.removeprefix("./"): member for member in opened}


@pytest.fixture(scope="module")
def root(podman: Podman, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    container = podman("create", "--network=host", image).strip()
    podman("export", f"--output={archive}", container)
    podman("rm", container)
    yield Root(members_of(archive), archive)
    archive.unlink()


@pytest.fixture(scope="module")
def installed(root: Root) -> dict[str, str]:
    """Return the version of each installed distribution, by its normalised name."""
    metadata = [name for name in root.files if re.fullmatch(re.escape(PACKAGES) + r"[^/]+\.dist-info/METADATA", name)]
    heads = [email.message_from_bytes(content) for content in root.read(*metadata)]
    return {normalised(head["Name"]): head["Version"] for head in heads}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_nothing_is_added_to_the_base_but_the_broker_and_compiled_python(root: Root) -> None:
    added = root.files - members_of(base_files()).keys()
    elsewhere = {name for name in added if not name.startswith("opt/broker/")}
    strange = {name for name in elsewhere if not re.fullmatch(r"usr/lib/python3.*/__pycache__/[^/]+\.pyc", name)}
    of_podman = {
        "dev/console",
        "dev/pts",
        "dev/shm",
        "etc/hostname",
        "etc/hosts",
        "etc/mtab",
        "etc/resolv.conf",
        "run/.containerenv",
    }
    assert strange <= of_podman


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r".*/(pip|setuptools|wheel|hatchling|cyclonedx)([-_.][^/]*)?/.*", id="what installs or builds"),
        pytest.param(r".*\.whl|.*/pip\.conf|opt/tools/.*|build/.*", id="what the build left behind"),
        pytest.param(r".*bin/(pip|gcc|cc|g\+\+|make|apt|dpkg)[^/]*|.*bin/(as|ld)", id="compilers and package managers"),
        pytest.param(r".*bin/(sh|bash|dash|busybox|perl|curl|wget)", id="shells and what fetches"),
    ],
)
def test_the_image_does_not_have(pattern: str, root: Root) -> None:
    assert [name for name in root.files if re.fullmatch(pattern, name)] == []


def test_no_file_gives_rights_and_none_of_ours_can_be_written_by_the_broker(root: Root) -> None:
    assert [name for name, member in root.members.items() if member.isfile() and member.mode & 0o6000] == []
    ours = {name: member for name, member in root.members.items() if name.startswith(("opt/", "usr/", "etc/broker"))}
    assert [name for name, member in ours.items() if member.uid or member.gid] == []
    assert [name for name, member in ours.items() if not member.issym() and member.mode & 0o022] == []


def test_every_module_is_compiled_and_its_text_never_looked_at(root: Root) -> None:
    texts = {name for name in root.files if re.match(rf"(usr/lib/python{PYTHON}|opt/broker/lib)/.*\.py$", name)}
    assert len(texts) > 1000
    tag = f"cpython-{PYTHON.replace('.', '')}"
    compiled = {name: re.sub(r"([^/]+)\.py$", rf"__pycache__/\1.{tag}.pyc", name) for name in texts}
    assert [name for name, code in compiled.items() if code not in root.files] == []
    flags = [int.from_bytes(code[4:8], "little") for code in root.read(*compiled.values())]
    assert [name for name, flag in zip(compiled, flags, strict=True) if flag != UNCHECKED] == []


def test_the_list_in_the_image_names_every_distribution_and_no_other(root: Root, installed: dict[str, str]) -> None:
    [text] = root.read("opt/broker/sbom.cdx.json")
    listed = json.loads(text)
    assert listed["bomFormat"] == "CycloneDX"
    components = {normalised(one["name"]): one["version"] for one in listed["components"]}
    assert components == installed
    assert all(one["purl"].startswith("pkg:pypi/") for one in listed["components"] if "purl" in one)
    assert installed.keys() >= {"comm100-sso-broker", "cryptography", "starlette"}


def test_the_image_says_how_it_is_run(podman: Podman, image: str) -> None:
    [described] = json.loads(podman("image", "inspect", image))
    config = described["Config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["/opt/broker/bin/broker"], ["serve"])
    assert config["ExposedPorts"].keys() == {"8000/tcp", "9000/tcp"}
    assert (config["StopSignal"], config["WorkingDir"]) == ("SIGTERM", "/etc/broker")
    assert {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]} >= {
        "title", "description", "version", "revision", "base.name",
    }  # fmt: skip
    assert not any(one.startswith("BROKER_") for one in config["Env"]), "it would override the settings file"


def test_how_large_it_is(podman: Podman, image: str, measured: list[str]) -> None:
    [described] = json.loads(podman("image", "inspect", image))
    with subprocess.Popen(podman.command("save", image), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as saving:
        saved = saving.stdout or io.BytesIO()
        packed = sum(len(gzip.compress(part, 6)) for part in iter(lambda: saved.read(2**22), b""))
    megabytes = described["Size"] / 1e6
    measured.append(f"the image: {megabytes:.0f} MB unpacked, {packed / 1e6:.0f} MB to download")
    assert megabytes < 250
