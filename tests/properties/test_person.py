"""S-21, S-22 and S-26: whatever a provider claims as an address or a name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.person import judge_email, judge_name

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.sampled_from(
    ["ada", "ADA", "@", "@@", ".", "..", "-", "_", "+", "'", '"', ",", ";", ":", "<", ">", "(", ")", "[", "]", "\\",
     " ", "\t", "\r\n", "\0", "%", "!", "acme.example", "acme", "example", "xn--", "\u0430", "\u212a", "\u017f",
     "\u0131", "\ufb01", "\uff20", "\u3002", "\u200b", "\u202e", "\u00ad", "\ud800", "\U000e0041", "1", "a" * 64,
     "a" * 255]
)  # fmt: skip
NAMES = st.text(st.one_of(st.characters(), st.sampled_from("\u202e\u2066\u200d\u2028\x85\r\n\t \0\ud800\u0301\ue000")))


@pytest.mark.requirement("S-21", "S-22")
@settings(max_examples=500, deadline=None)
@given(email=st.lists(PIECES | st.text(max_size=2), max_size=7).map("".join))
@example(email="ada@acme.example\n")
@example(email="ada@acme.example\x00")
@example(email="\u212aate@acme.example")
def test_an_address_taken_is_a_plain_mailbox_in_lower_case(email: str) -> None:
    judge_email(email)


@pytest.mark.requirement("S-22")
@settings(max_examples=400, deadline=None)
@given(
    email=st.sampled_from(["ada.king@acme.example", "Mike+SSO@ACME-Labs.example", "k@is.example"]),
    place=st.integers(0, 26),
    cut=st.integers(0, 1),
    piece=PIECES | st.characters(),
)
@example(email="k@is.example", place=0, cut=1, piece="\u212a")
@example(email="k@is.example", place=3, cut=1, piece="\u017f")
def test_one_odd_character_in_an_address_is_never_repaired(email: str, place: int, cut: int, piece: str) -> None:
    judge_email(email[:place] + piece + email[place + cut :])


@settings(max_examples=200, deadline=None)
@given(email=st.from_regex(r"[A-Za-z0-9_.'+-]{1,70}@([A-Za-z0-9-]{1,65}\.){0,3}[A-Za-z0-9-]{1,65}", fullmatch=True))
def test_an_address_that_looks_right_is_taken_or_refused_by_the_book(email: str) -> None:
    judge_email(email)


@pytest.mark.requirement("S-21", "S-26")
@settings(max_examples=200, deadline=None)
@given(claim=JSON)
def test_any_json_is_an_address_or_none_and_a_name_or_none(claim: object) -> None:
    judge_email(claim)
    judge_name(claim)


@pytest.mark.requirement("S-26")
@settings(max_examples=200, deadline=None)
@given(name=NAMES | NAMES.map(lambda name: 30 * name))
def test_a_name_shows_on_one_line_as_it_is(name: str) -> None:
    judge_name(name)
