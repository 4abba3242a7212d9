"""Requests as a server hands them to the application, byte for byte: no client library tidies them up.

This file owns the shape of ASGI. It knows no address of ours and judges no answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Request:
    """What a browser sends, or anybody else.

    Args:
        target: path and query, as on the wire.
        method: in any case.
        headers: in the order sent, names in lower case, as servers hand them on.
    """

    target: bytes
    method: str = "GET"
    headers: tuple[Header, ...] = ()

    @property
    def query(self) -> bytes:
        return self.target.partition(b"?")[2]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header, in the order sent."""
        return [value for sent, value in self.headers if sent == name]


@dataclass
class Reply:
    """What the application answers."""

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header, in the order sent."""
        return [value.decode("latin-1") for sent, value in self.headers if sent.lower() == name]


def read_request(data: bytes) -> Request:
    """Read a request from text: the target, behind a method if it is not GET, then a header a line."""
    first, *lines = data.split(b"\n")
    method, space, target = first.partition(b" ")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name:
            headers.append((name.strip().lower(), value.strip()))
    if not space:
        return Request(first, headers=tuple(headers))
    return Request(target, method.decode("latin-1"), tuple(headers))


async def ask(application: ASGIApp, request: Request) -> Reply:
    """Hand one request to the application and return all it answers."""
    raw_path = request.target.partition(b"?")[0]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": request.method,
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": request.query,
        "headers": list(request.headers),
        "client": ("192.0.2.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    reply = Reply()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        fields: dict[str, Any] = dict(message)
        if fields["type"] == "http.response.start":
            reply.status, reply.headers = fields["status"], list(fields["headers"])
        else:
            reply.body += fields.get("body", b"")

    await application(scope, receive, send)
    return reply
