"""Builds the benchmark's C programs: the stub provider, the load generator, the floor and the probe."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "c"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
HEADER = Path("/usr/include/openssl/ssl.h")


@dataclass(frozen=True)
class Programs:
    """The built programs."""

    provider: Path
    load: Path
    floor: Path
    probe: Path


def can_build() -> bool:
    """Tell whether a C compiler and OpenSSL's headers are there."""
    return shutil.which("gcc") is not None and HEADER.exists()


def build_programs(folder: Path) -> Programs:
    """Compile all programs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Programs(*(_build(name, folder) for name in ("provider", "load", "floor", "probe")))


def _build(name: str, folder: Path) -> Path:
    program = folder / name
    sources = [str(SOURCES / f"{name}.c"), str(SOURCES / "net.c")]
    subprocess.run(["gcc", *FLAGS, "-o", str(program), *sources, "-lssl", "-lcrypto"], check=True)
    return program


def compiler_versions() -> str:
    """Name the compiler and OpenSSL."""
    compiler = subprocess.run(["gcc", "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    library = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{compiler}, {library}"
