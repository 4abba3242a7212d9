"""What a browser keeps for signing out: nobody else can read it, it has a size, an end, and only our keys open it."""

from __future__ import annotations

import base64
import secrets

import pytest

from broker.remembrance import (
    LIFETIME,
    MAX_COOKIE_CHARACTERS,
    Remembrance,
    decrypt_remembrance,
    encrypt_remembrance,
)
from broker.signing import CLOCK_LEEWAY
from tests.fakes.clock import START

OLD, NEW = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605", "k2-0506071829304b5a6c7d8e9f0a1b2c3d"
ADA = Remembrance("okta", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwMHUifQ.c2lnbmF0dXJl", "ada-hint")


def sign(remembrance: Remembrance = ADA, *keys: str) -> str:
    return encrypt_remembrance(remembrance, now=START, secret_keys=keys or (OLD,))


def opened(value: str, *keys: str, now: float = START) -> Remembrance | None:
    return decrypt_remembrance(value, now=now, secret_keys=keys or (OLD,))


def test_what_was_sealed_is_opened() -> None:
    assert opened(sign()) == ADA


def test_nobody_else_can_read_it() -> None:
    value = sign()
    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    for told in ("okta", "ada-hint", *ADA.id_token.split(".")):
        assert told not in value
        assert told.encode() not in raw
    assert sign() != value


def test_it_does_not_show_itself() -> None:
    assert repr(ADA) == "Remembrance(provider='okta')"


@pytest.mark.requirement("S-51")
def test_a_changed_key_still_opens_it_until_it_is_gone() -> None:
    value = sign()
    assert opened(value, NEW, OLD) == ADA
    assert opened(value, NEW) is None
    assert opened(sign(ADA, NEW, OLD), NEW) == ADA


@pytest.mark.parametrize(
    ("seconds", "is_open"),
    [
        pytest.param(-CLOCK_LEEWAY - 1, False, id="signed by a clock too far ahead"),
        pytest.param(-CLOCK_LEEWAY, True, id="signed by a clock a minute ahead"),
        pytest.param(LIFETIME, True, id="at the end of the day"),
        pytest.param(LIFETIME + 1, False, id="after it"),
    ],
)
def test_it_has_an_end(seconds: float, is_open: bool) -> None:
    assert (opened(sign(), now=START + seconds) == ADA) is is_open


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="a letter"),
        pytest.param("." * 100, id="dots"),
        pytest.param("A" * 1400, id="zeroes"),
        pytest.param(sign()[:-10], id="cut"),
        pytest.param(f"B{sign()[1:]}", id="another version"),
        pytest.param(f"{sign()[:40]}{'A' if sign()[40] != 'A' else 'B'}{sign()[41:]}", id="a byte of another one"),
        pytest.param(sign(ADA, NEW), id="signed by another broker"),
    ],
)
def test_what_is_not_ours_is_nothing(value: str) -> None:
    assert opened(value) is None


@pytest.mark.parametrize(
    ("id_token", "hint", "kept"),
    [
        pytest.param(600, 20, ("id_token", "logout_hint"), id="a small ID token is kept"),
        pytest.param(1_500, 20, ("logout_hint",), id="a large ID token is left out"),
        pytest.param(200_000, 20, ("logout_hint",), id="a huge ID token is left out"),
        pytest.param(600, 5_000, (), id="so is a hint that is large itself"),
        pytest.param(0, 200_000, (), id="however large"),
    ],
)
def test_it_never_grows_beyond_its_room(id_token: int, hint: int, kept: tuple[str, ...]) -> None:
    remembrance = Remembrance("okta", secrets.token_urlsafe(id_token)[:id_token], secrets.token_urlsafe(hint)[:hint])
    value = sign(remembrance)
    assert len(value) <= MAX_COOKIE_CHARACTERS
    found = opened(value)
    assert found is not None
    assert found.provider == "okta"
    assert found.id_token == (remembrance.id_token if "id_token" in kept else "")
    assert found.logout_hint == (remembrance.logout_hint if "logout_hint" in kept else "")


def test_it_fits_into_a_cookie_as_it_is() -> None:
    assert set(sign()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
