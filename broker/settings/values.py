"""Check single values: texts, host names, addresses and files.

Functions named `check_` and `parse_` return a usable value or raise `InvalidValue`. No message repeats a value, because
an address can hold a password.
"""

from __future__ import annotations

import base64
import errno
import ipaddress
import os
import re
import select
import ssl
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictStr, ValidationInfo, WithJsonSchema

from broker.errors import EmailMalformed
from broker.identity import check_email, is_host_name
from broker.oidc.network import is_loopback

T = TypeVar("T")
PIPE_SECONDS = 10.0  # for a file that is a pipe, such as <(sops decrypt ...) in a shell
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InvalidValue(ValueError):
    """A value that cannot be used; never holds the value itself, which could be a secret.

    Args:
        problem: the rest of a sentence that begins with the setting's name.
        key: the key to name instead of the field's, such as `client_secret_file`.
        example: the line to show instead of the field's example.
    """

    def __init__(self, problem: str, *, key: str | None = None, example: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.example = example


class UnreadableFile(InvalidValue):
    """A file that does not exist, or that the broker may not read."""


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """What the validity of a value depends on: where relative paths start, and whether loopback is accepted."""

    folder: Path
    on_loopback: bool


def context(info: ValidationInfo) -> ValidationContext:
    """Return the context that `load_settings` passed with the values."""
    if not isinstance(info.context, ValidationContext):
        raise TypeError("settings are made by load_settings only")
    return info.context


# -------------------- placeholders

# Narrow enough for at-your-service.de, for my-example.com and for random secrets.
_PLACEHOLDER_WORDS = (
    r"(^|[^a-z])(change|replace)[-_ ]?me([^a-z]|$)|^todo\b|^x{4,}$|x{8}|(^|[/.@,])example\.(com|net|org)\b"
    r"|\bplaceholder\b|(^|[/.@,_])your[-_. ]?(company|corp|org|organi[sz]ation|domain|host|name|tenant|okta|site"
    r"|account|app|server|client|id)([-_./:]|$)"
)
_PLACEHOLDER = f"(?i:<[^<>]*>|{_PLACEHOLDER_WORDS})"  # Python, Go and JavaScript read it alike

NO_PLACEHOLDER_SCHEMA: Mapping[str, Any] = {
    # `not` would make validators say only that the value is refused.
    "if": {"pattern": _PLACEHOLDER},
    "then": {"enum": ["your own value, not a placeholder"]},
}


def check_no_placeholder(text: str) -> str:
    """Return a value that is no placeholder."""
    if re.search(_PLACEHOLDER, text):
        raise InvalidValue("is a placeholder: replace it with your own value")
    return text


def is_placeholder_secret(text: str) -> bool:
    """Tell whether a secret is a placeholder; a random secret may have brackets inside."""
    return re.search(f"(?i:^<.*>$|{_PLACEHOLDER_WORDS})", text, re.DOTALL) is not None


# -------------------- host names, addresses

_URL_CHARACTERS = re.compile(r"[!#-;=?-\[\]_a-z~]+", re.IGNORECASE)  # printable ASCII without " < > \ ^ ` { | }
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")  # RFC 3986, section 3.2.1, without a colon


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens: `host` without brackets, `port` from 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: Any) -> Listen:
    """Parse `host:port`, with an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    right_host = is_host_name(host) or (_ip(bare) is not None and (":" in bare) == (bare != host))
    if not (colon and right_host and re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise InvalidValue("must be host:port with a port from 1 to 65535, an IPv6 address in brackets")
    return Listen(bare, int(port))


def parse_network(text: Any) -> Network:
    """Parse an address range such as `10.0.0.0/8`."""
    if not isinstance(text, str):
        raise InvalidValue("must be text: put it in quotes")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidValue("must be an address range (CIDR) that has no host bits set") from None


def check_email_domain(text: str) -> str:
    """Return a mail domain: lower-case ASCII with a dot."""
    if not is_host_name(text) or "." not in text:
        raise InvalidValue(
            "must be a mail domain in lower-case ASCII, without @ and wildcard (subdomains are not implied)"
        )
    return text


def check_redirect_host(text: str) -> str:
    """Return a host name."""
    if "*" in text:
        raise InvalidValue("must be one host name: a wildcard would also cover hosts that carry other customers' pages")
    if not is_host_name(text):
        raise InvalidValue("must be a host name in lower case, without scheme, port and path")
    return text


def check_mailbox(text: str) -> str:
    """Return an e-mail address."""
    try:
        host = check_email(text).rpartition("@")[2]
    except EmailMalformed:
        host = ""
    if not is_host_name(host):
        raise InvalidValue("must be one plain e-mail address")
    return text


def check_origin(text: str) -> str:
    """Return scheme, host and port of a URL, without the slash at the end."""
    parts = _parse_url(text.removesuffix("/"))
    problems = _problems_of_form(parts, text, plain_host=True, query=True)
    if parts.path or "?" in text or "#" in text:
        problems.append("must be scheme and host alone, without path, query and fragment")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        problems.append("must begin with https://: http is accepted on loopback only")
    _raise_if_any(problems)
    return text.removesuffix("/")


def check_url(text: str, *, plain_host: bool = False, query: bool = False, loopback: bool = True) -> SplitResult:
    """Split an http or https URL in which every parser sees the same host.

    Args:
        plain_host: demand a host in lower case without the default port, as browsers write it.
        query: accept query and fragment.
        loopback: accept http and loopback addresses, for a broker on loopback.
    """
    parts = _parse_url(text)
    problems = _problems_of_form(parts, text, plain_host=plain_host, query=query)
    if not loopback and parts.scheme != "https":
        problems.append("must begin with https://: http is accepted only while public_url is on loopback")
    if not loopback and _reaches_loopback(parts.hostname or ""):
        problems.append("must not be on loopback, unless public_url is")
    _raise_if_any(problems)
    return parts


def check_proxy(text: str) -> str:
    """Return the URL of a proxy: scheme, host and port, with or without percent-encoded user name and password."""
    scheme, _, rest = text.partition("://")
    before, at, place = rest.rpartition("@")
    parts = check_url(f"{scheme}://{place}" if at else text)
    if parts.path not in {"", "/"} or parts.port is None:
        raise InvalidValue("must be scheme, host and port, after the user name and password if there are any")
    user, _, password = before.partition(":")
    if at and not (_ENCODED.fullmatch(user) and _ENCODED.fullmatch(f"{password}x") and _is_sendable(user, password)):
        raise InvalidValue(
            "must have a user name, without a colon, and a password in which all characters except letters, digits and "
            "- . _ ~ are percent-encoded: %40 for @"
        )
    return text


def _is_sendable(user: str, password: str) -> bool:
    """Tell whether Basic authentication can carry user name and password (RFC 7617, section 2)."""
    name, secret = unquote(user, errors="replace"), unquote(password, errors="replace")
    return ":" not in name and (name + secret).isprintable() and "\ufffd" not in name + secret


def _parse_url(text: str) -> SplitResult:
    try:
        parts = urlsplit(text) if _URL_CHARACTERS.fullmatch(text) else None
        usable = parts is not None and parts.port != 0
    except ValueError:
        parts, usable = None, False
    if parts is None or not usable or parts.scheme not in {"http", "https"} or not _is_host(parts.hostname or ""):
        raise InvalidValue("must be a complete URL such as the example, in plain ASCII")
    return parts


def _problems_of_form(parts: SplitResult, text: str, *, plain_host: bool, query: bool) -> list[str]:
    problems = []
    if "@" in parts.netloc:
        problems.append("must not hold a user name or password")
    if not query and ("?" in text or "#" in text):
        problems.append("must have neither query nor fragment")
    if plain_host and (parts.netloc != parts.netloc.lower() or not text.startswith(parts.scheme)):
        problems.append("must have scheme and host in lower case")
    if plain_host and (parts.netloc.endswith(":") or parts.port == {"http": 80, "https": 443}[parts.scheme]):
        problems.append("must not name the default port")
    return problems


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        raise InvalidValue("; ".join(problems))


def _reaches_loopback(host: str) -> bool:
    # Wider than is_loopback, which permits: 0.0.0.0, ::ffff:127.0.0.1 and x.localhost also end on loopback.
    address = _ip(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any(each.is_loopback or each.is_unspecified for each in (address, mapped) if each)


def _is_host(host: str) -> bool:
    return is_host_name(host) or (_ip(host) is not None and "%" not in host)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


# -------------------- public mail

# Not complete: the list catches mistakes, not malice.
_PUBLIC_MAIL = frozenset(Path(__file__).with_name("public_mail.txt").read_text(encoding="utf-8").split())
_PUBLIC_MAIL_FORMS = (
    # Anyone can register a domain under these.
    re.compile(r"(ac|co|com|edu|gov|net|org)\.[a-z]{2}"),
    # These exist in most countries: yahoo.fr, yahoo.co.uk, yahoo.com.au.
    re.compile(r"(gmail|gmx|googlemail|hotmail|yahoo|yandex|ymail)(\.com?)?\.[a-z]{2,3}"),
)


def is_public_mail(domain: str) -> bool:
    """Tell whether this lower-case domain gives addresses or subdomains to the public."""
    return domain in _PUBLIC_MAIL or any(form.fullmatch(domain) for form in _PUBLIC_MAIL_FORMS)


# -------------------- files

_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.*?(?=-----BEGIN |\Z)", re.DOTALL)
_MAX_AUTHORITIES = 4 * 1024 * 1024  # bytes; the authorities of the web take a twentieth
MAX_LOGO_BYTES = 6_000  # in base64 8,000 characters: every page of agents stays under 20 KB


def read_bytes(path: Path, limit: int, *, pipe_seconds: float | None = PIPE_SECONDS) -> bytes:
    """Read a file of at most `limit` bytes; no path, such as /dev/zero or a pipe, hangs the broker.

    Args:
        pipe_seconds: for a pipe until its end; None waits without a bound.

    Raises:
        UnreadableFile: the file does not exist or may not be read.
        InvalidValue: the file is too large.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raw = _read_pipe(file.fileno(), limit + 1, pipe_seconds)
            else:
                os.set_blocking(file.fileno(), True)  # a terminal, too: `broker init` reads a secret from it
                raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    if len(raw) > limit:
        raise InvalidValue(f"is larger than {limit} bytes")
    return raw


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe without waiting for a program that writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read_pipe(descriptor: int, limit: int, seconds: float | None) -> bytes:
    """Read a pipe until its end, or until `limit` bytes came."""
    poll = select.poll()  # `select.select` refuses descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    until, raw = time.monotonic() + (seconds or 0), b""
    while len(raw) < limit:
        wait = None if seconds is None else 1000 * max(until - time.monotonic(), 0)
        if not poll.poll(wait):
            raise TimeoutError(errno.ETIMEDOUT, "a pipe that no program writes and closes")
        block = os.read(descriptor, limit - len(raw))
        if not block:
            break
        raw += block
    return raw


