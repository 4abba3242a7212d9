"""The strict reading of JSON, and a provider's words made fit for our log."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import AnswerUnreadable, UserinfoInvalid
from broker.oidc.messages import (
    RESPONSE_LIMIT,
    place,
    read_json_object,
    safe_error_text,
    short_text,
    text_member,
    whole_words,
)
from broker.text import type_name


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"<html></html>", id="a web page"),
        pytest.param(b'{"a": 1} {"b": 2}', id="two objects"),
        pytest.param(b'{"a": 1', id="broken off"),
        pytest.param(b'{"a": 1, "a": 2}', id="a member twice"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', id="a member twice, once escaped"),
        pytest.param(b'{"deep": [{"a": 1, "a": 2}]}', id="a member twice, further down"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": Infinity}', id="Infinity"),
        pytest.param(b'{"a": -Infinity}', id="minus Infinity"),
        pytest.param(b'{"a": 1e400}', id="a number beyond a float"),
        pytest.param(b'{"a": -1e400}', id="a number far below a float"),
        pytest.param(b'{"a": ' + b"9" * 100_000 + b"}", id="an integer of 100,000 digits"),
        pytest.param(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="100,000 arrays deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 objects deep"),
        pytest.param(b"[" * 100_000, id="100,000 arrays never closed"),
        pytest.param(b'{"a": "\xff"}', id="a byte that is no UTF-8"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"a": "\xc0\xaf"}', id="an overlong slash"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbf{}", id="two byte order marks"),
        pytest.param(b"{}\xef\xbb\xbf", id="a byte order mark behind it"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"a": 1}'.encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param('{"a": 1}'.encode("utf-32"), id="UTF-32"),
        pytest.param(b'{"a": "\n"}', id="a raw control character"),
        pytest.param(b"{'a': 1}", id="single quotes"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        read_json_object(body)


def test_a_byte_order_mark_is_ignored() -> None:
    """RFC 8259, section 8.1."""
    assert read_json_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "got"),
    [
        pytest.param(b"", "an empty body", id="nothing"),
        pytest.param(b"<html></html>", "a page of HTML or XML; not JSON: Expecting value at position 0", id="a page"),
        pytest.param(b'{"a": 1', "not JSON: Expecting ',' delimiter at position 7", id="broken off"),
        pytest.param(b'{"issuer": 1, "issuer": 2}', "member `issuer` twice", id="a member twice"),
        pytest.param(
            b'{"' + b"Xy7" * 10 + b'": 1, "' + b"Xy7" * 10 + b'": 2}', "member `[left out]` twice", id="secret"
        ),
        pytest.param(b'{"a": "\xff"}', "not UTF-8: byte 0xff at position 7", id="no UTF-8"),
        pytest.param(b'{"a": NaN}', "not JSON: the number NaN", id="NaN"),
        pytest.param(b'{"a": 1e400}', "a number beyond bounds", id="a number beyond a float"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "a number of too many digits", id="too many digits"),
        pytest.param(b"[" * 100_000, "JSON nested too deep", id="too deep"),
        pytest.param(b"[]", "JSON, but an array", id="an array"),
        pytest.param(b"null", "JSON, but null", id="null"),
    ],
)
def test_the_reason_a_body_cannot_be_read_is_named(body: bytes, got: str) -> None:
    with pytest.raises(AnswerUnreadable) as refusal:
        read_json_object(body)
    assert refusal.value.got == got


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_every_json_object_is_read_as_it_was_written(document: dict[str, object]) -> None:
    assert read_json_object(json.dumps(document)) == document
    assert read_json_object(json.dumps(document).encode()) == document


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        document = read_json_object(body)
    except AnswerUnreadable:
        return
    assert isinstance(document, dict)


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":' + b"[" * (RESPONSE_LIMIT - 5), id="arrays"),
        pytest.param(b'{"a":' + b"1" * (RESPONSE_LIMIT - 6) + b"}", id="digits"),
        pytest.param(b'{"a":0.' + b"1" * (RESPONSE_LIMIT - 8) + b"}", id="decimal places"),
        pytest.param(b'{"a":"' + b"\\u0000" * ((RESPONSE_LIMIT - 8) // 6) + b'"}', id="escapes"),
        pytest.param(b'{"a":[' + b"9" * 4000 + (b"," + b"9" * 4000) * 60 + b"]}", id="many long numbers"),
    ],
)
def test_the_largest_answer_is_read_or_refused_in_no_time(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(AnswerUnreadable):
        read_json_object(body)
    assert time.process_time() - started < 3  # milliseconds; of this process, whatever else the machine does


@pytest.mark.parametrize(
    ("value", "got"),
    [
        pytest.param(None, "id_token: nothing", id="null"),
        pytest.param("", "id_token: an empty string", id="an empty string"),
        pytest.param(["x"], "id_token: an array", id="a list"),
        pytest.param(True, "id_token: true", id="true"),
    ],
)
def test_a_member_that_is_no_text_is_refused_without_showing_it(value: object, got: str) -> None:
    with pytest.raises(UserinfoInvalid) as refusal:
        text_member({"id_token": value}, "id_token", UserinfoInvalid)
    assert refusal.value.got == got


def test_the_shape_of_a_value_does_not_tell_the_value() -> None:
    assert [type_name(value) for value in (None, "", "secret", 1, {"a": "secret"})] == [
        "nothing",
        "an empty string",
        "a text",
        "a number",
        "an object",
    ]


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    ("error", "description", "said"),
    [
        pytest.param("access_denied", "Not assigned.", "access_denied: Not assigned.", id="both"),
        pytest.param("access_denied", None, "access_denied", id="no description"),
        pytest.param({"a": 1}, ["b"], "", id="neither is text"),
        pytest.param("x", "code AbCdEfGhIjKlMnOpQrStUvWx unknown", "x: code [left out] unknown", id="a code echoed"),
        pytest.param(
            "admin_policy_enforced",
            "missing 'token_endpoint_auth_method', or code_challenge_method.",
            "admin_policy_enforced: missing 'token_endpoint_auth_method', or code_challenge_method.",
            id="names of protocol members stay",
        ),
        pytest.param("x", "y" * 17 + "_client_secret", "x: [left out]", id="a word too long for a name"),
        pytest.param("x", "client_secret_A1b2C3d4", "x: [left out]", id="a name with other letters"),
        pytest.param(
            "x",
            "send application/x-www-form-urlencoded",
            "x: send application/x-www-form-urlencoded",
            id="a media type stays",
        ),
        pytest.param("AbCdEfGhIjKlMnOpQrStUvWx", None, "[left out]", id="a code echoed as an error"),
        pytest.param("a" * 40, None, "[left out]", id="a long word that is no error code"),
        pytest.param(
            "invalid_client",
            "Trace ID: 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "invalid_client: Trace ID: 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            id="Microsoft's trace id stays",
        ),
    ],
)
def test_a_providers_words_go_to_the_log_without_what_could_be_a_secret(
    error: object, description: object, said: str
) -> None:
    assert safe_error_text(error, description) == said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("https://a:b@login.example:8443/x/y?code=1#z", "login.example:8443/x/y", id="an address"),
        pytest.param("https://dev-12345678.okta.example/x", "dev-12345678.okta.example/x", id="a long host"),
        pytest.param("/login?next=1", "/login", id="a path"),
        pytest.param("https://login.example/AbCdEfGhIjKlMnOpQrStUvWx/x", "login.example/[left out]/x", id="a secret"),
        pytest.param("", "no address", id="nothing"),
        pytest.param("https://[", "no address", id="half a bracket"),
    ],
)
def test_an_address_is_shown_without_its_query(url: str, shown: str) -> None:
    assert place(url) == shown


@pytest.mark.requirement("S-54")
def test_words_are_cut_between_two_of_them() -> None:
    """Half of a credential would no longer be left out by its value."""
    assert whole_words("the secret pa:ss:word is wrong", 18) == "the secret ..."
    assert whole_words("the secret", 10) == "the secret"
    assert whole_words("x" * 30, 10) == " ..."
    assert safe_error_text("e", "word " * 200 + "pa:ss").endswith("word ...")
    assert short_text("a:b" * 21) == "a text of 63 characters"
    assert short_text("") == "an empty string"
