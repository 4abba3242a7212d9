"""The tools that judge the chart, and the examples they judge: where they are, and how one is run.

`make test-chart` installs them into an environment of their own. What is not there fails by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm"
HERE = Path(__file__).parent
ENVIRONMENT = ROOT / ".venv-chart"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
VERSIONS = [f"1.{minor}" for minor in range(27, 38)]  # of Kubernetes

Object = dict[str, Any]


def tool(name: str) -> str:
    """Return where a tool is: in the chart's environment, or on the machine (promtool, node)."""
    found = shutil.which(name, path=f"{ENVIRONMENT / 'bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    assert found, f"{name} is not installed: run make test-chart, which installs it"
    return found


def run(name: str, *arguments: str | Path, text: str | None = None, folder: Path = ROOT) -> str:
    """Run a tool that has to succeed, and return what it prints."""
    done = attempt(name, *arguments, text=text, folder=folder)
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout


def attempt(
    name: str, *arguments: str | Path, text: str | None = None, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a tool that may fail."""
    return subprocess.run(
        [tool(name), *map(str, arguments)], input=text, cwd=folder, capture_output=True, text=True, check=False
    )


def values_of(example: str) -> dict[str, Any]:
    """Read the values of an example by its name."""
    values = yaml.safe_load((CHART / "examples" / f"{example}.yaml").read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def objects_in(manifest: str) -> list[Object]:
    """Read the objects of a manifest."""
    return [one for one in yaml.safe_load_all(manifest) if one]


def the(kind: str, objects: Iterable[Object]) -> Object:
    """Return the only object of a kind."""
    (found,) = (one for one in objects if one["kind"] == kind)
    return found


def pod_specs(objects: Iterable[Object]) -> list[tuple[str, Object]]:
    """Return the pods an object stands for, by kind and name."""
    found = []
    for one in objects:
        spec = one["spec"] if one["kind"] == "Pod" else one.get("spec", {}).get("template", {}).get("spec")
        if spec and "containers" in spec:
            found.append((f"{one['kind']} {one['metadata']['name']}", spec))
    return found