def _unreadable(error: Exception) -> UnreadableFile:
    reason = error.strerror if isinstance(error, OSError) else "no usable path"  # ValueError: a NUL in the path
    return UnreadableFile(f"cannot be read ({reason})")


def read_named_file(path: object, info: ValidationInfo, read: Callable[[Path], T], *, key: str | None = None) -> T:
    """Return what `read` makes of the file that a setting names.

    Args:
        key: the setting; None: the field's.
    """
    if not isinstance(path, str) or not path:
        raise InvalidValue("must be a path, as text", key=key)
    folder = context(info).folder
    try:
        return read(folder / path)
    except InvalidValue as invalid:
        relative = isinstance(invalid, UnreadableFile) and not Path(path).is_absolute()
        where = f"; relative paths start at {folder}" if relative else ""
        raise InvalidValue(f"names a file that {invalid.problem}{where}", key=key, example=invalid.example) from None


def _in_file(read: Callable[[Path], object]) -> BeforeValidator:
    return BeforeValidator(lambda path, info: read_named_file(path, info, read))


def check_authorities(file: Path) -> Path:
    """Check a file of certificate authorities as OpenSSL will read it, and return its path."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # OpenSSL would wait for a pipe, and read a device without end
            raise InvalidValue("is not a regular file")
        if status.st_size > _MAX_AUTHORITIES:
            raise InvalidValue(f"is larger than {_MAX_AUTHORITIES} bytes")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except InvalidValue:
        raise  # a ValueError, too
    except ssl.SSLError:
        raise InvalidValue(_fault_of(read_bytes(file, _MAX_AUTHORITIES))) from None
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    return file


def check_no_folder(file: Path) -> Path:
    """Return the path of a file that the broker writes, which need not exist."""
    try:
        is_folder = stat.S_ISDIR(file.stat().st_mode)
    except ValueError as error:
        raise _unreadable(error) from None
    except OSError:  # a file that cannot be used is told in the log, and is no obstacle to a start
        is_folder = False
    if is_folder:
        raise InvalidValue("is a folder")
    return file


def _fault_of(raw: bytes) -> str:
    blocks = _CERTIFICATE.findall(raw)
    for number, block in enumerate(blocks, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError):
            return f"is truncated or altered: certificate number {number} of {len(blocks)} cannot be read"
    if b"PRIVATE KEY-----" in raw:
        return "holds a private key: it must hold certificates only"
    problem = "holds no certificates in PEM form"
    if raw.startswith(b"\x30\x82"):
        return f"{problem}: it is binary (DER); convert it with openssl x509 -inform der"
    return problem


@dataclass(frozen=True, slots=True)
class Logo:
    """An image that browsers can show."""

    media_type: str
    content: bytes = field(repr=False)

    @property
    def data_uri(self) -> str:
        """The image as an address (RFC 2397), so that a page needs no second request."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def read_logo(file: Path) -> Logo:
    """Read an image of at most `MAX_LOGO_BYTES`, and tell its type by its content."""
    content = read_bytes(file, MAX_LOGO_BYTES)
    size = int.from_bytes(content[4:8], "little") + 8
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82"):
        return Logo("image/png", content)
    if content.startswith(b"\xff\xd8\xff") and content.endswith(b"\xff\xd9"):
        return Logo("image/jpeg", content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP" and len(content) == size:
        return Logo("image/webp", content)
    if _is_svg(content):
        return Logo("image/svg+xml", content)
    raise InvalidValue("is truncated or is not an SVG, PNG, WebP or JPEG image")


def _is_svg(content: bytes) -> bool:
    if b"<!ENTITY" in content:  # entities can grow without bounds
        return False
    from xml.etree import ElementTree as ET  # few settings have a logo

    try:
        return ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - no entities
    except (ET.ParseError, LookupError, ValueError):  # the last two: an unknown encoding
        return False


# -------------------- types of settings

IDENTIFIER = r"[a-z0-9]+(_[a-z0-9]+)*"
ADDRESS = "^https?://"
"""What the schema asks of an address; the model checks more."""
ORIGIN = r"^(https://[a-z0-9.:\[\]-]+|http://(localhost|127[0-9.]+|\[::1\])(:[0-9]+)?)/?$"
"""What the schema asks of `public_url`; the model checks more."""


def _check_text(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise InvalidValue("must be text without line breaks and without white space at its ends")
    return text


def _check_identifier(text: str) -> str:
    if not re.fullmatch(IDENTIFIER, text):
        raise InvalidValue("must consist of lower-case letters and digits, joined by single underscores")
    return text


def each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return a list that is not empty and repeats nothing."""
    if not values:
        raise InvalidValue("is an empty list: leave the key out, or name something")
    if len(set(values)) < len(values):
        raise InvalidValue("names something twice")
    return values


def own_value(pattern: str | None = None) -> tuple[AfterValidator, WithJsonSchema]:
    """Return the annotations of a text that is no placeholder; only the schema checks the pattern."""
    form = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return (AfterValidator(check_no_placeholder), WithJsonSchema({**form, **NO_PLACEHOLDER_SCHEMA}))


Text = Annotated[StrictStr, AfterValidator(_check_text)]
Texts = Annotated[tuple[Text, ...], AfterValidator(each_once)]
OwnText = Annotated[Text, *own_value()]
Identifier = Annotated[StrictStr, AfterValidator(_check_identifier)]
Address = Annotated[StrictStr, *own_value(ADDRESS)]
PublicUrl = Annotated[StrictStr, *own_value(ORIGIN), AfterValidator(check_origin)]
Socket = Annotated[
    Listen,
    BeforeValidator(parse_listen),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"}),
]
Range = Annotated[Network, BeforeValidator(parse_network), WithJsonSchema({"type": "string"})]
Authorities = Annotated[Path, _in_file(check_authorities)]
OwnFile = Annotated[Path, _in_file(check_no_folder)]
Picture = Annotated[Logo, _in_file(read_logo), PlainSerializer(repr), WithJsonSchema({"type": "string"})]
FROZEN = (AfterValidator(MappingProxyType), PlainSerializer(dict))
