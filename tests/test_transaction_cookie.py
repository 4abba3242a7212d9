"""The cookie of one sign-in: how many a browser keeps, and what is read of one without trust."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.transaction import MAX_COOKIE_CHARACTERS, MAX_COOKIES, NAME_PREFIX, BrowserCookie, is_cookie_name, surplus

NOW = 1_800_000_000.0


def cookie(age: float, size: int = 60) -> BrowserCookie:
    """One with overflow where it is larger than any without."""
    name = f"{NAME_PREFIX}{secrets.token_urlsafe(8)[:10]}"
    overflow = "." if size > 60 else ""
    return BrowserCookie(name, f"{int(NOW - age):x}.{'A' * (size - 9 - len(overflow))}{overflow}")


@pytest.mark.requirement("S-10")
def test_the_oldest_sign_ins_go_when_there_are_too_many() -> None:
    under_way = [cookie(age) for age in (50, 10, 40, 20, 30)]
    assert surplus(under_way, cookie(0)) == [under_way[0]]
    assert surplus(under_way[1:], cookie(0)) == []
    assert len(surplus([cookie(age) for age in range(1, 41)], cookie(0))) == 41 - MAX_COOKIES


@pytest.mark.requirement("S-10")
def test_the_oldest_sign_ins_with_overflow_go_when_they_are_too_large() -> None:
    young, old, oldest = cookie(10, 600), cookie(20, 600), cookie(30, 600)
    assert surplus([oldest, young, old], cookie(0, 650)) == [oldest]
    assert surplus([oldest, young, old], cookie(0, 2300)) == [young, old, oldest]


@pytest.mark.requirement("S-10")
def test_a_sign_in_without_overflow_never_goes_because_of_its_size() -> None:
    short, long = [cookie(age) for age in (50, 40, 30)], cookie(20, 1100)
    assert surplus([*short, long], cookie(0, 2100)) == [long]
    assert surplus([*short, long], cookie(0, 1100)) == []


@pytest.mark.requirement("S-10")
def test_a_sign_in_stays_if_there_is_room_for_it_behind_one_that_goes() -> None:
    small, large = cookie(50, 300), cookie(40, 1500)
    assert surplus([small, large], cookie(0, 1100)) == [large]


@pytest.mark.requirement("S-10")
@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(60, 2300), max_size=60),
    ages=st.lists(st.integers(0, 10**9), min_size=60, max_size=60),
    newest=st.integers(60, 2450),
)
def test_what_stays_in_the_browser_is_within_bounds(sizes: list[int], ages: list[int], newest: int) -> None:
    under_way = [cookie(age, size) for size, age in zip(sizes, ages, strict=False)]
    newcomer = cookie(0, newest)
    leaving = surplus(under_way, newcomer)
    staying = [one for one in under_way if one not in leaving] + [newcomer]
    assert len(staying) <= MAX_COOKIES
    assert sum(len(one.name) + len(one.value) for one in staying) <= MAX_COOKIE_CHARACTERS
    assert newcomer in staying
    assert all(one.has_overflow for one in leaving if one.issued > min(kept.issued for kept in staying))


@pytest.mark.parametrize(
    ("value", "issued"),
    [
        pytest.param("6b49d200.AAAA", 0x6B49D200, id="ours"),
        pytest.param("", 0, id="nothing"),
        pytest.param("-1.AAAA", 0, id="a sign"),
        pytest.param("6B49D200.AAAA", 0, id="upper case"),
        pytest.param("f" * 5000 + ".AAAA", 0, id="5,000 digits"),
        pytest.param("٣.AAAA", 0, id="a digit of another script"),
    ],
)
def test_a_cookies_age_is_read_without_trust(value: str, issued: int) -> None:
    assert BrowserCookie("signin_AAAAAAAAAA", value).issued == issued


@pytest.mark.parametrize(
    "name",
    ["", "signin_", "signin_AAAAAAAAA", "signin_AAAAAAAAAAA", "signin_AAAAAAAAA\n", "Signin_AAAAAAAAAA", "session"],
)
def test_a_cookie_of_another_name_is_not_ours(name: str) -> None:
    assert not is_cookie_name(name)
