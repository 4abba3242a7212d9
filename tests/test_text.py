"""Foreign text is shown and logged as visible characters only, bounded, without secrets and e-mail addresses."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.text import (
    MAX_CHARACTERS,
    is_plain,
    mask_emails,
    printable,
    printable_json,
    redact,
    redact_opaque,
    redact_path,
)

NESTED: object = 1
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param("acme.example", "acme.example", id="text"),
        pytest.param("日本 Zoë", "日本 Zoë", id="any script"),
        pytest.param(7, "7", id="number"),
        pytest.param(10**5000, "a long number", id="5,000 digits"),
        pytest.param(True, "true", id="boolean"),
        pytest.param(None, "nothing", id="nothing"),
        pytest.param(["a", "b"], "a, b", id="list"),
        pytest.param({"sub": "1"}, "an object", id="object"),
        pytest.param(["a", {"sub": "1"}], "a, an object", id="object in a list"),
        pytest.param(["x"] * 500, ("x, " * 100) + "...", id="long list"),
        pytest.param("x" * MAX_CHARACTERS, "x" * MAX_CHARACTERS, id="the longest text"),
        pytest.param("x" * 10**6, "x" * MAX_CHARACTERS + "...", id="a million characters"),
        pytest.param("\x00" * 10**6, "\\u0000" * 50 + "...", id="a million controls"),
        pytest.param("a\r\n\t\x85\u2028\u2029\xa0b", "a       b", id="white space and line breaks"),
        pytest.param("a\x1b[2Jb\x07\x9b", "a\\u001b[2Jb\\u0007\\u009b", id="terminal codes"),
        pytest.param("a\u202eb\u2066\u061c", "a\\u202eb\\u2066\\u061c", id="direction marks"),
        pytest.param("a\ud800b", "a\\ud800b", id="half of a surrogate pair"),
        pytest.param("a\u200b\u034f\u3164\ufe0f\u2800", "a\\u200b\\u034f\\u3164\\ufe0f\\u2800", id="invisible marks"),
        pytest.param("a\U000e0041", "a\\ue0041", id="an invisible tag"),
    ],
)
def test_any_value_becomes_one_short_line_of_visible_characters(value: object, line: str) -> None:
    assert printable(value) == line


@settings(max_examples=500)
@given(st.one_of(st.text(), st.text(st.sampled_from("ab@%40 .\x7f\n")), st.text(min_size=MAX_CHARACTERS)))
def test_a_plain_text_is_a_text_that_masking_and_escaping_leave_as_it_is(text: str) -> None:
    if is_plain(text):
        assert printable(mask_emails(text)) == text


@pytest.mark.parametrize("odd", [*"\x00\n\x7f\x85\u202e\u200b\ud800\u00e9@%", "x" * MAX_CHARACTERS])
def test_a_text_with_anything_else_is_not_plain(odd: str) -> None:
    assert is_plain("sign-in")
    assert not is_plain(f"sign{odd}-in")


def test_an_address_is_shown_in_ascii() -> None:
    """A Cyrillic letter looks like a Latin one."""
    assert printable("a\u0441me.example", ascii_only=True) == "a\\u0441me.example"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("ada@acme.example", "ada@acme.example", id="text"),
        pytest.param(True, "true", id="boolean"),
        pytest.param(None, "null", id="nothing"),
        pytest.param(["a", 1, {"b": None}], '["a", 1, {"b": null}]', id="nested"),
        pytest.param({"a": {"b": {"c": {"d": 1}}}}, '{"a": {"b": {"c": "{...}"}}}', id="deep"),
        pytest.param([[[[1]]]], '[[["[...]"]]]', id="deep lists"),
        pytest.param(NESTED, '[[["[...]"]]]', id="deep without end"),
        pytest.param(list(range(11)), '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "..."]', id="long list"),
        pytest.param(dict.fromkeys("abcdefghijk", 0), None, id="large object"),
        pytest.param(10**5000, '"a long number"', id="long number"),
        pytest.param("x" * 500, "x" * MAX_CHARACTERS + "...", id="long text"),
        pytest.param("Ä\u200b\u2028\xa0é", "Ä\\u200b  é", id="invisible"),
    ],
)
def test_any_json_becomes_one_short_line_of_visible_characters(value: object, shown: str | None) -> None:
    line = printable_json(value)
    assert line == shown or (shown is None and line.endswith('"...": "..."}'))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in upper case": str.upper,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: quote(secret, safe="").lower(),
    "percent-encoded as a path": quote,
    "percent-encoded twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "form-encoded": quote_plus,
    "escaped as JSON": lambda secret: json.dumps(secret)[1:-1],
    "escaped as JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "escaped as HTML": html.escape,
}
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=200) | st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=4, max_size=80
)


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", ["Zx9w8v7u:with %odd+chars~8Q!v4", 'a"b\\c/d&e', "pä:ss wörd", "Abcd", "x" * 5000])
def test_a_secret_is_removed_in_any_spelling(secret: str, spelling: Callable[[str], str]) -> None:
    written = spelling(secret)
    assert redact(f"no '{written}' here", [secret]) in ("no '[left out]' here", "no '[left out] here")


@pytest.mark.requirement("S-55")
@settings(max_examples=200, deadline=None)
@given(secret=SECRETS, spelling=st.sampled_from([*SPELLINGS.values()]), before=st.text(max_size=20))
def test_any_secret_is_removed_in_any_spelling(secret: str, spelling: Callable[[str], str], before: str) -> None:
    written = spelling(secret)
    assert written.lower() not in redact(f"{before} {written} {before}", [secret]).lower().replace("[left out]", "\0")


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize("letter", ["\u00b5", "\u00df", "\u0130", "\u0131", "\u017f", "\u03c2", "\ufb01"])
def test_a_letter_whose_case_is_another_character_hides_no_secret(letter: str) -> None:
    secret = f"Zq7!{letter}!Zq"
    for changed in (secret.upper(), secret.lower(), secret.title(), secret.casefold()):
        assert redact(f"no '{changed}' here", [secret]) in ("no '[left out]' here", "[left out]")


def test_a_part_of_a_secret_is_removed() -> None:
    assert redact("the end of it: Pl-9_aQ", ["4/0AeaYSHBqk7Wv1m*Pl-9_aQ"]) == "the end of it: [left out]"
    assert redact("its beginning: " + "a1" * 40, ["a1" * 500]) == "its beginning: [left out]"


def test_a_short_secret_is_passed_over() -> None:
    assert redact("an abc", ["abc", ""]) == "an abc"


def test_a_secret_is_removed_wherever_it_stands_in_json() -> None:
    secret = "SplxlOBeZQQYbYS6WxSbIA"
    value = {"a": [secret, {secret: f"x {secret}"}], "b": 1, "c": None, "d": True}
    assert redact(value, [secret]) == {
        "a": ["[left out]", {"[left out]": "x [left out]"}],
        "b": 1,
        "c": None,
        "d": True,
    }
    assert redact(NESTED, [secret]) == [[[["..."]]]]


def test_tokens_of_any_length_are_removed_without_keeping_others_waiting() -> None:
    tokens = ["a" * 200_000, "Token-" + "b" * 200_000, "c%" * 100_000]
    began = time.process_time()
    said = redact({"said": f"{tokens[0]} and {tokens[1]} and {base64.b64encode(bytes([7]) * 200_000)!r}."}, tokens)
    assert said["said"].startswith("[left out] and [left out] and b'Bwc")
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    ("said", "left"),
    [
        pytest.param("code AbCdEfGhIjKlMnOpQrStUvWx unknown", "code [left out] unknown", id="a code"),
        pytest.param("a" * 40, "[left out]", id="a long word"),
        pytest.param("token_endpoint_auth_method", "token_endpoint_auth_method", id="a protocol name"),
        pytest.param("3f2504e0-4f89-11d3-9a0c-0305e82c3301.", "3f2504e0-4f89-11d3-9a0c-0305e82c3301.", id="a GUID"),
    ],
)
def test_long_opaque_words_are_removed(said: str, left: str) -> None:
    assert redact_opaque(said) == left


@pytest.mark.parametrize(
    ("path", "left"),
    [
        pytest.param("mian", "mian", id="one part"),
        pytest.param("/a/" + "!" * 41, "/a/[left out]", id="a long part"),
        pytest.param("/a/AbCdEfGhIjKlMnOpQrStUvWx/b", "/a/[left out]/b", id="an opaque part"),
        pytest.param("/" + "a/" * 200, "/" + "a/" * 58 + "a/...", id="a long path"),
        pytest.param("/" + "ab/" * 38 + "s3cret-code-12/x", "/" + "ab/" * 37 + "ab/...", id="a code at the end"),
    ],
)
def test_a_path_keeps_its_short_parts(path: str, left: str) -> None:
    assert redact_path(path) == left


@given(st.text())
def test_no_mask_takes_the_domain_away(text: str) -> None:
    assert mask_emails(f"{text} ada@acme.example") == f"{mask_emails(text)} ***@acme.example"
