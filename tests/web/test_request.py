"""What is kept and shown of Comm100's last call: visible, bounded, and no values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.web.request import MAX_NAMES, MAX_PART_CHARACTERS, LastLoginRequest, read_login_request
from broker.web.setup_pages import describe_login_request


def kept(redirect_url: str, query: str = "") -> LastLoginRequest:
    return read_login_request(query, redirect_url, code="none", at=1.0)


def shown(redirect_url: str, query: str = "") -> dict[str, str]:
    return describe_login_request(kept(redirect_url, query), now=2.0)


@pytest.mark.parametrize(
    ("redirect_url", "host", "path", "names"),
    [
        pytest.param("", "none", "none", "none", id="none"),
        pytest.param("https://A.example/x?b=1&a=2&c", "a.example", "/x", "a, b", id="an address"),
        pytest.param("https://a.example/u/ada@b.example/x", "a.example", "/u/[left out]/x", "none", id="an e-mail"),
        pytest.param("https://a.example/ada%2540b.example", "a.example", "/[left out]", "none", id="in disguise"),
        pytest.param("https://a.example/a/ada%40/b", "a.example", "/a/[left out]/b", "none", id="an e-mail cut short"),
        pytest.param("https://a.example/(ada)@b.example", "a.example", "/[left out]", "none", id="an odd e-mail"),
        pytest.param("/relative", "none", "/relative", "none", id="no host"),
        pytest.param("https://[", "none", "none", "none", id="no address"),
        pytest.param("https://a.example/\u202e\x00", "a.example", "/\\u202e\\u0000", "none", id="invisible characters"),
    ],
)
def test_host_path_and_names_are_shown(redirect_url: str, host: str, path: str, names: str) -> None:
    seen = shown(redirect_url)
    assert seen["Host in redirect_url"] == host
    assert seen["Path in redirect_url"] == path
    assert seen["Parameters in redirect_url"] == names


def test_an_e_mail_address_is_removed_before_its_end_is_cut_off() -> None:
    path = f"/{'a' * MAX_PART_CHARACTERS}@b.example"
    assert shown(f"https://a.example{path}")["Path in redirect_url"] == "/[left out]"


def test_no_more_than_a_bounded_part_is_kept() -> None:
    seen = kept(f"https://{'a' * 8000}.example/{'b/' * 4000}")
    assert (len(seen.redirect_url_host), len(seen.redirect_url_path)) == (MAX_PART_CHARACTERS, MAX_PART_CHARACTERS)


def test_the_values_of_parameters_are_not_kept() -> None:
    seen = kept("https://a.example/?token=secret&secret", "redirect_url=secret&secret")
    assert "secret" not in repr(seen)
    assert "secret" not in seen.redirect_url_path


@given(st.text(max_size=500), st.text(max_size=500))
def test_whatever_comes_is_shown_bounded_and_visible(redirect_url: str, query: str) -> None:
    for text in shown(redirect_url, query).values():
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 6 * MAX_PART_CHARACTERS
    assert len(kept(redirect_url, query).parameters) <= MAX_NAMES
