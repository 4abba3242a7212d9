"""The public port under attack by bytes: no request, half a request, too much of one, or two that look like one.

The rows are sent to one broker, a dozen at a time; each is judged by its own test.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.fakes.hostile_server import hostile_provider
from tests.fakes.log_record import LogRecord
from tests.hostile.running import MEGABYTE, RunningBroker, assert_signed_in, meeting_people, running_broker

ANSWER_SECONDS = 60.0  # for each answer that is expected, or the end
QUIET_SECONDS = 1.5  # after which no further answer is expected
AT_ONCE = 12  # attacks
REQUIRED = ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control", "x-frame-options")
MARKER = b"evil.example"
HOST = b"Host: sso.acme.example\r\n"
CLOSED: tuple[int, ...] = ()


@dataclass(frozen=True)
class Attack:
    """What is sent, and what may come back.

    Args:
        sent: the bytes, or their pieces.
        answers: the statuses, in order; none where the connection just ends.
        or_the_end: the answer may be lost, for it is given while more is on its way (RFC 9112, section 9.6).
    """

    sent: bytes | Iterable[bytes]
    answers: tuple[int, ...]
    or_the_end: bool = False


@dataclass(frozen=True)
class Piece:
    """The same bytes again and again, made as they are sent.

    Args:
        first: before them.
        again: the bytes.
        times: how often.
    """

    first: bytes
    again: bytes
    times: int

    def __iter__(self) -> Iterator[bytes]:
        yield self.first
        for _ in range(self.times):
            yield self.again


def get(target: bytes, *headers: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return b"%b %b %b\r\n%b%b\r\n" % (method, target, version, HOST, b"".join(line + b"\r\n" for line in headers))


HIDDEN = get(b"/login?x=" + MARKER)

ATTACKS: Mapping[str, Attack] = {
    "a header of 60 MB": Attack(Piece(b"GET / HTTP/1.1\r\nX-Long: ", b"x" * 65536, 916), (431,), or_the_end=True),
    "a header name of 60 MB": Attack(Piece(b"GET / HTTP/1.1\r\nX", b"x" * 65536, 916), (431,), or_the_end=True),
    "an address of 60 MB": Attack(Piece(b"GET /", b"x" * 65536, 916), (414,), or_the_end=True),
    "a method of 60 MB": Attack(Piece(b"G", b"E" * 65536, 916), (400,), or_the_end=True),
    "100,000 headers": Attack(Piece(b"GET / HTTP/1.1\r\n", b"X-More: again\r\n" * 1000, 100), (400,), or_the_end=True),
    "127 empty headers and a host": Attack(get(b"/", *[b"a:"] * 127), (200,)),
    "128 empty headers and a host": Attack(get(b"/", *[b"a:"] * 128), (400,)),
    "5,000 empty headers": Attack(get(b"/", *[b"a:"] * 5000), (400,)),
    "headers of 20 KB": Attack(get(b"/", b"X: " + b"x" * 20_000), (431,)),
    "an address of 64 KB": Attack(get(b"/" + b"x" * 65_000), (414,)),
    "a query of 64 KB": Attack(get(b"/login?" + b"x" * 65_000), (414,)),
    "200 cookies of ours": Attack(get(b"/login", b"Cookie: " + b"; ".join([b"signin_a=b"] * 200)), (431,)),
    "1,000 cookies of neighbours": Attack(get(b"/login", b"Cookie: " + b"; ".join([b"a=b"] * 1000)), (303,)),
    "a body of 10 MB announced": Attack(get(b"/login", b"Content-Length: 10000000"), (413,)),
    "a body of 10 EB announced": Attack(get(b"/login", b"Content-Length: 10000000000000000000"), (413,)),
    "a body longer than any number": Attack(get(b"/login", b"Content-Length: " + b"9" * 30), (400,)),
    "a body of less than nothing": Attack(get(b"/login", b"Content-Length: -1"), (400,)),
    "a body of plus one": Attack(get(b"/login", b"Content-Length: +1"), (400,)),
    "a body waited for": Attack(get(b"/login", b"Content-Length: 5", b"Expect: 100-continue"), (413,)),
    "no body in chunks": Attack(get(b"/login", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", (303,)),
    "no body in chunks, with more": Attack(
        get(b"/login", b"Transfer-Encoding: chunked") + b"000;a=b\r\nX: y\r\n\r\n" + get(b"/"), (303, 200)
    ),
    "no body of length 00": Attack(get(b"/login", b"Content-Length: 00") + get(b"/"), (303, 200)),
    "a body in chunks": Attack(get(b"/login", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n", (413,)),
    "half a chunk": Attack(get(b"/login", b"Transfer-Encoding: chunked") + b"5\r\nx", (413,)),
    "a posted answer": Attack(get(b"/callback/idp", b"Content-Length: 12", method=b"POST") + b"code=x&id=yz", (405,)),
    "a chunk of no length": Attack(get(b"/login", b"Transfer-Encoding: chunked") + b"zz\r\n", (400,)),
    "a chunk extension of 60 MB": Attack(
        Piece(get(b"/login", b"Transfer-Encoding: chunked") + b"1;", b"x" * 65536, 916), (431,), or_the_end=True
    ),
    "a length and chunks": Attack(
        get(b"/", b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN, (400,)
    ),
    "chunks and a length": Attack(
        get(b"/", b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n" + HIDDEN, (400,)
    ),
    "two lengths": Attack(get(b"/", b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, (400,)),
    "two lengths in one": Attack(get(b"/", b"Content-Length: 0, %d" % len(HIDDEN)) + HIDDEN, (400,)),
    "chunks by another name": Attack(get(b"/", b"Transfer-Encoding: xchunked") + HIDDEN, (400,)),
    "chunks twice": Attack(get(b"/", b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", (400,)),
    "chunks, then something else": Attack(get(b"/", b"Transfer-Encoding: chunked, gzip") + HIDDEN, (400,)),
    "chunks in an odd space": Attack(get(b"/", b"Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n" + HIDDEN, (400,)),
    "a request in a body": Attack(get(b"/", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, (413,)),
    "a space before the colon": Attack(get(b"/", b"Content-Length : %d" % len(HIDDEN)) + HIDDEN, (400,)),
    "a folded header": Attack(get(b"/", b"X-One: 1\r\n Content-Length: 5"), (400,)),
    "a header without a colon": Attack(get(b"/", b"Nothing"), (400,)),
    "a header without a name": Attack(get(b"/", b": nothing"), (400,)),
    "lines that end in LF": Attack(get(b"/").replace(b"\r\n", b"\n"), (400,)),
    "lines that end in CR": Attack(get(b"/").replace(b"\r\n", b"\r"), (400,)),
    "a lone CR in a header": Attack(get(b"/", b"X-One: 1\rX-Two: 2"), (400,)),
    "a NUL in a header": Attack(get(b"/", b"X-One: \x00"), (400,)),
    "a NUL in the address": Attack(get(b"/\x00"), (400,)),
    "a NUL in the method": Attack(get(b"/", method=b"G\x00T"), (400,)),
    "nothing but NULs": Attack(b"\x00" * 1000, (400,)),
    "a path that is not ASCII": Attack(get("/ü".encode()), (400,)),
    "a path that is not UTF-8": Attack(get(b"/\xff\xfe"), (400,)),
    "an encoded path that is not UTF-8": Attack(get(b"/%ff%fe"), (404,)),
    "an encoded NUL": Attack(get(b"/login%00"), (404,)),
    "an encoded line end": Attack(get(b"/login%0d%0aSet-Cookie:x=y"), (404,)),
    "two slashes": Attack(get(b"//"), (200,)),
    "another host's path": Attack(get(b"//%b/login" % MARKER), (404,)),
    "a way up": Attack(get(b"/../login"), (404,)),
    "a way up behind a semicolon": Attack(get(b"/..;/metrics"), (404,)),
    "an encoded way up": Attack(get(b"/%2e%2e/metrics"), (404,)),
    "a way to the operations port": Attack(get(b"/login/../metrics"), (404,)),
    "a slash too many": Attack(get(b"/login/"), (303,)),
    "a slash too many in front": Attack(get(b"//login"), (303,)),
    "two slashes too many": Attack(get(b"///login"), (404,)),
    "an encoded letter": Attack(get(b"/%6cogin"), (404,)),
    "a backslash": Attack(get(b"/\\%b" % MARKER), (404,)),
    "a fragment": Attack(get(b"/#" + MARKER), (400,)),
    "no path": Attack(get(b"*"), (404,)),
    "a path without a slash": Attack(get(b"login"), (400,)),
    "another host's address": Attack(get(b"http://%b/login?redirect_url=https://%b/" % (MARKER, MARKER)), (400,)),
    "a tunnel": Attack(get(b"%b:443" % MARKER, method=b"CONNECT"), (400,)),
    "TRACE": Attack(get(b"/", b"X-Mirror: " + MARKER, method=b"TRACE"), (405,)),
    "a method of nobody": Attack(get(b"/", method=b"HACK"), (400,)),
    "a method in small letters": Attack(get(b"/", method=b"get"), (400,)),
    "HTTP 0.9": Attack(b"GET /\r\n\r\n", (400,)),
    "HTTP 1.0": Attack(get(b"/", version=b"HTTP/1.0"), (200,)),
    "HTTP 2.0": Attack(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    "HTTP 9.9": Attack(get(b"/", version=b"HTTP/9.9"), (400,)),
    "another protocol": Attack(get(b"/", version=b"ICY/1.1"), (400,)),
    "TLS on a plain port": Attack(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 506, (400,)),
    "an upgrade to a WebSocket": Attack(get(b"/", b"Connection: Upgrade", b"Upgrade: websocket"), (200,)),
    "an upgrade to HTTP 2": Attack(get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), (200,)),
    "no host": Attack(b"GET / HTTP/1.1\r\n\r\n", (400,)),
    "no host, HTTP 1.0": Attack(b"GET / HTTP/1.0\r\n\r\n", (200,)),
    "two hosts": Attack(get(b"/", b"Host: " + MARKER), (400,)),
    "three requests at once": Attack(get(b"/") + get(b"/nowhere") + get(b"/", method=b"POST"), (200, 404, 405)),
    "a good request and no request": Attack(get(b"/") + b"\x00", (200,)),
    "half a head": Attack(b"GET / HTTP/1.1\r\nHost: x", CLOSED),
    "nothing at all": Attack(b"", CLOSED),
}


Heard = Mapping[str, bytes]


@pytest.fixture(scope="module")
async def attacked(tmp_path_factory: pytest.TempPathFactory, log_record: LogRecord) -> AsyncIterator[RunningBroker]:
    async with hostile_provider() as provider:
        folder = tmp_path_factory.mktemp("raw")
        async with running_broker(folder, {"idp": provider.honest}, log_record) as broker:
            yield broker


@pytest.fixture(scope="module")
async def heard(attacked: RunningBroker) -> Heard:
    return dict(zip(ATTACKS, await _attack(attacked.port), strict=True))


async def _attack(port: int) -> list[bytes]:
    """Send everything, a dozen at a time, and return what came back."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(attack: Attack) -> bytes:
        async with gate:
            return await _talk(port, attack)

    return await asyncio.gather(*map(one, ATTACKS.values()))


