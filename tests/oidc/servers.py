"""Servers on loopback that misbehave as told, and the certificates they show.

They stand for the other side of a socket; they know nothing of the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Talk = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server that counts.

    Args:
        port: on loopback.
        connections: accepted so far, TLS or not.
        requests: head and body of each request so far.
    """

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


def ok(body: bytes = b"{}", *headers: str, status: str = "200 OK") -> bytes:
    """Return a well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(*pieces: bytes, close: bool = False) -> Talk:
    """Answer every request with these bytes, whatever they are."""

    async def talk(_: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if close:
            writer.close()

    return talk


def drips(head: bytes, drop: bytes, seconds: float = 0.2) -> Talk:
    """Begin to answer, and never finish."""

    async def talk(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(seconds)

    return talk


async def hangs_up(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Take the request and close the connection."""
    writer.close()


@asynccontextmanager
async def serving(
    talk: Talk, *, tls: ssl.SSLContext | None = None, reads: bool = True, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Serve on a free port of loopback.

    Args:
        talk: answers each request.
        tls: speaks TLS with it.
        reads: reads a request before it talks; otherwise talks at once.
        host: to listen on.
    """
    seen = Server()
    talking: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                request = b""
                if reads:
                    request = await _read_request(reader)
                    seen.requests.append(request)
                await talk(request, writer)
                if not reads:
                    writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if tls is None:
            seen.connections += 1
        talking[asyncio.create_task(converse(reader, writer))] = writer

    if tls is not None:  # a handshake that fails reaches no conversation, but counts
        tls.sni_callback = lambda *_: setattr(seen, "connections", seen.connections + 1)
    server = await asyncio.start_server(accepted, host, 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for conversation, writer in talking.items():
            conversation.cancel()
            writer.transport.abort()
        await asyncio.gather(*talking, return_exceptions=True)
        await asyncio.sleep(0)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.lower().splitlines() if line.startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, path: Path) -> Path:
        """Write its certificate as PEM."""
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    def context(self, folder: Path, *hosts: str, days: int = 1) -> ssl.SSLContext:
        """Return a server's TLS context for these hosts; negative days: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general_name(host) for host in hosts]
        certificate = (
            _builder("server", self.certificate.subject, key, days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = folder / "server.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context


def new_authority(*, critical: bool = True) -> Authority:
    """Make a certificate authority nobody trusts yet; basicConstraints are critical, or not as at some firewalls."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    certificate = (
        _builder("test authority", name, key, 1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=critical)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_CERT_SIGN, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


_CERT_SIGN = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = now + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - dt.timedelta(days=2))
        .not_valid_after(end)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
