"""Whole requests against the whole broker: nothing but the sign-in under way ever leads to a token or a call."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.world import ENDPOINT, PAGE
from tests.fuzz.request import Stage, stage

HONEST = b"/callback/idp?state={state}&code={code}\ncookie: {cookie}"

PATHS = st.sampled_from(
    [b"/", b"/login", b"/login/", b"/login/main", b"/login/both", b"/login/nobody", b"/callback", b"/callback/idp",
     b"/callback/eu", b"/callback/idp/", b"/logout", b"/logout/both", b"/initiate/idp", b"/setup", b"/metrics",
     b"/healthz", b"//login", b"/login%2Fmain", b"/%6cogin", b"/login/..%2f..", b"/\xff", b"", b"*",
     b"/login/main%00", b"/LOGIN"]
) | st.binary(max_size=12).map(lambda path: b"/" + path.replace(b"\n", b"").replace(b"?", b""))  # fmt: skip
NAMES = st.sampled_from(
    [b"redirect_url", b"idp", b"restarted", b"state", b"code", b"iss", b"error", b"error_description", b"jwt",
     b"site", b"login_hint", b"%73tate", b"code[]", b""]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"{state}", b"{code}", b"{issuer}", b"{state}=", b"{state}.", b"x{state}", b"{code}x", b"", b"idp", b"eu", b"1",
     PAGE.encode(), ENDPOINT.encode(), b"https://evil.example/", b"//evil.example", b"access_denied", b"server_error",
     b"%0d%0aSet-Cookie:%20a=b", b"%00", b"%ff%fe", b"%", b"<script>", b"a.b.c"]
) | st.binary(max_size=8).map(lambda value: quote_from_bytes(value).encode())  # fmt: skip
HEADERS = st.sampled_from(
    [b"cookie: {cookie}", b"cookie: {cookie}; {cookie}", b"cookie: a=b; {cookie}", b"cookie: {cookie}x",
     b"cookie:  {cookie} ; x", b"cookie: \xa0{cookie}", b"cookie: __Host-signin_AAAAAAAAAA=1.A",
     b"host: evil.example", b"host: ", b"host: a, b", b"x-forwarded-host: evil.example", b"x-forwarded-proto: http",
     b"x-forwarded-for: ::1, 10.0.0.1", b"forwarded: host=evil", b"x-original-url: /setup", b"x-rewrite-url: /setup",
     b"x-http-method-override: POST", b"sec-fetch-mode: cors", b"sec-fetch-mode: navigate", b"sec-fetch-dest: iframe",
     b"sec-purpose: prefetch", b"purpose: prefetch", b"content-length: 5", b"content-length: 0",
     b"transfer-encoding: chunked", b"origin: https://evil.example", b"accept: */*", b"accept-language: \xff",
     b"range: bytes=0-", b"expect: 100-continue", b"upgrade: websocket"]
)  # fmt: skip
SMALL_CHANGES = st.sampled_from([(b"{code}", b"x"), (b"idp", b"eu"), (b"&", b"&&"), (b"state=", b"")])
METHODS = st.sampled_from([b""] * 6 + [b"HEAD ", b"POST ", b"OPTIONS ", b"get ", b"TRACE "])
PARAMETERS = st.builds(b"%b=%b".__mod__, st.tuples(NAMES, VALUES))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Write a request as text, with placeholders for what the sign-in under way has."""
    query = b"&".join(draw(st.lists(PARAMETERS, max_size=4)))
    target = draw(METHODS) + draw(PATHS) + (b"?" + query if query else b"")
    return b"\n".join([target, *draw(st.lists(HEADERS, max_size=3))])


@st.composite
def nearly_honest(draw: st.DrawFn) -> bytes:
    """Take the one request that leads to a token, and change a little."""
    target, _, cookie = HONEST.partition(b"\n")
    for parameter in draw(st.lists(PARAMETERS, max_size=2)):
        target += b"&" + parameter
    if draw(st.booleans()):
        target = target.replace(
            *draw(st.sampled_from([(b"{code}", b"x"), (b"idp", b"eu"), (b"&", b"&&"), (b"state=", b"")]))
        )
    lines = [draw(st.sampled_from([cookie, cookie + b"; a=b", cookie[:-1], b""])), *draw(st.lists(HEADERS, max_size=2))]
    return b"\n".join([draw(METHODS) + target, *draw(st.permutations(lines))])


@pytest.fixture(scope="module")
def playing() -> Iterator[Stage]:
    with stage() as ready:
        yield ready


def test_the_honest_request_leads_to_a_token(playing: Stage) -> None:
    """Otherwise the properties below would hold of nothing."""
    reply = playing.play(HONEST)
    assert reply.status == 303
    assert reply.values(b"location")[0].startswith(f"{ENDPOINT}?jwt=")


@settings(max_examples=300, deadline=None)
@given(request=requests())
def test_no_request_breaks_the_broker_or_gets_a_token_by_chance(playing: Stage, request: bytes) -> None:
    playing.play(request)


@settings(max_examples=300, deadline=None)
@given(request=nearly_honest())
def test_no_request_near_the_honest_one_gets_more_than_it_may(playing: Stage, request: bytes) -> None:
    playing.play(request)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_no_bytes_at_all_break_the_broker(playing: Stage, data: bytes) -> None:
    playing.play(data)
