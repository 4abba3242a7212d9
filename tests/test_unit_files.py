"""The systemd units in the documents start the broker as it is, stop it in time, and give each unit its own ports."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from broker.server import STOP_SECONDS
from broker.settings.model import Settings
from broker.start import EXIT_UNUSABLE

DOCUMENTS = Path(__file__).parents[1] / "docs" / "admin"
UNITS = {
    name: re.sub(r"^   ", "", unit, flags=re.MULTILINE)
    for document, name in (("operations.md", "broker.service"), ("high-availability.md", "broker@.service"))
    for unit in re.findall(
        r"^ *```\n( *\[Unit\]\n.*?)^ *```", (DOCUMENTS / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
}
EACH_UNIT = pytest.mark.parametrize("name", UNITS)


def read(unit: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign] # systemd's names have capital letters
    parser.read_string(unit)
    return parser


def environment(unit: str, instance: str) -> dict[str, str]:
    """Return the variables that systemd sets for an instance of a template."""
    text = read(unit)["Service"].get("Environment", "").replace("%i", instance)
    return dict(pair.split("=", 1) for pair in text.split())


def test_the_documents_show_a_unit_and_a_template() -> None:
    assert sorted(UNITS) == ["broker.service", "broker@.service"]


@EACH_UNIT
def test_a_unit_starts_the_service_and_leaves_it_the_time_to_stop(name: str) -> None:
    service = read(UNITS[name])["Service"]
    assert re.fullmatch(r"/\S+/broker serve --config /\S+", service["ExecStart"])
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS
    assert service["Restart"] == "on-failure"
    assert int(service["RestartPreventExitStatus"]) == EXIT_UNUSABLE, "systemd does not repeat a start that must fail"


def test_each_unit_of_the_template_has_ports_of_its_own() -> None:
    first, second = (environment(UNITS["broker@.service"], instance) for instance in ("01", "02"))
    assert first == {"BROKER_LISTEN": "127.0.0.1:8001", "BROKER_OPERATIONS_LISTEN": "127.0.0.1:9001"}
    assert not set(first.values()) & set(second.values())
    assert {name.removeprefix("BROKER_").lower() for name in first} <= Settings.model_fields.keys()


@EACH_UNIT
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd on this machine")
    file = tmp_path / name.replace("@", "@01")
    file.write_text(re.sub(r"(?<=^ExecStart=)\S+", "/bin/true", UNITS[name], flags=re.MULTILINE), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
