"""Requests that never arrive in full, or are none: they lose their connection, and cost nobody anything else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from broker.http_protocol import LINGER_BYTES, BoundedProtocol
from tests.fakes.processes import served


def browser() -> httpx.Client:
    return httpx.Client(trust_env=False, follow_redirects=False, timeout=20)


class Hasty(BoundedProtocol):
    """The same protocol with less patience, so that nobody waits for ten seconds."""

    seconds = 0.4
    linger_seconds = 0.3


async def at_once(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def later(_: Request) -> PlainTextResponse:
    await asyncio.sleep(3 * Hasty.seconds)
    return PlainTextResponse("at last")


async def soon(_: Request) -> PlainTextResponse:
    await asyncio.sleep(0.1)
    return PlainTextResponse("soon")


async def names_of_headers(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(f"{sorted(request.headers)} {len(body)}")


async def large(_: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * 1_000_000)


SITE = Starlette(
    routes=[
        Route("/", at_once),
        Route("/later", later),
        Route("/soon", soon),
        Route("/headers", names_of_headers, methods=["GET", "POST"]),
        Route("/large", large),
    ]
)


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    with served(SITE, http=Hasty, server_header=False, timeout_keep_alive=0.2) as port:
        yield port


def all_of(connection: socket.socket) -> bytes:
    """Read until the server hangs up; a reset is a way to hang up."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


HEAD = b"GET / HTTP/1.1\r\nHost: sso.acme.example\r\n"
REFUSED_BODY = b"POST / HTTP/1.1\r\nHost: sso.acme.example\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "dripped", "answer"),
    [
        pytest.param(b"", b"", b"", id="nothing at all"),
        pytest.param(HEAD, b"", b"", id="half a head"),
        pytest.param(b"", HEAD + b"X: y\r\n" * 100, b"", id="a head, byte by byte"),
        pytest.param(HEAD + b"\r\n" + HEAD, b"", b"200 OK", id="a request and half of another"),
        pytest.param(REFUSED_BODY, b"", b"405", id="a head that announces a body, and no body"),
        pytest.param(REFUSED_BODY, b"x" * 1000, b"405", id="a body, byte by byte"),
    ],
)
def test_a_request_that_does_not_arrive_in_time_loses_its_connection(
    sent: bytes, dripped: bytes, answer: bytes, hasty_port: int
) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(sent)
        dripping = threading.Thread(target=drip, args=(connection, dripped))
        dripping.start()
        received = all_of(connection)
        dripping.join()
    assert time.monotonic() - started < 10  # the bytes alone would take longer
    assert (answer in received) if answer else received == b""


def drip(connection: socket.socket, data: bytes) -> None:
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(0.02)


def test_time_spent_answering_is_not_the_browsers(hasty_port: int) -> None:
    with browser() as person:
        assert person.get(f"http://127.0.0.1:{hasty_port}/later").text == "at last"
        assert person.get(f"http://127.0.0.1:{hasty_port}/later").text == "at last"


def test_a_head_of_60_megabytes_is_refused_after_the_first_of_them(hasty_port: int) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(HEAD + b"X: ")
        try:
            while sent < 60_000_000:
                sent += connection.send(b"x" * 65536)
        except ConnectionError:
            pass
    assert sent < LINGER_BYTES + 10_000_000, "what is dropped and what the kernel buffers, and no more"


def test_what_is_no_request_gets_the_same_headers_as_any_other(hasty_port: int) -> None:
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(b"<script>alert(1)</script>\r\n\r\n")
        received = all_of(connection).lower()
    assert received.startswith(b"http/1.1 400 ")
    assert b"content-security-policy: default-src 'none'" in received
    assert b"server:" not in received
    assert b"script" not in received


