"""S-50: whatever a browser, a neighbour on the same domain or an attacker puts into the Cookie header."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.transaction import BrowserCookie
from broker.web.request import read_cookies
from broker.web.responses import set_cookie
from tests.fuzz.cookies import judge

NAMES = st.from_regex(r"signin_[A-Za-z0-9_-]{10}", fullmatch=True)
VALUES = st.from_regex(r"[0-9a-f]{8}\.[A-Za-z0-9_-]{4}(\.[A-Za-z0-9_-]{1,4})?", fullmatch=True)
OURS = st.builds("__Host-{}={}".format, st.sampled_from(["signin_AAAAAAAAAA", "signin_BBBBBBBBBB"]), VALUES)
ODD = st.sampled_from(
    ["", " ", "  ", "\t", "\xa0", "\x0b", ";", ";;", "=", "==", ",", '"', "\\", "%3D", "\0", "\r\n", "__Host-",
     "__host-", "__Secure-", "signin_", "signin_AAAAAAAAAA", "$Version=1", "AAAAAAAAAA"]
)  # fmt: skip
JOINTS = st.sampled_from(["; ", ";", "", " ; ", ";  "])
HEADERS = st.lists(st.builds(str.join, JOINTS, st.lists(OURS | ODD | st.text(max_size=4), max_size=5)), max_size=3)


@pytest.mark.requirement("S-50")
@settings(max_examples=400, deadline=None)
@given(headers=HEADERS, https=st.booleans())
def test_only_a_cookie_that_stands_there_once_and_exactly_is_taken(headers: list[str], https: bool) -> None:
    judge([header.encode("utf-8", "surrogatepass") for header in headers], https=https)


@settings(max_examples=100, deadline=None)
@given(
    cookies=st.dictionaries(NAMES, VALUES, max_size=5),
    strangers=st.lists(st.from_regex(r"[a-z]{1,8}=[!#-+\--:<-\[\]-~]{0,20}", fullmatch=True), max_size=5),
    https=st.booleans(),
    data=st.data(),
)
def test_what_was_set_is_read_back_among_any_strangers(
    cookies: dict[str, str], strangers: list[str], https: bool, data: st.DataObject
) -> None:
    kept = [set_cookie(BrowserCookie(name, value), https=https).partition(";")[0] for name, value in cookies.items()]
    header = "; ".join(data.draw(st.permutations(kept + strangers)))
    read = read_cookies([(b"host", b"x"), (b"cookie", header.encode())], https=https)
    assert {name: cookie.value for name, cookie in read.items()} == cookies
