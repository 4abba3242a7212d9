"""Secrets: values that are never shown, the files that hold them, and the rules for each kind.

Functions named `check_` and `parse_` raise `InvalidValue`; no message holds any part of a secret.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, NoReturn, TypeVar

from cryptography import x509
from joserfc.errors import JoseError
from joserfc.jws import extract_compact
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from broker.oidc.client_assertion import AssertionKey, read_assertion_key
from broker.providers import KINDS
from broker.settings.values import (
    PIPE_SECONDS,
    InvalidValue,
    check_proxy,
    is_placeholder_secret,
    read_bytes,
    read_named_file,
)

T = TypeVar("T")
MIN_BYTES = 32  # HS256 asks for a key as long as its hash (RFC 7518, section 3.2)
NO_PROXY = "none"
Fingerprint = tuple[int, ...]
_MAX_FILE = 64 * 1024  # bytes; no secret is longer
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BEFORE_SIGNING = 120.0  # Kubernetes takes up to 90 s to give a changed Secret to every pod

_log = logging.getLogger("broker.settings")


class Secret(Generic[T]):
    """A value that no repr, log, pickle or dump shows: a text, a signing key, or the broker's own keys."""

    __slots__ = ("_value",)

    def __init__(self, value: Callable[[], T]) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the current value; call this for every use, because the value can be rotated."""
        return self._value()

    def reread(self) -> T:
        """Return the current value after a look at its file, even if the last look was a moment ago."""
        return self._value.look() if isinstance(self._value, WatchedFile) else self._value()

    @property
    def is_in_file(self) -> bool:
        """Whether the value came from a file, which is read again."""
        return isinstance(self._value, WatchedFile)

    def is_rejected(self) -> bool:
        """Tell whether the file's current content cannot be used, so that the last good value stays."""
        return isinstance(self._value, WatchedFile) and self._value.is_rejected()

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class WatchedFile(Generic[T]):
    """A file that is read again when it changes; the last good value stays while the new content cannot be used.

    Args:
        read: makes the value of the file's text, or raises InvalidValue.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, read: Callable[[str], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._looked_at = clock()
        self._seen = fingerprint(path)  # before reading: the next look then sees a change in between
        self._good = read(read_text(path))
        self._rejected = False

    def __call__(self) -> T:
        """Return the newest good value, looking at the file at most once a second."""
        return self.look() if self._clock() - self._looked_at >= _SECONDS_BETWEEN_LOOKS else self._good

    def look(self) -> T:
        """Return the newest good value, looking at the file now."""
        self._looked_at = self._clock()
        self._look()
        return self._good

    def is_rejected(self) -> bool:
        """Tell whether the file's current content cannot be used, so that the last good value stays."""
        self()
        return self._rejected

    def _look(self) -> None:
        seen = fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._good = self._read(read_text(self._path, pipe_seconds=0))  # sign-ins wait meanwhile
        except InvalidValue as invalid:
            self._rejected = True
            _log.error("%s changed and %s; the previous value stays in use", self._path, invalid.problem)
        else:
            self._rejected = False
            _log.info("%s changed; the new value is in use", self._path)


