"""What every section of the settings has in common: frozen, no unknown keys, secrets given as text or as a file.

It owns the pairing of `x` and `x_file`. It knows no section by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from broker.settings import addresses, secret_rules
from broker.settings.invalid_value import CannotBeRead, InvalidValue
from broker.settings.placeholder import PLACEHOLDER, no_placeholder
from broker.settings.secret import Secret, SecretKeys, WatchedFile

T = TypeVar("T")
IDENTIFIER = r"[a-z0-9]+(_[a-z0-9]+)*"


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """What a value's validity depends on besides itself.

    Args:
        folder: where relative paths start.
        on_loopback: development: http and loopback addresses are accepted.
    """

    folder: Path
    on_loopback: bool


def context(info: ValidationInfo) -> ValidationContext:
    """Return what `load_settings` passed along with the values."""
    if not isinstance(info.context, ValidationContext):
        raise TypeError("settings are made by load_settings only")
    return info.context


@dataclass(frozen=True, slots=True)
class SecretInput:
    """A secret as the admin gave it: `x`, or `x_file`."""

    key: str
    text: object = field(repr=False)
    file: object = field(repr=False)


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, a null counts as not given, nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, ser_json_inf_nan="strings"
    )

    secret_keys_of_section: ClassVar[tuple[str, ...]] = ()
    shown_plainly: ClassVar[frozenset[str]] = frozenset({"outbound_proxy"})
    """Those of them that are mostly no secret, so that examples show them as text."""

    @model_validator(mode="before")
    @classmethod
    def _pair_secrets(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        for key in cls.secret_keys_of_section:
            given[key] = SecretInput(key, given.pop(key, None), given.pop(f"{key}_file", None))
        return given


def secret_reader(
    read: Callable[[str], T], *, required: bool
) -> Callable[[Any, ValidationInfo], Callable[[], T] | None]:
    """Return a validator that takes a secret as text or as a file, and gives its value of the moment.

    Args:
        read: makes the value from the text, or raises Unusable.
        required: it must be given.
    """

    def take(given: Any, info: ValidationInfo) -> Callable[[], T] | None:
        if not isinstance(given, SecretInput):
            raise TypeError("secrets are paired by their section")
        if given.text is not None and given.file is not None:
            raise InvalidValue(f"is given twice: keep either {given.key} or {given.key}_file")
        if given.file is not None:
            return _from_file(given, read, info)
        if given.text is not None:
            return _from_text(given.text, read)
        if required:
            raise InvalidValue(f"is required, as {given.key}_file or as {given.key}", key=f"{given.key}_file")
        return None

    return take


def looked_for_in(info: ValidationInfo, path: str) -> str:
    """Return the end of a sentence that tells where a relative path starts; the path itself is not shown."""
    return "" if Path(path).is_absolute() else f"; relative paths start at {context(info).folder}"


def _from_file(given: SecretInput, read: Callable[[str], T], info: ValidationInfo) -> Callable[[], T]:
    key = f"{given.key}_file"
    if not isinstance(given.file, str) or not given.file:
        raise InvalidValue("must be a path, as text", key=key)
    try:
        return WatchedFile(context(info).folder / given.file, read)
    except CannotBeRead as unread:
        raise InvalidValue(f"names a file that {unread.problem}{looked_for_in(info, given.file)}", key=key) from None
    except InvalidValue as unusable:
        raise InvalidValue(f"names a file that {unusable.problem}", key=key, example=unusable.example) from None


def _from_text(text: object, read: Callable[[str], T]) -> Callable[[], T]:
    if isinstance(text, (list, tuple)) and all(isinstance(line, str) for line in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        raise InvalidValue("must be text: put it in quotes, or better in a file")
    value = read(text)
    return lambda: value


def secret_text(read: Callable[[str], str], *, required: bool) -> BeforeValidator:
    """Return the validator of a secret that is a text.

    Args:
        read: takes the text, or raises Unusable.
        required: it must be given.
    """
    take = secret_reader(read, required=required)

    def make(given: Any, info: ValidationInfo) -> Secret | None:
        value = take(given, info)
        return None if value is None else Secret(value)

    return BeforeValidator(make)


def _keys(given: Any, info: ValidationInfo) -> SecretKeys | None:
    value = secret_reader(secret_rules.secret_keys, required=True)(given, info)
    return None if value is None else SecretKeys(value)


HIDDEN = PlainSerializer(lambda secret: None if secret is None else "(hidden)", return_type=str | None)

TEXT = WithJsonSchema({"type": "string", "minLength": 1})
_TEXT_OR_NULL = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]})
_LINES = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})

NO_PROXY = "none"


def _own_proxy(given: Any, info: ValidationInfo) -> Secret | None:
    if isinstance(given, SecretInput) and given.file is None and given.text == NO_PROXY:
        return Secret(lambda: NO_PROXY)  # as text alone: a file that changes must not take the address check away
    value = secret_reader(addresses.proxy, required=False)(given, info)
    return None if value is None else Secret(value)


SharedSecret = Annotated[Secret, secret_text(secret_rules.shared_secret, required=True), HIDDEN, TEXT]
OutboundProxy = Annotated[Secret | None, secret_text(addresses.proxy, required=False), HIDDEN, _TEXT_OR_NULL]
OwnProxy = Annotated[Secret | None, BeforeValidator(_own_proxy), HIDDEN, _TEXT_OR_NULL]
OwnKeys = Annotated[SecretKeys, BeforeValidator(_keys), HIDDEN, _LINES]


def _printable(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise InvalidValue("must be text without line breaks and without white space at its ends")
    return text


def each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Take a list that is not empty and repeats nothing.

    Raises:
        InvalidValue: it is empty, or repeats something.
    """
    if not values:
        raise InvalidValue("is an empty list: leave the key out, or name something")
    if len(set(values)) < len(values):
        raise InvalidValue("names something twice")
    return values


NO_PLACEHOLDER_SCHEMA: Mapping[str, Any] = {
    # `not` would make validators say only that the value is refused.
    "if": {"pattern": PLACEHOLDER},
    "then": {"enum": ["your own value, not a placeholder"]},
}
ADDRESS = "^https?://"
"""What the schema asks of an address."""
ORIGIN = r"^(https://[a-z0-9.:\[\]-]+|http://(localhost|127[0-9.]+|\[::1\])(:[0-9]+)?)/?$"
"""What the schema asks of `public_url`."""


def own_value(pattern: str | None = None) -> tuple[AfterValidator, WithJsonSchema]:
    """Return the metadata of a text that is no placeholder.

    Args:
        pattern: the form that the schema asks for; the model checks more.
    """
    form = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return (AfterValidator(no_placeholder), WithJsonSchema({**form, **NO_PLACEHOLDER_SCHEMA}))


Text = Annotated[StrictStr, AfterValidator(_printable)]
OwnText = Annotated[Text, *own_value()]
Address = Annotated[StrictStr, *own_value(ADDRESS)]
PublicUrl = Annotated[StrictStr, *own_value(ORIGIN), AfterValidator(addresses.origin)]
Texts = Annotated[tuple[Text, ...], AfterValidator(each_once)]
FROZEN = (AfterValidator(MappingProxyType), PlainSerializer(dict))
