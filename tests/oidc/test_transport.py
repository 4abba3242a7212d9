"""The transport's connections: what ends an answer, what is kept, where it connects, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.errors import AnswerUnexpected, ProviderTimedOut, ProviderUnreachable
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import ProviderRequest, ProviderResponse
from tests.oidc.servers import Authority, Server, Talk, drips, new_authority, ok, says, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LIMIT = 1000
HANGING = 20.0  # seconds after which a test that hangs is broken off


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@asynccontextmanager
async def client_of(ca: Path | None = None) -> AsyncIterator[ProviderClient]:
    network = NetworkPolicy(ca, private_networks=True)
    async with open_client(network) as http, asyncio.timeout(HANGING):
        yield ProviderClient(http, network)


def get(server: Server, scheme: str = "http", host: str = "127.0.0.1") -> ProviderRequest:
    return ProviderRequest("GET", f"{scheme}://{host}:{server.port}/keys", LIMIT)


async def ask(talk: Talk) -> ProviderResponse:
    async with serving(talk) as server, client_of() as client:
        return await client.send(get(server))


# --------------------------------------------------------------------------------------------- where an answer ends


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEAD + b"\r\n{}", id="with the connection"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n{}", id="with the connection, HTTP/1.0"),
        pytest.param(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", id="with a chunk of none"),
        pytest.param(CHUNKED + b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: y\r\n\r\n", id="after trailers"),
        pytest.param(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 \r\n\r\n" + ok(), id="after interim answers"),
    ],
)
async def test_an_answer_may_end_in_every_way_of_http(answer: bytes) -> None:
    assert (await ask(says(answer, close=True))).body == b"{}"


async def test_a_trailer_is_no_header_of_the_answer() -> None:
    answer = await ask(says(CHUNKED + b"2\r\n{}\r\n0\r\nLocation: https://elsewhere.example/\r\n\r\n"))
    assert answer.location is None


async def test_a_header_of_an_interim_answer_is_none_of_the_answer() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLocation: https://elsewhere.example/\r\n\r\n"
    assert (await ask(says(hints + ok()))).location is None


@pytest.mark.parametrize("in_tls", [True, False])
async def test_in_tls_an_answer_without_a_length_ends_with_close_notify_only(
    authority: Authority, tmp_path: Path, in_tls: bool
) -> None:
    """An attacker on the network can cut a connection, but cannot forge close_notify."""

    async def cut_off(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b'\r\n{"keys": []}')
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    async with (
        serving(cut_off, tls=authority.context(tmp_path, "localhost")) as server,
        client_of(authority.write(tmp_path / "ca.pem")) as client,
    ):
        if in_tls:
            with pytest.raises(ProviderUnreachable) as failure:
                await client.send(get(server, "https", "localhost"))
            assert str(failure.value.got).startswith("answer broken off after 12 bytes: ")
    async with (
        serving(says(HEAD + b"\r\n{}", close=True), tls=authority.context(tmp_path, "localhost")) as server,
        client_of(tmp_path / "ca.pem") as client,
    ):
        assert (await client.send(get(server, "https", "localhost"))).body == b"{}"


@pytest.mark.requirement("S-41", "S-45")
@pytest.mark.parametrize("answered", [b"", ok()], ids=["instead of an answer", "after an answer"])
async def test_what_somebody_on_the_way_writes_into_a_tls_connection_is_no_answer(
    authority: Authority, tmp_path: Path, answered: bytes
) -> None:
    """Whoever can write into the connection cannot encrypt. An answer before it counts, and its code is spent."""
    forged = ok(b'{"for": "eve"}')

    async def forges(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ok() if len(server.requests) == 1 else answered)
        if len(server.requests) > 1:
            os.write(writer.get_extra_info("socket").fileno(), forged)

    async with (
        serving(forges, tls=authority.context(tmp_path, "localhost")) as server,
        client_of(authority.write(tmp_path / "ca.pem")) as client,
    ):
        assert (await client.send(get(server, "https", "localhost"))).body == b"{}"
        await asyncio.sleep(0.05)  # the session tickets have come
        if answered:
            assert (await client.send(get(server, "https", "localhost"))).body == b"{}"
        else:
            with pytest.raises(ProviderUnreachable) as failure:
                await client.send(get(server, "https", "localhost"))
            assert str(failure.value.got).startswith("TLS with localhost: ")
        assert len(server.requests) == 2, "the provider has the code"


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    ("talk", "got"),
    [
        pytest.param(drips(CHUNKED + b"1;", b"x" * 999, 0), "outside the body", id="a chunk extension"),
        pytest.param(drips(CHUNKED + b"0\r\nX: ", b"x" * 999, 0), "outside the body", id="a trailer"),
        pytest.param(drips(CHUNKED + b"0\r\n", b"X: y\r\n", 0), "128 header lines", id="trailers"),
        pytest.param(drips(b"", b"HTTP/1.1 103 H\r\n\r\n", 0), "outside the body", id="interim answers"),
        pytest.param(drips(b"", b"HTTP/1.1 103 H\r\nA: b\r\n\r\n", 0), "128 header lines", id="their headers"),
        pytest.param(drips(HEAD + b"X: ", b"y" * 999, 0), "outside the body", id="a header"),
        pytest.param(drips(b"HTTP/1.1 200 ", b"O" * 999, 0), "outside the body", id="a reason"),
    ],
)
async def test_nothing_around_a_body_is_without_end(talk: Talk, got: str) -> None:
    with pytest.raises(AnswerUnexpected) as refusal:
        await ask(talk)
    assert got in str(refusal.value.got)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP of version 2.0", id="HTTP/2.0"),
        pytest.param(
            b"HTTP/1.1 199 \r\nContent-Length: 2\r\n\r\n{}" + ok(), "interim answer with a body", id="an interim body"
        ),
        pytest.param(b"HTTP/1.1 099 OK\r\n\r\n" + ok(), "status 99", id="a status below 100"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}", "not chunked", id="another transfer coding"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not chunked", id="two codings"),
        pytest.param(
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "invalid HTTP", id="both"
        ),
    ],
)
async def test_an_answer_whose_end_is_in_doubt_is_refused(answer: bytes, got: str) -> None:
    with pytest.raises(AnswerUnexpected) as refusal:
        await ask(says(answer, close=True))
    assert got in str(refusal.value.got)


@pytest.mark.parametrize("name", ["X-Break", "X-Break\r\nX"])
async def test_a_request_with_a_line_break_in_a_header_is_not_sent(name: str) -> None:
    async with serving(says(ok())) as server, client_of() as client:
        request = ProviderRequest("GET", get(server).url, LIMIT, {name: "a\r\nX-Other: b"})
        with pytest.raises(AnswerUnexpected):
            await client.send(request)
    assert server.requests == []


# ------------------------------------------------------------------------------------------------------ connections


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ok(b"{}", "Connection: close"), id="the server says so"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
        pytest.param(ok() + ok(), id="it brought an answer that nobody asked for"),
    ],
)
async def test_a_connection_is_not_kept_if(answer: bytes) -> None:
    async with serving(says(answer)) as server, client_of() as client:
        for _ in range(2):
            assert (await client.send(get(server))).status == 200
    assert server.connections == 2


async def test_a_kept_connection_that_speaks_unasked_is_closed() -> None:
    async def and_more_later(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b'{"for": "ada"}'))
        await asyncio.sleep(0.05)
        writer.write(ok(b'{"for": "eve"}'))

    async with serving(and_more_later) as server, client_of() as client:
        for _ in range(2):
            assert (await client.send(get(server))).body == b'{"for": "ada"}'
            await asyncio.sleep(0.1)
    assert server.connections == 2


@asynccontextmanager
async def noting_the_end(answer: bytes) -> AsyncIterator[tuple[ProviderRequest, asyncio.Event, asyncio.Event]]:
    """Serve one answer a connection; yield a request, and the events `asked` and `ended` of the first connection."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        writer.write(answer)
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield ProviderRequest("GET", url, LIMIT), asked, ended


