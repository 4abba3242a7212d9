"""Speaks HTTP/1.1 on the broker's sockets, more strictly and with more bounds than uvicorn, httptools and asyncio.

Every private part of these libraries that the broker overrides is in this file. `pyproject.toml` caps their minor
versions, and `tests/test_library_internals.py` fails when a part changes:
docs/development/decisions/0016-private-parts-of-the-http-server.md.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle, Transport
from contextlib import suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from broker.connections import Connections, max_connections
from broker.web.middleware import build_security_headers

MAX_HEAD_BYTES = 32 * 1024  # of request line and headers; `web` has a smaller bound and refuses with a page
MAX_HEADER_LINES = 128  # trailers included; each takes more memory than its bytes
LINE_BYTES = 200  # of memory for each header line, besides its text
MAX_BODY_BYTES = 1024  # kept of a body: enough to tell that there is a body
HEAD_SECONDS = 10.0  # for a request to arrive in full, and for a client to take its answer
LINGER_SECONDS = 2.0  # of reading after the last answer, so that a reset does not destroy the answer
LINGER_BYTES = 16 * 1024 * 1024  # read and dropped in that time
MAX_PIPELINED = 4  # requests that wait on a connection during an answer; browsers and proxies do not pipeline
PIPELINED_BYTES = 4 * 1024  # of memory for each pipelined request

# RFC 9112, section 3.2, and RFC 3986, section 3.2.2. Host may be empty: a URI without an authority has no host.
_HOST = re.compile(rb"(?:\[[\w.~!$&'()*+,;=:%-]+\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?")

_CONNECTIONS: WeakKeyDictionary[ServerState, Connections] = WeakKeyDictionary()


def _refusal(status: int) -> bytes:
    """Return an answer without a page, for a request that is never given to the application."""
    # As for https, always: the parser does not know public_url, and browsers ignore it on http (RFC 6797, 8.1).
    headers = [b"%b: %b\r\n" % header for header in build_security_headers(https=True)]
    return b"".join([STATUS_LINE[status], b"Connection: close\r\nContent-Length: 0\r\n", *headers, b"\r\n"])


_REFUSALS = {status: _refusal(status) for status in (400, 414, 431)}


class _Line:
    """The transport as uvicorn sees it: `close` calls the protocol's `hang_up`."""

    def __init__(self, transport: Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._protocol.is_hung_up or self._transport.is_closing()

    def close(self) -> None:
        self._protocol.hang_up()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, strict about the end of a message, with bounds on the memory that a client can take.

    After its last message a connection is deaf: no further bytes are read as a request. A message is the last if it
    has `Connection: close`, if it is answered before its end is read, or if its end is in doubt.
    """

    seconds = HEAD_SECONDS
    linger_seconds = LINGER_SECONDS
    is_hung_up = False
    _is_deaf = False
    _is_between = True  # of two messages, or before the first
    _in_head = True
    _keeps_alive = True  # after the current message, if it is read to its end in time
    _arrived = 0  # bytes of the unfinished message, without its body; an upper bound
    _head_bytes = 0  # of all messages not answered yet
    _lines = 0  # of all messages not answered yet
    _dropped = 0  # bytes after the last message
    _status = 400  # of a refusal without a page
    _timer: TimerHandle | None = None
    _write_timer: TimerHandle | None = None
    _answering: RequestResponseCycle | None = None

    # ---------------------------------------------------------------------------------------------------- connections

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request; close another connection if there are too many."""
        super().connection_made(cast("Transport", _Line(transport, self)))
        self._socket = transport
        transport.set_write_buffer_limits(high=0)  # uvicorn pauses as soon as the client does not take an answer
        self._others = _CONNECTIONS.setdefault(self.server_state, Connections())
        self._others.wait(self)
        if len(self.connections) > max_connections() and not self._others.make_room(self):
            self.drop()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self.is_hung_up = self._is_deaf = True
        self._others.forget(self)
        self._stop_timer()
        self._stop_write_timer()
        self._unset_keepalive_if_required()
        if self._answering is not None:  # uvicorn informs only the last request
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close at once, without waiting for the client."""
        self.is_hung_up = self._is_deaf = True
        self._socket.abort()

    def hang_up(self) -> None:
        """Send the rest of the answer, and close; read on for a moment if the client may still be sending.

        Closing with unread bytes resets the connection, and a reset can destroy the answer before it is read
        (RFC 9112, section 9.6).
        """
        if self.is_hung_up:
            return
        self.is_hung_up = self._is_deaf = True
        self._stop_timer()
        if self._is_between and not self._dropped:
            self._socket.close()
            if held := self._socket.get_write_buffer_size():
                self._others.wait(self, held)
            self._timer = self.loop.call_later(self.seconds, self._socket.abort)  # if the client never takes the answer
            return
        with suppress(OSError):  # the client has gone
            self._socket.write_eof()
        self.parser = None  # type: ignore[assignment] # frees the bytes of the last read
        self.flow.resume_reading()
        self._others.wait(self, self._socket.get_write_buffer_size())
        self._timer = self.loop.call_later(self.linger_seconds, self._socket.abort)

    def shutdown(self) -> None:
        """Close the connection after its current answer."""
        self._keeps_alive = False
        super().shutdown()

    def pause_writing(self) -> None:
        """Start the timer of an answer that the client does not take."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.seconds, self.drop)
        self._note()

    def resume_writing(self) -> None:
        """Stop the timer of an answer that the client does not take."""
        self._stop_write_timer()
        super().resume_writing()
        self._note()

    # -------------------------------------------------------------------------------------------------------- reading

    def data_received(self, data: bytes) -> None:
        """Count the bytes of an unfinished message; drop bytes after the last message."""
        if self._is_deaf:
            self._drop_data(data)
            return
        if self._is_between:
            self._arrived = 0
        self._arrived += len(data)
        if self._timer is None:
            self._start_timer()
        super().data_received(data)
        if self._is_between:
            return
        if self._arrived > MAX_HEAD_BYTES:
            self._status = 414 if len(self.url) > MAX_HEAD_BYTES // 2 else 431
            self._refuse()
        else:
            self._note()

    def _drop_data(self, data: bytes) -> None:
        self._dropped += len(data)
        if not self.is_hung_up:
            self.flow.pause_reading()  # until the last answer is sent
        elif self._dropped > LINGER_BYTES:
            self._socket.abort()

    def _note(self) -> None:
        """Register the connection as waiting for its client, idle, or being answered."""
        if self.is_hung_up:
            return
        if self.flow.write_paused:
            self._others.wait(self, self._socket.get_write_buffer_size() + PIPELINED_BYTES * len(self.pipeline))
        elif self._awaits_client():
            self._others.wait(self, self._arrived + LINE_BYTES * self._lines)
        elif self._is_between and self._answering is None:
            self._others.idle(self)
        else:
            self._others.forget(self)

    def _awaits_client(self) -> bool:
        """Tell whether the broker has nothing to answer until the client sends more."""
        if self._is_between or self._is_deaf or self.pipeline:
            return False
        if self._answering is None or self._answering.response_complete:
            return True
        return not self._in_head and self._answering is self.cycle

    def on_message_begin(self) -> None:
        """Start the timer and the counts of a request, wherever in a read the request begins."""
        if self._is_deaf:
            self._dropped += 1
            raise ValueError("a request after the last one")
        self._is_between, self._in_head, self._keeps_alive = False, True, True
        if not self.pipeline:
            self._head_bytes = self._lines = 0
        if self._timer is None:
            self._start_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request target."""
        super().on_url(url)
        self._count(len(url), beyond=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header line; a trailer is not a header of the request (RFC 9110, section 6.5.1)."""
        self._lines += 1
        self._check(self._lines <= MAX_HEADER_LINES)
        self._count(len(name) + len(value) + 4, beyond=431)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, and let the application answer; the timer runs until the message is read to its end."""
        self._check(self.parser.get_http_version() in ("1.0", "1.1") and b"#" not in self.url and self._has_host())
        self._check(len(self.pipeline) < MAX_PIPELINED)  # uvicorn's queue has no bound
        super().on_headers_complete()
        self._in_head = False
        # A message that is answered before its end is read is the connection's last (RFC 9112, section 9.3).
        self._keeps_alive = self._keeps_alive and self.cycle.keep_alive
        self.cycle.keep_alive = False
        if self.parser.should_upgrade():
            # The parser ends such a message after its head and ignores its framing: it would read a body as the next
            # request. The broker ignores Upgrade (RFC 9110, section 7.8) and reads no more.
            self._is_deaf = True
            self._stop_timer()
            self._others.forget(self)

    def on_body(self, body: bytes) -> None:
        """Keep the first bytes of a body: enough to tell that there is a body."""
        self._arrived -= len(body)
        super().on_body(body[: max(0, MAX_BODY_BYTES - len(self.cycle.body))])

    def on_message_complete(self) -> None:
        """Stop the timer, and accept the next request if the connection stays open."""
        super().on_message_complete()
        if self._is_deaf:
            return
        self._is_between = True
        self._stop_timer()
        self._note()
        self.cycle.keep_alive = self._keeps_alive and not self.cycle.response_started
        self._is_deaf = not self.cycle.keep_alive

    def on_response_complete(self) -> None:
        """Register the connection as waiting or idle, and free the memory of the answered request."""
        super().on_response_complete()
        if self.is_hung_up:
            return
        if not self._awaits_client() and self._answering is not None and self._answering.response_complete:
            self.cycle = self.scope = self.headers = self._answering = None  # type: ignore[assignment]
        self._note()

    def _has_host(self) -> bool:
        """Tell whether there is one valid Host; HTTP/1.0 needs none (RFC 9112, section 3.2)."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts:
            return self.parser.get_http_version() == "1.0"
        return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None

    # ------------------------------------------------------------------------------------------------------ refusing

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are not shown
        """Refuse a request that the parser cannot read."""
        self._refuse()

    def _refuse(self) -> None:
        """Answer without the application after all earlier requests are answered, then hang up."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._stop_timer()
        if not self._in_head and not self._is_between:  # the application already has this message
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
                self.cycle = self.pipeline[0][0] if self.pipeline else cast("RequestResponseCycle", self._answering)
            elif self.cycle.response_started:
                return  # the last answer, which hangs up
            else:
                self.cycle.disconnected = True  # discards the application's answer
                self.cycle.message_event.set()
                self.cycle = None  # type: ignore[assignment]
        before: RequestResponseCycle | None = self.cycle
        if before is not None and not before.response_complete:
            before.keep_alive = False
            return
        self.transport.write(_REFUSALS[self._status])
        self.transport.close()

    # ---------------------------------------------------------------------------------------------------------- parts

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _count(self, count: int, *, beyond: int) -> None:
        self._head_bytes += count
        self._check(self._head_bytes <= MAX_HEAD_BYTES, beyond)

    def _check(self, is_good: bool, status: int = 400) -> None:
        if not is_good:
            self._status = status
            raise ValueError("refused")  # to the parser, which ends with send_400_response

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.drop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
