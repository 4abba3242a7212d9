"""The words for what goes wrong on the way to a server: no Python class, no number alone, no piece of a body."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from typing import Any

import pytest

from broker.errors import ProviderTimedOut
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import ProviderRequest
from broker.oidc.network import why_failed, why_not_http
from broker.oidc.transport import CONNECT_SECONDS

HOST = "login.acme.example"
TWO = (
    "Multiple exceptions: [Errno 111] Connect call failed ('::1', 443, 0, 0), "
    "[Errno 111] Connect call failed ('127.0.0.1', 443)"
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(socket.gaierror(-2, "Name or service not known"), f"Name or service not known: {HOST}", id="name"),
        pytest.param(
            socket.gaierror(-3, "Temporary failure in name resolution"),
            f"Temporary failure in name resolution: {HOST}",
            id="name server",
        ),
        pytest.param(socket.gaierror(), f"no address: {HOST}", id="no words of the resolver's"),
        pytest.param(OSError(errno.ENETUNREACH, "x"), "Network is unreachable", id="no route"),
        pytest.param(
            OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.1', 443)"),
            "No route to host (192.0.2.1 port 443)",
            id="no host",
        ),
        pytest.param(
            ConnectionRefusedError(errno.ECONNREFUSED, TWO),
            "Connection refused (::1 port 443, 127.0.0.1 port 443)",
            id="two addresses",
        ),
        pytest.param(ConnectionResetError(errno.ECONNRESET, "x"), "Connection reset by peer", id="reset"),
        pytest.param(ConnectionResetError(), "connection closed", id="closed, without a number"),
        pytest.param(ConnectionRefusedError(0, "x"), "connection closed", id="number 0"),
        pytest.param(TimeoutError(), "no answer", id="silence"),
        pytest.param(TimeoutError(errno.ETIMEDOUT, "x"), "Connection timed out", id="silence, by the system"),
        pytest.param(OSError("x"), "connection failed", id="no number"),
        pytest.param(asyncio.IncompleteReadError(b"", None), "connection closed", id="asyncio's"),
        pytest.param(ssl.SSLError(1, "x"), f"TLS with {HOST}: broken off in the handshake", id="TLS without a reason"),
    ],
)
def test_each_failure_has_the_systems_words(error: Exception, words: str) -> None:
    assert why_failed(error, HOST) == words


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"\n",
        b"\xff\0\x1b[2J",
        b'{"access_token": "s3cret"}',
        b"s3cret",
        b"HTTP/1.1 200 " + b"x" * 99,
        b"<" + b"y" * 99,
    ],
)
def test_however_an_answer_begins_the_words_are_bounded_and_printable(begin: bytes) -> None:
    words = why_not_http("Expected HTTP/", begin)
    assert 0 < len(words) < 120
    assert words.isprintable()
    assert "s3cret" not in words


async def ask(url: str, network: NetworkPolicy, connect_seconds: float = CONNECT_SECONDS) -> None:
    async with open_client(network, connect_seconds=connect_seconds) as http:
        await ProviderClient(http, network).send(ProviderRequest("GET", url, 1000))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "tlsv13 alert certificate required (the server wants a client certificate)",
        ),
        ("UNSUPPORTED_PROTOCOL", "unsupported protocol (the server offers nothing above TLS 1.1)"),
        ("UNEXPECTED_EOF_WHILE_READING", "unexpected eof while reading (connection closed)"),
        ("UNSAFE_LEGACY_RENEGOTIATION_DISABLED", "unsafe legacy renegotiation disabled"),
        ("DH_KEY_TOO_SMALL", "dh key too small"),
    ],
)
def test_openssls_reason_is_said_in_words_and_the_usual_ones_are_explained(reason: str, words: str) -> None:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    assert why_failed(error, HOST) == f"TLS with {HOST}: {words}"


async def test_a_name_server_that_keeps_silent_is_named_as_that(monkeypatch: pytest.MonkeyPatch) -> None:

    async def silent(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    began = time.monotonic()
    with pytest.raises(ProviderTimedOut) as failure:
        await ask(f"https://{HOST}/keys", NetworkPolicy(), connect_seconds=0.2)
    assert time.monotonic() - began < 4
    assert (failure.value.expected, failure.value.got) == (
        f"an answer of {HOST}/keys",
        "no answer of the name server within 0.2 s",
    )
