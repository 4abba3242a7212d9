"""What is kept of Comm100's last call: visible, bounded, and no values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.web.last_login_request import MAX_CHARACTERS, MAX_NAMES, LastCalls, LastLoginRequest


def kept(redirect_url: str, query: str = "") -> LastLoginRequest:
    calls = LastCalls()
    calls.keep("main", query, redirect_url, code="none", at=1.0)
    return calls.by_site()["main"]


def test_a_later_call_takes_the_place_of_an_earlier_one_of_the_same_site() -> None:
    calls = LastCalls()
    for site, code in (("main", "none"), ("emea", "none"), ("main", "redirect_url_refused")):
        calls.keep(site, "", "", code=code, at=2.0)
    assert {site: one.code for site, one in calls.by_site().items()} == {
        "main": "redirect_url_refused",
        "emea": "none",
    }


@pytest.mark.parametrize(
    ("redirect_url", "host", "path", "names"),
    [
        pytest.param("", "", "", (), id="none"),
        pytest.param("https://A.example/x?b=1&a=2&c", "a.example", "/x", ("a", "b"), id="an address"),
        pytest.param("https://a.example/u/ada@b.example/x", "a.example", "***@b.example/x", (), id="an e-mail address"),
        pytest.param("https://a.example/ada%2540b.example", "a.example", "***%2540b.example", (), id="one in disguise"),
        pytest.param("/relative", "", "/relative", (), id="no host"),
        pytest.param("https://[", "", "", (), id="no address"),
        pytest.param("https://a.example/\u202e\x00", "a.example", "/\\u202e\\u0000", (), id="invisible characters"),
    ],
)
def test_host_path_and_names_are_kept(redirect_url: str, host: str, path: str, names: tuple[str, ...]) -> None:
    seen = kept(redirect_url)
    assert (seen.redirect_url_host, seen.redirect_url_path, seen.redirect_url_parameters) == (host, path, names)


def test_the_values_of_parameters_are_not_kept() -> None:
    assert "secret" not in repr(kept("https://a.example/?token=secret&secret", "redirect_url=secret&secret"))


@given(st.text(max_size=500), st.text(max_size=500))
def test_whatever_comes_is_bounded_and_visible(redirect_url: str, query: str) -> None:
    seen = kept(redirect_url, query)
    for text in (seen.redirect_url_host, seen.redirect_url_path, *seen.redirect_url_parameters, *seen.parameters):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 6 * MAX_CHARACTERS
    assert len(seen.parameters) <= MAX_NAMES
