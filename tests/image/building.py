"""Builds the image on a machine that reaches no registry: Debian's packages stand in for both bases.

It owns what of this is kept between runs. It knows nothing of what the image is for.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".image"  # bases and wheels, for the next run; `make clean` removes them
PYTHON = "3.13"  # of both bases
IMAGE = "localhost/comm100-sso-broker:tested"

# The packages of gcr.io/distroless/python3-debian13, from the lists that image is made of
# (https://github.com/GoogleContainerTools/distroless: static, base, cc and python3, each config.bzl).
_PACKAGES = (
    "base-files,netbase,tzdata,tzdata-legacy,media-types,libc6,libssl3t64,libzstd1,zlib1g,"
    "libgomp1,libstdc++6,libgcc-s1,gcc-14-base,"
    "libbz2-1.0,libdb5.3t64,libexpat1,liblzma5,libsqlite3-0,libuuid1,libncursesw6,libtinfo6,libcom-err2,libcrypt1,"
    "libc-bin,libgssapi-krb5-2,libk5crypto3,libkeyutils1,libkrb5-3,libkrb5support0,libnsl2,libreadline8t64,"
    "libtirpc3t64,libffi8,libpython3.13-minimal,libpython3.13-stdlib,python3.13-minimal,python3.13-venv"
)
# What comes with them because packages depend on it, and is not in that image.
_NOT_THERE = (
    "usr/bin/*debconf* usr/bin/mawk usr/bin/openssl usr/bin/c_rehash usr/sbin/dpkg-* usr/sbin/update-ca-certificates "
    "usr/share/debconf usr/share/perl5 usr/share/python-wheels"
)
_BASE = (
    "mmdebstrap",
    "--quiet",
    "--variant=extract",  # unpacked only: nothing is set up, nothing compiled, as in that image
    f"--include={_PACKAGES}",
    f'--extract-hook=cd "$1" && rm -r {_NOT_THERE} && ln -s python{PYTHON} usr/bin/python3',
    "trixie",
)
_BUILD_BASE = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    "--include=python3-pip,python3-venv",
    '--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python3"',  # Docker's Python is there
    "trixie",
)


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with a storage of its own, beside whatever else the machine has.

    Args:
        folder: for its images and containers.
    """

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line; runc and cgroupfs work where there is no systemd, too."""
        storage = [f"--root={self.folder}/images", f"--runroot={self.folder}/run"]
        return ["podman", *storage, "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none", *arguments]

    def __call__(self, *arguments: str) -> str:
        """Run it, and return what it prints; if it fails, so does the test, with all it said."""
        return _run(self.command(*arguments))


def build_image(podman: Podman) -> str:
    """Build the Dockerfile from the working tree; return the image's name."""
    KEPT.mkdir(exist_ok=True)
    podman("import", "--quiet", "--change=USER 65532", str(_made(_BASE)), "localhost/base")
    podman("import", "--quiet", str(_made(_BUILD_BASE)), "localhost/build-base")
    pip_conf = podman.folder / "pip.conf"
    pip_conf.write_text("[global]\nno-index = true\nfind-links = /mnt\n", encoding="utf-8")
    podman(
        "build",
        "--isolation=chroot",
        "--pull=never",
        "--network=host",
        "--build-arg=BASE=localhost/base",
        "--build-arg=BUILD_BASE=localhost/build-base",
        f"--secret=id=pip.conf,src={pip_conf}",
        f"--volume={_wheels()}:/mnt:ro",
        f"--tag={IMAGE}",
        str(ROOT),
    )
    return IMAGE


def base_files() -> Path:
    """Return the archive of the base that the image is built on."""
    return _made(_BASE)


def _made(command: tuple[str, ...]) -> Path:
    archive = KEPT / f"{hashlib.sha256(repr(command).encode()).hexdigest()[:12]}.tar"
    if not archive.exists():
        unfinished = archive.with_name(f"unfinished-{archive.name}")
        _run([*command, str(unfinished)])
        unfinished.rename(archive)
    return archive


def _wheels() -> Path:
    """Bring what the locks name for the image's Python, with the package index that this machine is set up for."""
    platforms = [
        f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in range(5, 42)
    ]  # trixie has glibc 2.41
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    locks = [f"--requirement={ROOT / name}" for name in ("requirements.lock", "requirements-image.lock")]
    wanted = [
        "--require-hashes",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={PYTHON}",
        *platforms,
    ]
    _run([*command, *wanted, *locks, f"--dest={KEPT / 'wheels'}"])
    return KEPT / "wheels"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
