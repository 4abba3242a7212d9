"""Secrets: values that are used but never shown, the files they are in, and what each kind of secret must be like.

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
    InvalidValue,
    UnreadableFile,
    check_proxy,
    context,
    is_placeholder_secret,
    reason_of,
    start_of_path,
)

T = TypeVar("T")
MIN_BYTES = 32  # HS256 asks for a key as long as its hash (RFC 7518, section 3.2)
NO_PROXY = "none"
_MAX_FILE = 64 * 1024  # bytes; no secret is longer, and a path like /dev/zero must not hang the broker
_SECONDS_BETWEEN_LOOKS = 1.0

_log = logging.getLogger("broker.settings")


class _Hidden(Generic[T]):
    """A value that no repr, log, pickle or dump shows."""

    __slots__ = ("_value",)

    def __init__(self, value: Callable[[], T]) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the current value; call this for every use, because the value can be rotated."""
        return self._value()

    @property
    def is_in_file(self) -> bool:
        """Whether the value came from a file, which is read again."""
        return isinstance(self._value, WatchedFile)

    def is_rejected(self) -> bool:
        """Tell whether the file's new content cannot be used, so that the previous value stays."""
        return isinstance(self._value, WatchedFile) and self._value.is_rejected()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


class Secret(_Hidden[str]):
    """A secret text."""

    __slots__ = ()


class SecretKeys(_Hidden[tuple[str, ...]]):
    """The broker's own keys, newest first."""

    __slots__ = ()


class PrivateKey(_Hidden[AssertionKey]):
    """The key that authenticates the broker at a provider, ready to sign."""

    __slots__ = ()


class WatchedFile(Generic[T]):
    """A file that is read again when it changes; the last good value stays while the new content cannot be used.

    Args:
        path: the file.
        read: makes the value from the file's text, or raises InvalidValue.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, read: Callable[[str], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._looked_at = clock()
        self._seen = _fingerprint(path)  # before reading: the next look then sees a change in between
        self._good = read(read_text(path))
        self._rejected = False

    def __call__(self) -> T:
        """Return the newest good value, looking at the file at most once a second."""
        now = self._clock()
        if now - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            self._look()
        return self._good

    def is_rejected(self) -> bool:
        """Tell whether the file's current content cannot be used, so that the last good value stays."""
        self()
        return self._rejected

    def _look(self) -> None:
        seen = _fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._good = self._read(read_text(self._path))
        except InvalidValue as invalid:
            self._rejected = True
            _log.error("%s changed and %s; the previous value stays in use", self._path, invalid.problem)
        else:
            self._rejected = False
            _log.info("%s changed; the new value is in use", self._path)


def read_text(path: Path) -> str:
    """Read a small UTF-8 text file and drop one newline at its end.

    Raises:
        UnreadableFile: the file does not exist or may not be read.
        InvalidValue: the file is too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UnreadableFile(f"cannot be read ({reason_of(error)})") from None
    if len(raw) > _MAX_FILE:
        raise InvalidValue(f"is larger than {_MAX_FILE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidValue("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _fingerprint(path: Path) -> tuple[int, ...] | None:
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


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, null counts as not given, nothing changes afterwards."""

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


# -------------------- what a secret must be like

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
        raise InvalidValue("is a short text repeated, not a secret")
    if _PLACEHOLDER.search(text) or is_placeholder_secret(text):
        raise InvalidValue("is a placeholder, not a secret")
    return text


def check_client_secret(text: str) -> str:
    """Return a secret that a provider chose: any text except a placeholder."""
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
        key_id: the `kid` by which the provider knows the public key.
        wants_certificate: the certificate is required.
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
}
"""Keys that describe a credential, and mean nothing without it."""


def check_credential(given: SecretInput, method: str) -> None:
    """Check that a credential is given if `client_authentication` needs it, and only then."""
    is_given = given.text is not None or given.file is not None
    if given.key == CREDENTIALS[method] and not is_given:
        problem = f"is required, as {given.key}_file or as {given.key}, while client_authentication is {method}"
        raise InvalidValue(problem, key=f"{given.key}_file")
    if is_given:
        check_belongs(given.key, method, key=given.key if given.file is None else f"{given.key}_file")