class WatchedKeys(WatchedFile[tuple[str, ...]]):
    """The file of `secret_keys`: a new first key verifies at once, and signs two minutes later.

    Until then the previous first key stays first. Other replicas have not seen the new key yet, and would refuse what
    it signed. A key that left the file is not used again.
    """

    def __init__(
        self, path: Path, read: Callable[[str], tuple[str, ...]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(path, read, clock)
        self._signer = self._next_signer = self._good[0]
        self._seen_at = 0.0

    def __call__(self) -> tuple[str, ...]:
        """Return the keys, the key that signs first."""
        keys = super().__call__()
        if keys[0] == self._signer:
            self._next_signer = self._signer
            return keys
        if keys[0] != self._next_signer:
            self._next_signer, self._seen_at = keys[0], self._clock()
        if self._signer not in keys or self._clock() - self._seen_at >= _SECONDS_BEFORE_SIGNING:
            self._signer = keys[0]
            return keys
        return (self._signer, *(key for key in keys if key != self._signer))


def read_text(path: Path, *, pipe_seconds: float | None = PIPE_SECONDS) -> str:
    """Read a small UTF-8 text file and drop one newline at its end.

    Raises:
        UnreadableFile: the file does not exist or may not be read.
        InvalidValue: the file is too large, or not UTF-8.
    """
    raw = read_bytes(path, _MAX_FILE, pipe_seconds=pipe_seconds)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidValue("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def fingerprint(path: Path) -> Fingerprint | None:
    """Return what differs after a file changed: identity, size and times; None if there is no such file."""
    try:
        found = path.stat()  # follows links: Kubernetes changes a secret by replacing a link
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class SecretInput:
    """A secret as the admin gave it: `x`, or `x_file`."""

    key: str
    text: object = field(repr=False)
    file: object = field(repr=False)

    @property
    def given_as(self) -> str:
        """The key that the admin gave; empty if the secret is not given."""
        if self.file is not None:
            return f"{self.key}_file"
        return "" if self.text is None else self.key


class Section(BaseModel):
    """A part of the settings: frozen, without unknown keys; null counts as not given."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, ser_json_inf_nan="strings"
    )

    secret_keys_of_section: ClassVar[tuple[str, ...]] = ()
    shown_plainly: ClassVar[frozenset[str]] = frozenset({"outbound_proxy"})
    """Secret keys that rarely hold a secret: examples show them as text."""

    @model_validator(mode="before")
    @classmethod
    def _pair_secrets(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        for key in cls.secret_keys_of_section:
            given[key] = SecretInput(key, given.pop(key, None), given.pop(f"{key}_file", None))
        return given

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """Return every key that the section accepts, with `x_file` for each secret `x`."""
        return (*cls.model_fields, *(f"{key}_file" for key in cls.secret_keys_of_section))


# -------------------- rules for each kind of secret

# No word of less than seven characters: a short one, such as todo, occurs in one of 10,000 random secrets.
_PLACEHOLDER = re.compile(
    r"^\$?\{.*\}$|change[-_ ]?(me|it|this)|replace[-_ ]?(me|this)|placeholder|example|goes[-_ ]?here|paste[-_ ]"
    r"|your[-_ ]?(own[-_ ]?)?(shared[-_ ]?|client[-_ ]?)?(secret|key)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(export\s+)?\w*secret\w*\s*[=:]\s*[^=\s].*", re.IGNORECASE | re.DOTALL)
_ALONE = "the secret alone, in one line, as it was copied"
_MAX_UNIT = 8  # characters: secretsecretsecret is a placeholder, a longer unit is a choice
_JWS = re.compile(r"(?:[A-Za-z0-9_-]+\.){2}[A-Za-z0-9_-]+")  # RFC 7515, section 3.1, with a signature


def check_shared_secret(text: str) -> str:
    """Return a secret to sign with: 32 bytes of UTF-8 or more, and no placeholder."""
    _check_one_line(text)
    if len(text.encode()) < MIN_BYTES:
        raise InvalidValue(f"is shorter than {MIN_BYTES} bytes")
    unit = (text + text).find(text[: len(text) // 2], 1)
    if 0 < unit <= _MAX_UNIT and text == (text[:unit] * len(text))[: len(text)]:
        raise InvalidValue("looks like a placeholder: a short text repeated")
    if _PLACEHOLDER.search(text) or is_placeholder_secret(text):
        raise InvalidValue("is a placeholder, not a secret")
    return text


def check_client_secret(text: str) -> str:
    """Return a secret of a provider: any text except a placeholder."""
    _check_one_line(text)
    if is_placeholder_secret(text):
        raise InvalidValue("is a placeholder, not a secret")
    return text


def parse_secret_keys(text: str) -> tuple[str, ...]:
    """Parse one key per line, newest first, and skip blank lines."""
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise InvalidValue("holds no key")
    for number, key in enumerate(keys, start=1):
        try:
            check_shared_secret(key)
        except InvalidValue as invalid:
            raise InvalidValue(f"holds a key that {invalid.problem} (key {number} of {len(keys)})") from None
    if len(set(keys)) < len(keys):
        raise InvalidValue("holds the same key twice")
    return keys


def check_federated_token(text: str) -> str:
    """Return a signed JWT of the platform; only the provider can verify it."""
    problem = "does not hold a signed token (JWT) alone"
    if not _JWS.fullmatch(text):
        raise InvalidValue(problem)
    try:
        token = extract_compact(text.encode())
        claims = json.loads(token.payload)
    except (JoseError, ValueError, RecursionError):
        raise InvalidValue(problem) from None
    if not isinstance(claims, dict) or str(token.headers().get("alg", "none")).lower() == "none":
        raise InvalidValue(problem)
    return text


def read_private_key(pem: str, *, algorithm: str | None, key_id: str | None, wants_certificate: bool) -> AssertionKey:
    """Read a private key, and the certificate in the same file.

    Args:
        pem: RSA of 2048 bits or more, or P-256, without a passphrase.
        algorithm: to sign with; None: by the key's type.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode()) if "-----BEGIN CERTIFICATE-----" in pem else []
    except ValueError:
        raise InvalidValue("holds a certificate that cannot be read") from None
    try:
        key = read_assertion_key(pem, algorithm=algorithm, key_id=key_id)
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    if certificates and certificates[0].public_key() != key.key.public_key:
        raise InvalidValue("holds a certificate of another private key: the key's own certificate comes first")
    if wants_certificate and not certificates:
        raise InvalidValue(
            "holds no certificate: this provider finds the key by the certificate, so put both in one file"
        )
    return key


def _check_one_line(text: str) -> None:
    if not text:
        raise InvalidValue("is empty", example=_ALONE)
    if text != text.strip() or not text.isprintable():
        raise InvalidValue(
            "has white space or a line break at its start or end, or a control character in it", example=_ALONE
        )
    if _NAMED.fullmatch(text):
        raise InvalidValue("begins with a name, such as CLIENT_SECRET=: remove the name", example=_ALONE)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise InvalidValue("is in quotes: remove them", example=_ALONE)


# -------------------- credentials

CREDENTIALS: Mapping[str, str | None] = {
    "client_secret_basic": "client_secret",
    "client_secret_post": "client_secret",
    "private_key_jwt": "private_key",
    "federated_credential": "federated_token",
    "none": None,
}
"""The credential that each value of `client_authentication` needs."""

CREDENTIAL_DETAILS: Mapping[str, str] = {
    "client_secret_expires": "client_secret",
    "private_key_id": "private_key",
    "private_key_algorithm": "private_key",
    "client_assertion_audience": "private_key",
}
"""The credential that each of these keys describes."""


def missing_secret(key: str, reason: str = "") -> InvalidValue:
    """Return the mistake that a secret is not given."""
    return InvalidValue(f"is required, as {key}_file or as {key}{reason}", key=f"{key}_file")


# -------------------- fields that hold a secret


def _read_secret(
    given: Any,
    info: ValidationInfo,
    read: Callable[[str], T],
    *,
    required: bool = False,
    watch: Callable[[Path, Callable[[str], T]], WatchedFile[T]] = WatchedFile,
) -> Secret[T] | None:
    if not isinstance(given, SecretInput):
        raise TypeError("secrets are paired by their section")
    if given.text is not None and given.file is not None:
        raise InvalidValue(f"is given twice: keep either {given.key} or {given.key}_file")
    if given.file is not None:
        return Secret(read_named_file(given.file, info, lambda path: watch(path, read), key=given.given_as))
    if given.text is not None:
        value = read(_text_of(given.text))
        return Secret(lambda: value)
    if required:
        raise missing_secret(given.key)
    return None


def _text_of(given: object) -> str:
    if isinstance(given, (list, tuple)) and all(isinstance(line, str) for line in given):
        return "\n".join(given)
    if not isinstance(given, str):
        raise InvalidValue("must be text: put it in quotes, or better in a file")
    return given


def _secret(read: Callable[[str], T], *, required: bool = False) -> BeforeValidator:
    def make(given: Any, info: ValidationInfo) -> Secret[T] | None:
        return _read_secret(given, info, read, required=required)

    return BeforeValidator(make)


def _own_keys(given: Any, info: ValidationInfo) -> Secret[tuple[str, ...]] | None:
    return _read_secret(given, info, parse_secret_keys, required=True, watch=WatchedKeys)


def _private_key(given: Any, info: ValidationInfo) -> Secret[AssertionKey] | None:
    kind = KINDS[info.data.get("preset", "oidc")]

    def read(pem: str) -> AssertionKey:
        return read_private_key(
            pem,
            algorithm=info.data.get("private_key_algorithm") or kind.private_key_algorithm,
            key_id=info.data.get("private_key_id"),
            wants_certificate=kind.wants_certificate,
        )

    return _read_secret(given, info, read)


def _own_proxy(given: Any, info: ValidationInfo) -> Secret[str] | None:
    if isinstance(given, SecretInput) and given.file is None and given.text == NO_PROXY:
        return Secret(lambda: NO_PROXY)  # as text only: a changed file must not switch off the address check
    return _read_secret(given, info, check_proxy)


_HIDDEN = PlainSerializer(lambda secret: None if secret is None else "(hidden)", return_type=str | None)
_TEXT = WithJsonSchema({"type": "string", "minLength": 1})
_TEXT_OR_NULL = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]})
_LINES = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})

SharedSecret = Annotated[Secret[str], _secret(check_shared_secret, required=True), _HIDDEN, _TEXT]
ClientSecret = Annotated[Secret[str] | None, _secret(check_client_secret), _HIDDEN, _TEXT]
FederatedToken = Annotated[Secret[str] | None, _secret(check_federated_token), _HIDDEN, _TEXT]
ClientPrivateKey = Annotated[Secret[AssertionKey] | None, BeforeValidator(_private_key), _HIDDEN, _TEXT]
OwnKeys = Annotated[Secret[tuple[str, ...]], BeforeValidator(_own_keys), _HIDDEN, _LINES]
OutboundProxy = Annotated[Secret[str] | None, _secret(check_proxy), _HIDDEN, _TEXT_OR_NULL]
OwnProxy = Annotated[Secret[str] | None, BeforeValidator(_own_proxy), _HIDDEN, _TEXT_OR_NULL]
