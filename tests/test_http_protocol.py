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

from broker.http_protocol import MAX_HEAD_BYTES, BoundedProtocol
from tests.fakes.processes import served


def browser() -> httpx.Client:
    return httpx.Client(trust_env=False, follow_redirects=False, timeout=20)


class Hasty(BoundedProtocol):
    """The same protocol with less patience, so that nobody waits for ten seconds."""

    seconds = 0.4


async def at_once(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def later(_: Request) -> PlainTextResponse:
    await asyncio.sleep(3 * Hasty.seconds)
    return PlainTextResponse("at last")


SITE = Starlette(routes=[Route("/", at_once), Route("/later", later)])


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    with served(SITE, http=Hasty, server_header=False) as port:
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
    assert sent < 20 * MAX_HEAD_BYTES + 8_000_000, "what the kernel buffers, and no more"


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