async def test_an_unused_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.oidc.transport.KEEP_ALIVE_SECONDS", 0.1)
    async with noting_the_end(ok()) as (request, _, ended), client_of() as client:
        assert (await client.send(request)).status == 200
        await ended.wait()


async def test_a_person_who_gives_up_closes_the_connection() -> None:
    async with noting_the_end(b"") as (request, asked, ended), client_of() as client:
        waiting = asyncio.create_task(client.send(request))
        await asked.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await ended.wait()


@asynccontextmanager
async def distant(server: Server, crowd: int) -> AsyncIterator[Server]:
    """Listen before a server, and pass nothing on until so many connections have begun their handshake."""
    all_there = asyncio.Barrier(crowd)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(LIMIT):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(LIMIT)
        await all_there.wait()
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        to_server.write(hello)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield Server(port=listening.sockets[0].getsockname()[1])


async def test_handshakes_with_a_distant_server_go_on_side_by_side(authority: Authority, tmp_path: Path) -> None:
    tls, ca, crowd = authority.context(tmp_path, "127.0.0.1"), authority.write(tmp_path / "ca.pem"), 50
    async with serving(says(ok()), tls=tls) as server, distant(server, crowd) as front, client_of(ca) as client:
        answers = await asyncio.gather(*(client.send(get(front, "https")) for _ in range(crowd)))
    assert [answer.body for answer in answers] == [b"{}"] * crowd


