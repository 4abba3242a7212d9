"""The client on real sockets: what it sends, what it takes, and how it bears a server that misbehaves (S-41, S-42)."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.errors import (
    AnswerTooLarge,
    AnswerUnexpected,
    BrokerError,
    ProviderUnreachable,
)
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import RESPONSE_LIMIT, ProviderRequest, ProviderResponse
from tests.oidc.servers import Server, Talk, hangs_up, ok, says, serving

LIMIT = 1000  # bytes
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def loopback_client() -> AsyncIterator[ProviderClient]:
    network = NetworkPolicy(private_networks=True)
    async with open_client(network) as http:
        yield ProviderClient(http, network)


def get(server: Server, path: str = "/keys", *, limit: int = LIMIT) -> ProviderRequest:
    return ProviderRequest("GET", f"http://127.0.0.1:{server.port}{path}", limit, {"Accept": "application/json"})


def post(server: Server) -> ProviderRequest:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return ProviderRequest("POST", f"http://127.0.0.1:{server.port}/token", LIMIT, headers, "code=c1&x=%C3%A4")


async def ask(talk: Talk, *, reads: bool = True, limit: int = LIMIT) -> ProviderResponse:
    """Ask a server that talks like this."""
    async with serving(talk, reads=reads) as server, loopback_client() as client:
        return await client.send(get(server, limit=limit))


async def test_a_get_says_what_it_wants_and_no_more() -> None:
    async with serving(says(ok())) as server, loopback_client() as client:
        await client.send(get(server, "/a%2Fb/c?p=x%26y&q=%2B+z"))
    first, *lines = server.requests[0].decode().rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == "GET /a%2Fb/c?p=x%26y&q=%2B+z HTTP/1.1"
    assert headers.pop("host") == f"127.0.0.1:{server.port}"
    assert headers.pop("connection", "keep-alive") == "keep-alive"
    assert headers == {"accept": "application/json", "accept-encoding": "identity", "user-agent": "comm100-sso-broker"}


async def test_a_post_carries_its_form() -> None:
    async with serving(says(ok())) as server, loopback_client() as client:
        await client.send(post(server))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"content-type: application/x-www-form-urlencoded" in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == b"code=c1&x=%C3%A4"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(["Cache-Control: public, max-age=600"], {"max_age": 600}, id="max-age"),
        pytest.param(["Cache-Control: MAX-AGE=600"], {"max_age": 600}, id="max-age in upper case"),
        pytest.param(["Cache-Control: s-maxage=600"], {}, id="s-maxage is for shared caches"),
        pytest.param(["Cache-Control: max-age=-1"], {}, id="a negative max-age"),
        pytest.param(["Cache-Control: max-age=" + "9" * 30], {}, id="a max-age beyond bounds"),
        pytest.param(["Retry-After: 30"], {"retry_after": 30}, id="Retry-After"),
        pytest.param(["Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"], {}, id="Retry-After as a date"),
        pytest.param(["Retry-After: 9999999"], {}, id="Retry-After beyond bounds"),
    ],
)
async def test_of_the_headers_only_what_we_know_is_read(headers: list[str], expected: dict[str, int]) -> None:
    answer = await ask(says(ok(b"{}", *headers)))
    assert (answer.status, answer.media_type, answer.body) == (200, "application/json", b"{}")
    assert {name: value for name in ("max_age", "retry_after") if (value := getattr(answer, name))} == expected


@pytest.mark.parametrize(
    ("header", "media_type"),
    [("Application/JSON; charset=UTF-8", "application/json"), ("text/html", "text/html"), ("", "")],
)
async def test_the_media_type_is_without_parameters(header: str, media_type: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: {header}\r\n\r\n"
    assert (await ask(says(head.encode() + b"{}"))).media_type == media_type


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize("status", [201, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_any_status_comes_back_and_no_redirect_is_followed(status: int) -> None:
    async with serving(says(ok())) as target, loopback_client() as client:
        elsewhere = f"Location: http://127.0.0.1:{target.port}/stolen"
        async with serving(says(ok(b"{}", elsewhere, status=f"{status} Odd"))) as server:
            assert (await client.send(get(server))).status == status
            assert (await client.send(post(server))).status == status
    assert target.connections == 0
    assert len(server.requests) == 2


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_cookie_is_kept(host: str) -> None:
    """Two people share this client. A jar may treat an address and a name differently."""
    cookies = ["Set-Cookie: session=ada; Path=/", f"Set-Cookie: second=2; Domain={host}", "Set-Cookie: third=3"]
    async with serving(says(ok(b"{}", *cookies))) as server, loopback_client() as client:
        for _ in range(3):
            await client.send(ProviderRequest("GET", f"http://{host}:{server.port}/keys", LIMIT))
    assert not [request for request in server.requests if b"cookie" in request.lower()]


async def test_fifty_calls_use_one_connection() -> None:
    async with serving(says(ok())) as server, loopback_client() as client:
        for _ in range(25):
            await client.send(get(server))
            await client.send(post(server))
    assert (len(server.requests), server.connections) == (50, 1)


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "in chunks"])
async def test_the_limit_is_exact(chunked: bool) -> None:
    def answer(size: int) -> bytes:
        body = b"x" * size
        return HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else ok(body)

    assert len((await ask(says(answer(LIMIT)))).body) == LIMIT
    with pytest.raises(AnswerTooLarge) as refusal:
        await ask(says(answer(LIMIT + 1)))
    assert (refusal.value.expected, refusal.value.got) == ("at most 1000 bytes", "1001 bytes so far")


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(b"x" * 10**6), id="gzip"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(b"x" * 10**7)), id="gzip twice"),
        pytest.param("GZIP", gzip.compress(b"{}"), id="in upper case"),
        pytest.param("identity, gzip", gzip.compress(b"{}"), id="after identity"),
        pytest.param("deflate", b"x", id="deflate"),
        pytest.param("br", b"x", id="brotli"),
        pytest.param("zstd", b"x", id="zstandard"),
    ],
)
async def test_a_compressed_answer_is_refused_unread(encoding: str, body: bytes) -> None:
    """It was declined."""
    with pytest.raises(AnswerTooLarge) as refusal:
        await ask(says(ok(body, f"Content-Encoding: {encoding}")), limit=RESPONSE_LIMIT)
    assert refusal.value.got == f"Content-Encoding: {encoding}"


@pytest.mark.parametrize("encoding", ["identity", "", "utf-8", "UTF8", "identity, utf-8"])
async def test_identity_is_no_encoding_and_neither_is_a_character_set(encoding: str) -> None:
    assert (await ask(says(ok(b"{}", f"Content-Encoding: {encoding}")))).body == b"{}"


@pytest.mark.parametrize(
    ("pieces", "expected", "got"),
    [
        pytest.param([b""], ProviderUnreachable, "connection closed before an answer came", id="nothing at all"),
        pytest.param([b"SSH-2.0-Open\r\n"], AnswerUnexpected, "not HTTP: begins with SSH-2.0-Open", id="SSH"),
        pytest.param([b"220 a ESMTP\r\n"], AnswerUnexpected, "not HTTP: begins with 220 a ESMTP", id="SMTP"),
        pytest.param([b"\x15\x03\x01\0\2\2\x46"], AnswerUnexpected, "TLS at an address with http", id="a TLS alert"),
        pytest.param([b"<html>hello</html>\r\n\r\n"], AnswerUnexpected, "begins with <html>", id="HTTP/0.9"),
        pytest.param([b"HTTP/1.1 abc OK\r\n\r\n"], AnswerUnexpected, "code: HTTP/1.1 abc OK", id="no number"),
        pytest.param([b"HTTP/1.1 20000 OK\r\n\r\n"], AnswerUnexpected, "HTTP/1.1 20000 OK", id="five digits"),
        pytest.param([HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n"], AnswerUnexpected,
                     "invalid HTTP: more than 32768 bytes outside the body", id="a header far too long"),
        pytest.param([HEAD + b"A: b\r\n" * 3000 + b"\r\n"], AnswerUnexpected,
                     "invalid HTTP: more than 128 header lines", id="too many headers"),
        pytest.param([HEAD + b"s3cret\r\n\r\n"], AnswerUnexpected, "invalid HTTP: Invalid header token", id="no colon"),
        pytest.param([HEAD + b"Content-Length: -5\r\n\r\n{}"], AnswerUnexpected,
                     "invalid HTTP: Invalid character in Content-Length", id="a negative length"),
        pytest.param([HEAD + b"Content-Length: 2, 3\r\n\r\n{}"], AnswerUnexpected,
                     "invalid HTTP: Invalid character in Content-Length", id="two lengths"),
        pytest.param([HEAD + b"Content-Length: 50\r\n\r\n{}"], ProviderUnreachable,
                     "answer broken off after 2 bytes: connection closed", id="a length never reached"),
        pytest.param([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzzs3cret\r\n"], AnswerUnexpected,
                     "invalid HTTP: Invalid character in chunk size", id="chunks that are none"),
        pytest.param([HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}"], ProviderUnreachable,
                     "answer broken off after 2 bytes: connection closed",
                     id="half a chunk"),
        pytest.param([HEAD[:20]], ProviderUnreachable, "connection closed before an answer came", id="half a head"),
        pytest.param([HEAD + b"Content-Length: 2\r\n\r\n{}{'access_token': 's3cret'}"], AnswerUnexpected,
                     "bytes after the answer that are not HTTP", id="a length too small"),
        pytest.param([HEAD + b"Content-Length: 2\r\n\r\nabs3cret.s3cret'}"], AnswerUnexpected,
                     "bytes after the answer that are not HTTP", id="a length too small, in the middle of a token"),
    ],
)  # fmt: skip
async def test_what_is_no_http_is_refused_and_said_without_a_piece_of_a_body(
    pieces: list[bytes], expected: type[BrokerError], got: str
) -> None:
    with pytest.raises(expected) as refusal:
        await ask(says(*pieces, close=True))
    assert str(refusal.value.got).endswith(got) or got in str(refusal.value.got)
    assert "s3cret" not in f"{refusal.value.expected} {refusal.value.got}"
    assert "Error" not in str(refusal.value.got)


async def test_an_answer_that_comes_before_the_request_is_not_taken_for_the_next_one() -> None:
    """A surplus answer on a kept connection must not reach the next person."""
    surplus = ok(b'{"for": "ada"}') + ok(b'{"for": "eve"}')
    async with serving(says(surplus)) as server, loopback_client() as client:
        answers = [await client.send(get(server)) for _ in range(4)]
    assert {answer.body for answer in answers} == {b'{"for": "ada"}'}


@pytest.mark.requirement("S-45")
@pytest.mark.parametrize("reads", [True, False], ids=["after the request", "before the request"])
async def test_a_dropped_connection_is_not_tried_again(reads: bool) -> None:
    """The provider may have seen the code."""
    async with serving(hangs_up, reads=reads) as server, loopback_client() as client:
        with pytest.raises(ProviderUnreachable):
            await client.send(post(server))
    assert server.connections == 1


@pytest.mark.requirement("S-45")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_dies_before_the_answer_is_replaced_once(method: str) -> None:
    """Servers close connections that they kept for too long, and lose a request that is sent at that moment."""

    async def closes_the_second(_: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 2:
            writer.close()
        else:
            writer.write(ok())

    async with serving(closes_the_second) as server, loopback_client() as client:
        for _ in range(2):
            assert (await client.send(get(server) if method == "GET" else post(server))).status == 200
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.requirement("S-45")
async def test_a_kept_connection_that_dies_late_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider had the time to redeem the code."""
    monkeypatch.setattr("broker.oidc.transport.REPEAT_SECONDS", 0.05)

    async def works_on_the_second(_: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.write(ok())
        else:
            await asyncio.sleep(0.1)
            writer.close()

    async with serving(works_on_the_second) as server, loopback_client() as client:
        await client.send(post(server))
        with pytest.raises(ProviderUnreachable) as failure:
            await client.send(post(server))
    assert (failure.value.got, failure.value.phase) == ("connection closed before an answer came", "waiting")
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.requirement("S-45")
async def test_a_request_is_sent_on_no_third_connection() -> None:
    async def answers_once(_: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.write(ok())
        else:
            writer.close()

    async with serving(answers_once) as server, loopback_client() as client:
        await client.send(post(server))
        with pytest.raises(ProviderUnreachable):
            await client.send(post(server))
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.requirement("S-45")
async def test_a_kept_connection_that_breaks_off_an_answer_is_not_replaced() -> None:
    """The provider has redeemed the code."""

    async def breaks_off_the_second(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ok() if len(server.requests) == 1 else b"H")
        if len(server.requests) > 1:
            writer.close()

    async with serving(breaks_off_the_second) as server, loopback_client() as client:
        await client.send(post(server))
        with pytest.raises(ProviderUnreachable):
            await client.send(post(server))
    assert (len(server.requests), server.connections) == (2, 1)


async def test_a_kept_connection_closed_in_between_costs_nothing() -> None:
    async with serving(says(ok(), close=True)) as server, loopback_client() as client:
        for _ in range(5):
            assert (await client.send(post(server))).status == 200
            await asyncio.sleep(0.05)
    assert (len(server.requests), server.connections) == (5, 5)


async def test_a_refused_port_is_unreachable() -> None:
    async with serving(says(ok())) as server:
        pass
    async with loopback_client() as client:
        with pytest.raises(ProviderUnreachable) as failure:
            await client.send(post(server))
    assert failure.value.expected == f"a connection to 127.0.0.1:{server.port}/token"
    assert failure.value.got == f"Connection refused (127.0.0.1 port {server.port})"


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    async with loopback_client() as client:
        with pytest.raises(ProviderUnreachable) as failure:
            await client.send(ProviderRequest("GET", "https://no-such-host.invalid/keys", LIMIT))
    assert str(failure.value.got).endswith(": no-such-host.invalid")
    assert re.match("Name or service not known|Temporary failure in name resolution", str(failure.value.got))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/", "http://[::1/", "https://.idp.invalid/", "ftp://127.0.0.1/", "nonsense", "http:///x"],
)
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    async with loopback_client() as client:
        with pytest.raises((AnswerUnexpected, ProviderUnreachable)):
            await client.send(ProviderRequest("GET", url, LIMIT))
