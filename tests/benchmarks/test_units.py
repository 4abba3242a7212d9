"""The benchmark of several units measures what docs/admin/high-availability.md shows."""

from pathlib import Path

import pytest

from tests.benchmarks.units import Round, nginx_before, ratio

PAGE = Path(__file__).parents[2] / "docs" / "admin" / "high-availability.md"
DIRECTIVES = (
    "max_fails=0;",
    "keepalive 64;",
    "proxy_pass http://broker;",
    "proxy_http_version 1.1;",
    'proxy_set_header Connection "";',
)


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_the_page_shows_the_directives_that_were_measured(directive: str, tmp_path: Path) -> None:
    nginx_before(tmp_path, 8000, [8001, 8002])
    assert directive in (tmp_path / "nginx.conf").read_text(encoding="utf-8")
    assert directive in PAGE.read_text(encoding="utf-8")


def test_a_ratio_compares_units_within_a_round_only() -> None:
    quiet = [_round(1, 100.0), _round(2, 200.0)]
    busy = [_round(1, 50.0), _round(2, 90.0)]
    assert ratio([quiet, busy, busy], "per_second") == 1.8


def _round(units: int, per_second: float) -> Round:
    return Round(units, login_ms=0.5, callback_ms=2.0, nginx_ms=0.2, per_second=per_second, busiest=1.0 / units)