async def _talk(port: int, attack: Attack) -> bytes:
    """Send it all, or as much as is taken, and return all that comes back until the end or silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(_send(writer, [attack.sent] if isinstance(attack.sent, bytes) else attack.sent))
    received = bytearray()
    with suppress(TimeoutError, ConnectionError):
        while data := await asyncio.wait_for(reader.read(65536), _patience(attack, received)):
            received += data
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    return bytes(received)


def _patience(attack: Attack, received: bytearray) -> float:
    return ANSWER_SECONDS if not received or received.count(b"HTTP/1.1 ") < len(attack.answers) else QUIET_SECONDS


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()


def _answers(received: bytes) -> list[tuple[int, Mapping[str, str]]]:
    """Read statuses and headers of all answers; each has a length, or is the last."""
    found: list[tuple[int, Mapping[str, str]]] = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        assert end, f"half an answer: {head!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", line)
        assert status, line
        headers = dict(line.lower().split(": ", 1) for line in lines)
        received = received[int(headers["content-length"]) :]
        found.append((int(status[1]), headers))
    return found


@pytest.mark.requirement("S-57")
@pytest.mark.parametrize("name", ATTACKS)
async def test_what_is_no_good_request_gets_an_answer_of_its_own_or_the_end(heard: Heard, name: str) -> None:
    attack, statuses = ATTACKS[name], tuple(status for status, _ in _answers(heard[name]))
    assert statuses == attack.answers or (attack.or_the_end and statuses == CLOSED)


@pytest.mark.requirement("S-53")
async def test_every_answer_has_the_security_headers_and_says_nothing_of_the_server(heard: Heard) -> None:
    for name, received in heard.items():
        for _, headers in _answers(received):
            assert all(required in headers for required in REQUIRED), name
            assert "server" not in headers, name


async def test_what_no_address_of_ours_answers_insists_on_https_as_all_others_do(heard: Heard) -> None:
    for name in ("a NUL in the address", "two lengths", "TLS on a plain port"):
        ((_, headers),) = _answers(heard[name])
        assert "strict-transport-security" in headers, name


async def test_no_attack_makes_the_broker_stumble(attacked: RunningBroker, heard: Heard) -> None:
    assert len(heard) == len(ATTACKS)
    assert [line for line in attacked.program.lines() if line["level"] == "error"] == []
    assert attacked.program.errors.read_text() == ""


@pytest.mark.requirement("S-54")
async def test_nothing_of_an_attack_comes_back(heard: Heard) -> None:
    assert [name for name, received in heard.items() if MARKER in received] == []


@pytest.mark.requirement("S-57")
async def test_after_all_that_the_broker_is_as_small_as_before_and_signs_people_in(
    attacked: RunningBroker, heard: Heard, log_record: LogRecord
) -> None:
    assert len(heard) == len(ATTACKS)
    async with meeting_people(attacked, log_record) as people:
        assert_signed_in(await people.sign_in("idp"))
        attacked.forget_peak()
        before = attacked.memory()
        await _attack(attacked.port)
        assert attacked.peak_memory() - before < 20 * MEGABYTE
        assert_signed_in(await people.sign_in("idp"))


async def test_300_connections_that_say_half_a_word_keep_nobody_out(
    attacked: RunningBroker, log_record: LogRecord
) -> None:
    half = [await asyncio.open_connection("127.0.0.1", attacked.port) for _ in range(300)]
    for _, writer in half:
        writer.write(b"GET /login HTTP/1.1\r\nHost: ")
    async with meeting_people(attacked, log_record) as people:
        assert_signed_in(await people.sign_in("idp"))
    for _, writer in half:
        writer.transport.abort()


@pytest.mark.parametrize("request_", [pytest.param(get(b"/"), id="pages"), pytest.param(get(b"/login"), id="sign-ins")])
async def test_requests_without_end_on_one_connection_whose_answers_nobody_reads_take_no_memory(
    attacked: RunningBroker, request_: bytes
) -> None:
    attacked.forget_peak()
    before = attacked.memory()
    _, writer = await asyncio.open_connection("127.0.0.1", attacked.port, limit=1024)
    many = request_ * (65536 // len(request_))
    with suppress(TimeoutError):
        await asyncio.wait_for(_send(writer, [many] * 500), 5)
    growth = attacked.peak_memory() - before
    writer.transport.abort()
    assert growth < 20 * MEGABYTE