# ------------------------------------------------------------------------------------------------------- addresses


@pytest.fixture
async def resolving(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Have every name resolve to 127.0.0.2, where nobody listens, then to 127.0.0.1; return what was asked."""
    asked: list[tuple[str, int]] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append((host, port))
        await asyncio.sleep(0.01)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


async def test_the_next_address_is_tried_if_the_first_refuses(resolving: list[tuple[str, int]]) -> None:
    async with serving(says(ok())) as server, client_of() as client:
        assert (await client.send(get(server, host="idp.invalid"))).status == 200
        assert resolving == [("idp.invalid", server.port)]


async def test_the_next_address_is_tried_beside_a_silent_first(
    resolving: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect: Callable[..., Awaitable[None]] = loop.sock_connect

    async def silent_for_the_first(new: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "127.0.0.2":
            await asyncio.Event().wait()
        await connect(new, address)

    monkeypatch.setattr(loop, "sock_connect", silent_for_the_first)
    async with serving(says(ok())) as server, client_of() as client:
        assert (await client.send(get(server, host="idp.invalid"))).status == 200
    assert len(resolving) == 1


async def test_a_crowd_shares_one_look_up_of_a_name(resolving: list[tuple[str, int]]) -> None:
    async with serving(says(ok())) as server, client_of() as client:
        answers = await asyncio.gather(*(client.send(get(server, host="idp.invalid")) for _ in range(50)))
        assert {answer.status for answer in answers} == {200}
        assert len(resolving) == 1


async def test_a_name_server_that_hangs_is_asked_once_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up takes a thread, and there are few: other providers' names wait for them."""
    monkeypatch.setattr("broker.oidc.transport.RESOLVED_SECONDS", 0.0)
    asked: list[str] = []

    async def hangs(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    network = NetworkPolicy(private_networks=True)
    async with open_client(network, connect_seconds=0.05) as http, asyncio.timeout(HANGING):
        for _ in range(3):
            with pytest.raises(ProviderTimedOut):
                await ProviderClient(http, network).send(ProviderRequest("GET", "https://idp.invalid/", LIMIT))
    assert asked == ["idp.invalid"]


async def test_both_addresses_are_named_if_none_answers(resolving: list[tuple[str, int]]) -> None:
    async with serving(says(ok())) as server:
        pass
    async with client_of() as client:
        with pytest.raises(ProviderUnreachable) as failure:
            await client.send(get(server, host="idp.invalid"))
    words = f"Connection refused (127.0.0.2 port {server.port}, 127.0.0.1 port {server.port})"
    assert failure.value.got == words
    assert resolving


async def test_the_peer_and_its_certificate_are_noted(authority: Authority, tmp_path: Path) -> None:
    async with (
        serving(says(ok()), tls=authority.context(tmp_path, "localhost")) as server,
        client_of(authority.write(tmp_path / "ca.pem")) as client,
    ):
        for _ in range(2):  # over a new connection and a kept one
            peer = (await client.send(get(server, "https", "localhost"))).peer
            assert peer is not None
            assert peer.address in ("127.0.0.1", "::1")
            assert peer.certificate_expires is not None


async def test_a_body_of_many_records_is_read_whole(authority: Authority, tmp_path: Path) -> None:
    body = b'{"a": "' + b"x" * 200_000 + b'"}'
    context: ssl.SSLContext = authority.context(tmp_path, "localhost")
    async with (
        serving(says(ok(body)), tls=context) as server,
        client_of(authority.write(tmp_path / "ca.pem")) as client,
    ):
        url = f"https://localhost:{server.port}/keys"
        assert (await client.send(ProviderRequest("GET", url, 300_000))).body == body