def check_belongs(credential: str, method: str, *, key: str | None = None) -> None:
    """Check that a credential, or a key that describes it, belongs to `client_authentication`.

    Args:
        credential: the credential's key in `CREDENTIALS`.
        method: the value of `client_authentication`.
        key: the key to name in the message; None: the field's.
    """
    if credential != CREDENTIALS[method]:
        others = " or ".join(other for other, needed in CREDENTIALS.items() if needed == credential)
        raise InvalidValue(
            f"must not be given while client_authentication is {method}: it belongs to {others}", key=key
        )


# -------------------- fields that hold a secret


def _source_of(given: Any, info: ValidationInfo, read: Callable[[str], T], *, required: bool) -> Callable[[], T] | None:
    """Return what gives the current value of a secret; None if the secret is not given."""
    if not isinstance(given, SecretInput):
        raise TypeError("secrets are paired by their section")
    if given.text is not None and given.file is not None:
        raise InvalidValue(f"is given twice: keep either {given.key} or {given.key}_file")
    if given.file is not None:
        return _from_file(given, info, read)
    if given.text is not None:
        return _from_text(given.text, read)
    if required:
        raise InvalidValue(f"is required, as {given.key}_file or as {given.key}", key=f"{given.key}_file")
    return None


def _from_file(given: SecretInput, info: ValidationInfo, read: Callable[[str], T]) -> Callable[[], T]:
    key = f"{given.key}_file"
    if not isinstance(given.file, str) or not given.file:
        raise InvalidValue("must be a path, as text", key=key)
    try:
        return WatchedFile(context(info).folder / given.file, read)
    except UnreadableFile as unread:
        raise InvalidValue(f"names a file that {unread.problem}{start_of_path(info, given.file)}", key=key) from None
    except InvalidValue as invalid:
        raise InvalidValue(f"names a file that {invalid.problem}", key=key, example=invalid.example) from None


def _from_text(text: object, read: Callable[[str], T]) -> Callable[[], T]:
    if isinstance(text, (list, tuple)) and all(isinstance(line, str) for line in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        raise InvalidValue("must be text: put it in quotes, or better in a file")
    value = read(text)
    return lambda: value


def _secret(read: Callable[[str], str], *, required: bool = False) -> BeforeValidator:
    def make(given: Any, info: ValidationInfo) -> Secret | None:
        value = _source_of(given, info, read, required=required)
        return None if value is None else Secret(value)

    return BeforeValidator(make)


def _own_keys(given: Any, info: ValidationInfo) -> SecretKeys | None:
    value = _source_of(given, info, parse_secret_keys, required=True)
    return None if value is None else SecretKeys(value)


def _private_key(given: Any, info: ValidationInfo) -> PrivateKey | None:
    kind = KINDS[info.data.get("preset", "oidc")]

    def read(pem: str) -> AssertionKey:
        return read_private_key(
            pem,
            algorithm=info.data.get("private_key_algorithm") or kind.private_key_algorithm,
            key_id=info.data.get("private_key_id"),
            wants_certificate=kind.wants_certificate,
        )

    value = _source_of(given, info, read, required=False)
    return None if value is None else PrivateKey(value)


def _own_proxy(given: Any, info: ValidationInfo) -> Secret | None:
    if isinstance(given, SecretInput) and given.file is None and given.text == NO_PROXY:
        return Secret(lambda: NO_PROXY)  # as text only: a file that changes must not take the address check away
    value = _source_of(given, info, check_proxy, required=False)
    return None if value is None else Secret(value)


_HIDDEN = PlainSerializer(lambda secret: None if secret is None else "(hidden)", return_type=str | None)
_TEXT = WithJsonSchema({"type": "string", "minLength": 1})
_TEXT_OR_NULL = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]})
_LINES = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})

SharedSecret = Annotated[Secret, _secret(check_shared_secret, required=True), _HIDDEN, _TEXT]
ClientSecret = Annotated[Secret | None, _secret(check_client_secret), _HIDDEN, _TEXT]
FederatedToken = Annotated[Secret | None, _secret(check_federated_token), _HIDDEN, _TEXT]
ClientPrivateKey = Annotated[PrivateKey | None, BeforeValidator(_private_key), _HIDDEN, _TEXT]
OwnKeys = Annotated[SecretKeys, BeforeValidator(_own_keys), _HIDDEN, _LINES]
OutboundProxy = Annotated[Secret | None, _secret(check_proxy), _HIDDEN, _TEXT_OR_NULL]
OwnProxy = Annotated[Secret | None, BeforeValidator(_own_proxy), _HIDDEN, _TEXT_OR_NULL]
