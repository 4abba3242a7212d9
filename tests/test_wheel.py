"""What is installed is what is here: templates, catalogues and the like come along."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    files = [file for file in (ROOT / "broker").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("broker/")}
    assert packed == {file.relative_to(ROOT).as_posix() for file in files}
    assert {"broker/web/locale/de.mo", "broker/web/templates/base.html"} <= packed
