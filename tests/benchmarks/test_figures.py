"""The benchmark's own arithmetic, page and chart."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.bounds import Bound, bounds
from tests.benchmarks.chart import chart
from tests.benchmarks.figures import (
    APACHE,
    FLOOR,
    OPENID_CLIENT,
    OURS,
    Burst,
    Reading,
    Results,
    Start,
    Steady,
    added_p50,
    login_ratio,
    ratio,
    read_results,
)
from tests.benchmarks.report import page


def reading(contestant: str, number: int, callback_ms: float, *, tls: bool = True) -> Reading:
    return Reading(contestant, tls, number, callback_ms / 4, callback_ms, 1000 / callback_ms)


def burst(planned: int, seconds: float, *, failed: int = 0) -> Burst:
    failures = {"503": failed} if failed else {}
    return Burst(OURS, planned, planned - failed, failures, 1000.0, seconds, 120_000_000, 20.0)


# Apache takes twice as long as the broker in each round; the machine is three times as slow in the last.
READINGS = [
    reading(OURS, 0, 1.0),
    reading(APACHE, 0, 2.0),
    reading(OURS, 1, 1.1),
    reading(APACHE, 1, 2.2),
    reading(OURS, 2, 3.0),
    reading(APACHE, 2, 6.0),
    reading(OURS, 0, 0.8, tls=False),
    reading(FLOOR, 0, 0.1, tls=False),
]


def results() -> Results:
    return Results(
        "make bench",
        "2026-01-01",
        "a machine",
        readings=READINGS,
        steady=[Steady("provider", 0, 60, 40.5, 41), Steady(OURS, 0, 60, 42.0, 45)],
        bursts=[burst(2000, 2.5), burst(2000, 2.7, failed=1), burst(2000, 9.0), burst(4000, 5.0)],
        starts=[Start(0.4, 0.5), Start(0.6, 0.9), Start(0.45, 0.5)],
        versions={OURS: "Python 3.11"},
        memory={OURS: 55_000_000},
    )


def bound(figure: str) -> Bound:
    [found] = [one for one in bounds(results()) if one.figure.startswith(figure)]
    return found


def test_a_ratio_compares_within_a_round() -> None:
    assert ratio(READINGS, APACHE, OURS, tls=True) == pytest.approx(2)
    assert login_ratio(READINGS, APACHE, OURS, tls=True) == pytest.approx(2)


def test_a_ratio_uses_only_rounds_that_both_took_part_in() -> None:
    assert ratio(READINGS[1:], APACHE, OURS, tls=True) == pytest.approx(2)


def test_a_ratio_of_what_was_not_measured_is_none() -> None:
    assert ratio(READINGS, APACHE, OURS, tls=False) is None


def test_the_latency_added_is_above_the_providers_own_in_the_same_round() -> None:
    steady = [
        Steady("provider", 0, 60, 40, 41),
        Steady(OURS, 0, 60, 42, 45),
        Steady("provider", 1, 60, 50, 51),
        Steady(OURS, 1, 60, 54, 55),
        Steady(OURS, 2, 60, 99, 99),
    ]
    assert added_p50(steady, OURS) == pytest.approx(3)


def test_a_burst_counts_by_its_median_but_one_failure_counts() -> None:
    assert bound("burst 2,000 in 2 s: failed").measured == 1
    assert bound("burst 2,000 in 2 s: done").measured == pytest.approx(2.7)


def test_goodput_of_the_large_burst_is_compared_with_that_of_the_small() -> None:
    goodput = bound("burst 4,000 in 2 s: goodput")
    assert goodput.measured == pytest.approx((4000 / 5.0) / (1999 / 2.7))
    assert goodput.holds is True


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        ("against mod_auth_openidc, TLS", False),
        ("multiple of the C floor", True),
        ("p50 added", True),
        ("RSS after load", True),
        ("CPU to the first answer", True),
        ("CPU of a callback against naive Authlib", None),
        ("burst 4,000 in 2 s: done", None),
    ],
)
def test_a_figure_holds_or_not_or_was_not_judged(figure: str, holds: bool | None) -> None:
    assert bound(figure).holds is holds


def test_a_figure_is_judged_as_it_is_shown() -> None:
    assert Bound("x", "at most", 2, 1, 2.04, "ms").holds is True
    assert Bound("x", "at most", 2, 1, 2.06, "ms").holds is False


def test_login_may_hold_by_either_figure() -> None:
    readings = [Reading(name, True, 0, login_ms, 1, 1) for name, login_ms in ((OURS, 0.24), (OPENID_CLIENT, 0.1))]
    [login] = [one for one in bounds(replace(results(), readings=readings)) if "`/login`" in one.figure]
    assert login.meets(login.must) is False
    assert login.holds is True


def test_results_survive_their_file() -> None:
    assert read_results(json.loads(json.dumps(results().as_json()))) == results()


def test_the_page_shows_each_figure_and_marks_what_does_not_hold() -> None:
    text = page(results(), {OURS: "A note."})
    assert "| against mod_auth_openidc, TLS, one CA | at least 3x | 5x | 2.0x | **no** |" in text
    assert "| multiple of the C floor, plain http | at most 9x | 5x | 8.0x | yes |" in text
    assert "| this broker | Python 3.11 | A note. |" in text


def test_the_chart_is_svg_that_names_each_product() -> None:
    root = ET.fromstring(chart(results()))  # noqa: S314 - our own text
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"this broker", APACHE, FLOOR} <= set(texts)
