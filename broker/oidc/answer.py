"""Reads one HTTP/1.1 answer by httptools, within bounds of time and memory (RFC 9112)."""

from __future__ import annotations

import ssl
from typing import Any, NoReturn

import httptools
import httpx

from broker.oidc.network import MAX_QUOTED, why_failed, why_not_http

MAX_HEAD_BYTES = 32 * 1024  # of an answer without its body: interim answers, chunk extensions and trailers included
MAX_HEADER_LINES = 128  # trailers included

_BROKEN = {
    "resolving": "{words} while connecting",
    "connecting": "{words} while connecting",
    "waiting": "{words} before an answer came",
    "reading": "answer broken off after {size} bytes: {words}",
}


class CallFailed(httpx.TransportError):
    """A call without a usable answer, in words for the log; the cause is the error of the system or of OpenSSL.

    Args:
        phase: `resolving`, `connecting`, `waiting` for the answer, or `reading` the answer.
        is_repeatable: there was no connection, or it ended before the first byte of an answer.
    """

    def __init__(self, words: str, *, phase: str = "connecting", is_repeatable: bool = False) -> None:
        super().__init__(words)
        self.phase = phase
        self.is_repeatable = is_repeatable


class NotHttp(CallFailed):
    """The answer is not HTTP, or beyond the bounds of a head."""


class BodyTooLarge(CallFailed):
    """The body exceeds the limit of the request."""


class Answer:
    """Reads one answer, within bounds.

    Attributes:
        phase: `waiting`, then `reading`; of an answer to CONNECT, `connecting`.
        early: bytes after an answer that ends with its head: they belong to the tunnel.
    """

    def __init__(self, limit: int, *, phase: str = "waiting", ends_with_head: bool = False) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.phase = phase
        self.early = b""
        self.is_complete = False
        self.keeps_alive = False
        self.failure: CallFailed | None = None
        self._limit = limit
        self._ends_with_head = ends_with_head
        self._parser: Any = httptools.HttpResponseParser(self)
        self._begin = b""
        self._head = bytearray()  # of an answer that ends with its head
        self._outside_body = 0  # bytes since the last of the body
        self._lines = 0
        self._ends_with_connection = False

    @property
    def is_over(self) -> bool:
        """Tell whether there is nothing more to read."""
        return self.is_complete or self.failure is not None

    def feed(self, data: bytes | memoryview) -> None:
        """Read the next bytes of the connection."""
        if self._ends_with_head:
            data = self._set_aside_the_tunnel(bytes(data))
        if self.failure is not None:
            return
        self._begin = self._begin or bytes(data[:MAX_QUOTED])
        self._outside_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.keeps_alive = False  # 101: what follows is another protocol
        except httptools.HttpParserCallbackError:
            pass  # a method below has set `failure`
        except httptools.HttpParserError as error:
            if self.is_complete:
                self._fail(NotHttp("bytes after the answer that are not HTTP"))
            else:
                self._fail(NotHttp(why_not_http(str(error), self._begin)))
        if self._outside_body > MAX_HEAD_BYTES:
            self._fail(NotHttp(f"invalid HTTP: more than {MAX_HEAD_BYTES} bytes outside the body"))

    def end(self, cause: BaseException | None, host: str) -> None:
        """Take the end of the connection, which ends an answer without a length."""
        if self.is_over:
            return
        if self._ends_with_connection and cause is None:
            self.is_complete = True
            return
        words = why_failed(cause, host) if cause else "connection closed"
        is_closed = isinstance(cause, ssl.SSLEOFError) or not isinstance(cause, ssl.SSLError)  # TLS did not fail
        is_repeatable = is_closed and not self._begin and self.phase == "waiting"
        broken = _BROKEN[self.phase].format(words=words, size=len(self.body))
        self._fail(CallFailed(broken, phase=self.phase, is_repeatable=is_repeatable))

    def release(self) -> None:
        """Release the parser: it refers to this answer, and only the garbage collector would free both."""
        self._parser = None

    def _set_aside_the_tunnel(self, data: bytes) -> bytes:
        """Return the bytes of the head; keep those after it, which the parser would read as a body."""
        self._head += data
        _, end, self.early = bytes(self._head).partition(b"\r\n\r\n")
        return data[: max(0, len(data) - len(self.early))] if end else data

    # ------------------------------------------------------------------------------------------- called by httptools

    def on_message_begin(self) -> None:
        """Note an answer without a request: the connection is not used again."""
        if self.is_complete:
            self.keeps_alive = False

    def on_status(self, reason: bytes) -> None:
        """Keep the reason phrase."""
        if not self.is_complete:
            self.reason = (self.reason + reason)[: 4 * MAX_QUOTED]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is no header of the answer (RFC 9110, section 6.5.1)."""
        self._lines += 1
        if self._lines > MAX_HEADER_LINES:
            self._refuse(NotHttp(f"invalid HTTP: more than {MAX_HEADER_LINES} header lines"))
        if self.phase != "reading":
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Read how the body ends (RFC 9112, section 6.3)."""
        if self.is_complete:
            return
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            self._refuse(NotHttp(f"HTTP of version {self._parser.get_http_version()}"))
        self.status = self._parser.get_status_code()
        if self.status < 100:
            self._refuse(NotHttp(f"invalid HTTP: status {self.status}"))
        if self.status < 200 and self.status != 101 and not self._ends_with_head:
            return  # an interim answer
        framing = {name.lower(): value for name, value in self.headers}
        coding = framing.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            self._refuse(NotHttp("invalid HTTP: a Transfer-Encoding that is not chunked"))
        self.keeps_alive = self._parser.should_keep_alive()
        self._ends_with_connection = coding is None and b"content-length" not in framing
        if self._ends_with_head:
            self.is_complete = True
        else:
            self.phase = "reading"

    def on_chunk_header(self) -> None:
        """Restart the count of bytes outside the body: a chunk brings at least one byte of the body."""
        self._outside_body = 0

    def on_body(self, body: bytes) -> None:
        """Keep the body up to the limit."""
        if self.is_complete:
            return
        if self.phase != "reading":
            self._refuse(NotHttp("invalid HTTP: an interim answer with a body"))
        self._outside_body = 0
        self.body += body
        if len(self.body) > self._limit:
            self._refuse(BodyTooLarge(f"{len(self.body)} bytes so far", phase=self.phase))

    def on_message_complete(self) -> None:
        """Take the end of the answer, or of an interim answer."""
        if self.phase == "reading":
            self.is_complete = True
        elif not self.is_complete:
            self.headers.clear()
            self.reason = b""

    def _refuse(self, failure: CallFailed) -> NoReturn:
        self._fail(failure)
        raise failure

    def _fail(self, failure: CallFailed) -> None:
        self.failure = self.failure or failure
