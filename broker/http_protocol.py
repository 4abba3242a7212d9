"""HTTP/1.1 on the broker's sockets: what uvicorn, httptools and asyncio leave open is closed here.

Every private part of these libraries that the broker overrides is in this file. `pyproject.toml` caps their minor
versions, and `tests/test_http_protocol.py` fails when a part changes.
"""

from __future__ import annotations

import resource
from asyncio import TimerHandle, Transport, sslproto
from functools import cache

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from broker.web.headers import build_security_headers

MAX_HEAD_BYTES = 96 * 1024  # of request line and headers; what `web` refuses with a page is smaller
HEAD_SECONDS = 10.0  # for a request to arrive in full: a head, for no address takes a body
MAX_PIPELINED = 32  # requests waiting on one connection behind the one being answered; browsers send none
TLS_BUFFER_BYTES = 16 * 1024  # of each connection to a provider; of asyncio's own size, 1,000 took 350 MB
MAX_OPEN_FILES = 65_536  # asked of the system, where it gives less without being asked

_BAD_REQUEST = b"".join(
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n",
        # As for https, always: the parser does not know public_url, and browsers ignore it on http (RFC 6797, 8.1).
        *(b"%b: %b\r\n" % header for header in build_security_headers(style_sha256="", https=True)),
        b"\r\n",
    ]
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the size of a request's head and on the time a request takes to arrive."""

    seconds = HEAD_SECONDS
    _head_bytes = 0
    _in_head = True
    _is_deaf = False
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request, if there is room for one more connection."""
        super().connection_made(transport)
        if len(self.server_state.connections) > max_connections():
            transport.close()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before the head is complete; drop what arrives after the last request."""
        if self._is_deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Start the clock of a request that came together with the one before it."""
        if self._timer is None:
            self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting, but not the clock: a body that is refused and sent on slowly would hold the connection."""
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:  # uvicorn's queue has no bound, and reads on after every answer
            raise ValueError("too many requests at once")  # to the parser, which ends with send_400_response
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # The parser ends such a message behind its head, whatever its framing says: a body would be read as the
            # next request. We ignore Upgrade (RFC 9110, section 7.8), answer, and read nothing more.
            self._is_deaf, self.cycle.keep_alive = True, False
            self._stop_timer()

    def on_message_complete(self) -> None:
        """Stop the clock, and be ready for the next request on this connection."""
        self._in_head, self._head_bytes = True, 0
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what the parser says is nobody's business
        """Answer what is no request we can read, with the headers every answer has, and hang up."""
        self.transport.write(_BAD_REQUEST)
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@cache
def max_connections() -> int:
    """Half of what the system lets us open: the rest is for providers, for the other port, and for files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return (wanted if soft == resource.RLIM_INFINITY else min(soft, MAX_OPEN_FILES)) // 2


def bound_tls_buffers() -> None:
    """Give each TLS connection of this process a read buffer of `TLS_BUFFER_BYTES` instead of asyncio's 256 KiB.

    asyncio has no interface for it: docs/decisions/0015-memory-of-connections.md.
    """
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
