"""An ID token counts now: its times, and that of the sign-in behind it, within a minute's leeway (S-17, S-18)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import IdTokenAuthTime, IdTokenMalformed, IdTokenTime
from tests.fakes.clock import START
from tests.oidc.samples import HUGE, check


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"exp": START - 59}, id="expired 59 s ago"),
        pytest.param({"iat": START + 60}, id="issued 60 s from now"),
        pytest.param({"iat": START - 600}, id="issued 10 minutes ago"),
        pytest.param({"nbf": START + 60}, id="valid 60 s from now"),
        pytest.param({"nbf": START - 86_400}, id="valid since yesterday"),
        pytest.param({"nbf": 0}, id="valid since ever"),
        pytest.param({"exp": START + 86_400 * 3650}, id="valid for ten years"),
        pytest.param({"iat": START - 0.5, "exp": START + 0.5}, id="fractions of a second"),
    ],
)
def test_a_clock_may_differ_by_a_minute(times: dict[str, Any]) -> None:
    assert check(**times).subject == "00u-ada"


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"exp": START - 60}, id="expired 60 s ago"),
        pytest.param({"exp": START - 3600}, id="expired an hour ago"),
        pytest.param({"exp": 0}, id="expired in 1970"),
        pytest.param({"iat": START + 61}, id="issued 61 s from now"),
        pytest.param({"iat": START - 601}, id="issued more than 10 minutes ago"),
        pytest.param({"iat": START * 1000}, id="iat in milliseconds"),
        pytest.param({"exp": START * 1_000_000_000}, id="exp in nanoseconds"),
        pytest.param({"nbf": START + 61}, id="valid 61 s from now"),
    ],
)
def test_a_token_out_of_its_time_is_refused(times: dict[str, Any]) -> None:
    with pytest.raises(IdTokenTime):
        check(**times)


NO_TIMES = [
    pytest.param(str(int(START)), id="a text"),
    pytest.param(True, id="true"),
    pytest.param(False, id="false"),
    pytest.param([START], id="a list"),
    pytest.param({}, id="an object"),
    pytest.param(-1, id="before 1970"),
    pytest.param(HUGE, id="beyond a float"),
    pytest.param(-HUGE, id="far before 1970"),
    pytest.param(2**53, id="beyond exactness"),
]


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time_is_refused(claim: str, value: Any) -> None:
    with pytest.raises(IdTokenTime):
        check(**{claim: value})


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_that_json_cannot_hold_is_refused(claim: str, value: float) -> None:
    times: dict[str, Any] = {claim: value}
    with pytest.raises(IdTokenMalformed):
        check(max_age=300, **times)


@pytest.mark.parametrize(
    ("times", "got", "clocks"),
    [
        pytest.param({"iat": 1764460800000}, "iat: 1764460800000 looks like milliseconds", False, id="milliseconds"),
        pytest.param({"nbf": 1764460800000}, "nbf: 1764460800000 looks like milliseconds", False, id="nbf too"),
        pytest.param({"iat": "1764460800"}, "iat: a text", False, id="a text"),
        pytest.param({"exp": None}, "exp: nothing", False, id="null"),
        pytest.param({"exp": HUGE}, "exp: a number beyond bounds", False, id="beyond bounds"),
        pytest.param({"exp": START - 90}, "90 s ago", True, id="expired"),
        pytest.param({"iat": START + 90}, "in 90 s", True, id="issued in the future"),
        pytest.param({"iat": START - 900}, "900 s ago", True, id="issued long ago"),
    ],
)
def test_clocks_are_blamed_for_times_alone(times: dict[str, Any], got: str, clocks: bool) -> None:
    with pytest.raises(IdTokenTime) as refusal:
        check(**times)
    assert refusal.value.got == got
    assert ("clocks" in refusal.value.remedy) is clocks


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_a_time_we_need_that_is_null_is_missing(claim: str) -> None:
    null: dict[str, Any] = {claim: None}
    with pytest.raises(IdTokenTime):
        check(**null)


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_a_token_without_its_times_is_refused(claim: str) -> None:
    missing: dict[str, Any] = {claim: ...}
    with pytest.raises(IdTokenTime):
        check(**missing)


@pytest.mark.requirement("S-16")
@pytest.mark.parametrize("auth_time", [START, START - 360, START + 60, START - 0.5])
def test_a_fresh_enough_sign_in_is_taken_under_max_age(auth_time: float) -> None:
    assert check(max_age=300, auth_time=auth_time).subject == "00u-ada"


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    "auth_time",
    [
        pytest.param(..., id="missing"),
        pytest.param(START - 361, id="stale"),
        pytest.param(START + 61, id="of the future"),
        pytest.param(0, id="of 1970"),
        *NO_TIMES,
    ],
)
def test_a_stale_or_missing_sign_in_is_refused_under_max_age(auth_time: object) -> None:
    """OpenID Connect Core, section 3.1.3.7, 13."""
    with pytest.raises(IdTokenAuthTime):
        check(max_age=300, auth_time=auth_time)


@pytest.mark.parametrize("auth_time", [..., 0, "yesterday", HUGE], ids=["missing", "1970", "a text", "beyond a float"])
def test_without_max_age_nobody_looks_at_auth_time(auth_time: object) -> None:
    assert check(auth_time=auth_time).subject == "00u-ada"