@pytest.mark.parametrize("waits", [False, True], ids=["in one piece", "body later"])
@pytest.mark.parametrize("framing", [b"Content-Length: 38", b"Transfer-Encoding: chunked"], ids=["length", "chunks"])
@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0", b"anything"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_upgrade_is_ignored_and_its_body_is_never_read_as_a_request(
    method: bytes, protocol: bytes, framing: bytes, waits: bool, hasty_port: int
) -> None:
    head = method + b" / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n" + framing
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: b.example\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(head + b"\r\n\r\n" + (b"" if waits else b"\r\n" * 8 + smuggled))
        if waits:
            time.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                connection.sendall(smuggled)
        received = all_of(connection)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b" 404 " not in received
    assert b"\r\nconnection: close\r\n" in received.lower()


def test_a_request_in_front_of_an_upgrade_is_answered_and_none_behind_it(hasty_port: int) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(HEAD + b"\r\n" + upgrade + HEAD + b"\r\n")
        assert all_of(connection).count(b"HTTP/1.1 200 OK") == 2


def answers(port: int, *pieces: bytes, pause: float = 0.05) -> bytes:
    """Send the pieces one after the other, and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause)
            with contextlib.suppress(ConnectionError):
                connection.sendall(piece)
        return all_of(connection)


NEXT = b"GET /smuggled HTTP/1.1\r\nHost: b.example\r\n\r\n"


@pytest.mark.requirement("S-59")
@pytest.mark.parametrize("in_pieces", [False, True], ids=["in one piece", "in two"])
@pytest.mark.parametrize(
    ("first", "status"),
    [
        pytest.param(HEAD + b"Connection: close\r\n\r\n", b"200", id="Connection: close"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", b"200", id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"200", id="HTTP/1.0 kept alive"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"405", id="a length"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n", b"405", id="a chunk"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"400",
            id="length and chunks",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400", id="two lengths"
        ),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", b"400", id="bare line ends"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"400", id="no chunks"),
        pytest.param(b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", b"400", id="CONNECT"),
        pytest.param(b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", b"405", id="CONNECT to a path"),
        pytest.param(HEAD + b"X\r\n\r\n", b"400", id="no header"),
    ],
)
def test_nothing_behind_the_last_message_of_a_connection_is_read_as_a_request(
    first: bytes, status: bytes, in_pieces: bool, hasty_port: int
) -> None:
    received = answers(hasty_port, first, NEXT) if in_pieces else answers(hasty_port, first + NEXT)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in received.lower()


@pytest.mark.requirement("S-59")
@pytest.mark.parametrize("length", [1, 5_000, 300_000, 1_500_000, 12_000_000])
def test_an_answer_in_front_of_the_body_reaches_who_sends_the_body_first(length: int, hasty_port: int) -> None:
    """Without reading on, the reset of most of these connections would overtake the answer."""
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
            connection.sendall(body)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 405 ")


@pytest.mark.requirement("S-59")
def test_what_cannot_be_read_behind_a_request_does_not_answer_that_request(hasty_port: int) -> None:
    slow = b"GET /soon HTTP/1.1\r\nHost: a\r\n\r\n"
    received = answers(hasty_port, slow, b"nonsense\r\n\r\n", NEXT)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b"soon")
    broken_body = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    for behind in (broken_body, broken_body + NEXT, b"GET / HTTP/9.9\r\n\r\n"):
        received = answers(hasty_port, slow + slow + behind)
        assert received.count(b"HTTP/1.1 200 OK") == received.count(b"HTTP/1.1") == 2, received


def lines(count: int) -> bytes:
    return b"a:\r\n" * count


CHUNKED = b"POST /headers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.requirement("S-60")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(HEAD + lines(127) + b"\r\n", b"200", id="128 lines"),
        pytest.param(HEAD + lines(128) + b"\r\n", b"400", id="129 lines"),
        pytest.param(HEAD + lines(20_000), b"400", id="20,000 lines, unfinished"),
        pytest.param(CHUNKED + b"\r\n0\r\n" + lines(126) + b"\r\n", b"200", id="126 trailers"),
        pytest.param(CHUNKED + b"\r\n0\r\n" + lines(127) + b"\r\n", b"400", id="127 trailers"),
        pytest.param(CHUNKED + b"\r\n0\r\nX: " + b"x" * 40_000, b"431", id="a trailer without end"),
        pytest.param(CHUNKED + b"\r\n0;" + b"x" * 40_000, b"431", id="a chunk extension without end"),
        pytest.param(HEAD + b"X: " + b"x" * 31_000 + b"\r\n\r\n", b"200", id="31 KB"),
        pytest.param(HEAD + b"X: " + b"x" * 33_000 + b"\r\n\r\n", b"431", id="33 KB"),
        pytest.param(HEAD + b"X: " + b"x" * 33_000, b"431", id="33 KB, unfinished"),
        pytest.param(b"GET /" + b"x" * 33_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414", id="an address of 33 KB"),
        pytest.param(b"GET /" + b"x" * 33_000, b"414", id="an address of 33 KB, unfinished"),
    ],
)
def test_a_head_is_bounded_in_lines_and_bytes(sent: bytes, status: bytes, hasty_port: int) -> None:
    for pieces in ((sent,), (sent[:200], sent[200:])):
        received = answers(hasty_port, *pieces, b"GET / HTTP/1.0\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 " + status), received[:100]
        assert received.count(b"HTTP/1.1 ") == (2 if status == b"200" else 1)


@pytest.mark.requirement("S-60")
def test_requests_that_wait_behind_another_count_together(hasty_port: int) -> None:
    slow = b"GET /soon HTTP/1.1\r\nHost: a\r\n\r\n"
    received = answers(hasty_port, slow + 5 * (HEAD + lines(39) + b"\r\n"))
    assert received.count(b"HTTP/1.1 200 OK") == 4  # the one in front, and three of 40 lines each
    received = answers(hasty_port, slow + HEAD + b"X: " + b"x" * 200_000)
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.requirement("S-59")
def test_a_trailer_is_no_header_of_its_request_nor_of_the_next(hasty_port: int) -> None:
    first = CHUNKED + b"\r\n1\r\nx\r\n0\r\nCookie: a=b\r\nHost: evil.example\r\n\r\n"
    received = answers(hasty_port, first + b"GET /headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"['host', 'transfer-encoding'] 1" in received
    assert b"['connection', 'host'] 0" in received


@pytest.mark.requirement("S-60")
@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", b"400", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", b"400", id="two"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nhOST:\r\n", b"400", id="two, one of them empty"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", b"400", id="two, HTTP/1.0"),
        pytest.param(b"GET http://a/ HTTP/1.1\r\n", b"400", id="in the address alone"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a, b\r\n", b"400", id="a list"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n", b"400", id="a space"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: u@a\r\n", b"400", id="a user"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n", b"400", id="a path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: [evil\r\n", b"400", id="half a bracket"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: \xff\r\n", b"400", id="a byte that is no ASCII"),
        pytest.param(b"GET / HTTP/1.0\r\n", b"200", id="no Host, HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n", b"200", id="an empty one"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a_b.example:8000\r\n", b"200", id="a port"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: [::1]:9000\r\n", b"200", id="IPv6"),
        pytest.param(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n", b"200", id="and in the address"),
        pytest.param(b"GET /#x HTTP/1.1\r\nHost: a\r\n", b"400", id="a fragment"),
        pytest.param(b"GET /?a#x HTTP/1.1\r\nHost: a\r\n", b"400", id="a fragment behind a query"),
        pytest.param(b"GET /\r\n", b"400", id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n", b"400", id="HTTP/2.0"),
        pytest.param(b"GET / HTTP/0.9\r\nHost: a\r\n", b"400", id="HTTP/0.9 by name"),
    ],
)
def test_a_request_has_one_host_and_a_version_and_a_target_that_are_known(
    head: bytes, status: bytes, hasty_port: int
) -> None:
    received = answers(hasty_port, head + b"\r\n")
    assert received.startswith(b"HTTP/1.1 " + status)
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.requirement("S-60")
def test_whoever_does_not_take_an_answer_loses_the_connection(hasty_port: int) -> None:
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=30) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        time.sleep(4 * Hasty.seconds)
        assert len(all_of(connection)) < 15_000_000
