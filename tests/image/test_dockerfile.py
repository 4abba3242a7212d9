"""What can be said of the Dockerfile without building it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.image.building import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold=style", "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_base_is_an_argument_that_can_carry_a_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE.partition("FROM")[0], re.MULTILINE))
    assert bases == ["${BUILD_BASE}", "${BASE}"]
    assert given.keys() == {"BUILD_BASE", "BASE"}
    assert all(
        re.fullmatch(r"[a-z0-9.]+/[a-z0-9/-]+:[a-z0-9.-]+(@sha256:[0-9a-f]{64})?", one) for one in given.values()
    )


def test_what_comes_from_an_index_is_the_lock_to_the_byte() -> None:
    installing = re.findall(r"pip [^\n]* (?:install|wheel) ([^\n]*)", DOCKERFILE)
    assert installing
    for options in installing:
        assert "--no-index" in options or {"--require-hashes", "--only-binary"} <= set(options.split())


def test_the_label_names_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.findall(r'image\.version="([^"]+)"', DOCKERFILE) == [version]


def test_the_list_is_made_and_the_package_built_with_the_versions_of_the_other_locks() -> None:
    def versions(lock: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))

    image = versions("requirements-image.lock")
    for lock in ("requirements.lock", "requirements-build.lock"):
        other = versions(lock)
        assert {name: image[name] for name in image.keys() & other.keys()} == {
            name: other[name] for name in image.keys() & other.keys()
        }
    assert versions("requirements-build.lock").keys() <= image.keys()
