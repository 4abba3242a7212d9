"""One Comm100 site: where its token goes, and what the token says.

It owns the keys below `sites.ID`. It knows nothing of how a token is made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, ValidationInfo, field_validator

from broker.settings import addresses
from broker.settings.invalid_value import InvalidValue
from broker.settings.section import FROZEN, Address, Section, SharedSecret, Text, context, each_once

Claim = str | int | float | bool
DEFAULT_CLAIMS: Mapping[str, Claim] = {"iss": "jwt server", "aud": "Comm100", "sub": "comm100"}
_MADE_PER_TOKEN = frozenset({"email", "name", "jti", "nbf", "exp", "iat"})


def _claims(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    for name, value in values.items():
        _check_claim(name, value)
    return {**DEFAULT_CLAIMS, **values}


def _check_claim(name: object, value: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[!-~]{1,100}", name):
        raise InvalidValue("has a claim whose name is not plain text without spaces")
    if name in _MADE_PER_TOKEN:
        raise InvalidValue(f"must not set {name}: the broker makes it for every token")
    if name in DEFAULT_CLAIMS and not (isinstance(value, str) and value):
        raise InvalidValue(f"must give {name} as text")
    if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidValue("must hold texts, numbers, true and false only")


class SiteSettings(Section):
    """One Comm100 site."""

    secret_keys_of_section: ClassVar[tuple[str, ...]] = ("shared_secret",)

    endpoint: Address = Field(
        description="The JWT SSO endpoint, copied from Comm100's Control Panel. No query, no fragment.",
        examples=["https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx"],
    )
    shared_secret: SharedSecret = Field(
        description="The JWT shared secret of the Control Panel, as displayed; 32 bytes or more.",
        examples=["/run/secrets/comm100-main"],
    )
    delivery: Literal["endpoint", "append"] = Field(
        "endpoint",
        description="Where the token goes: to the endpoint, or appended to the redirect_url received.",
        examples=["endpoint"],
    )
    redirect_hosts: tuple[Annotated[StrictStr, AfterValidator(addresses.redirect_host)], ...] = Field(
        (),
        description="Further hosts accepted in redirect_url; the endpoint's own host always is.",
        examples=[["dash11.comm100.io"]],
    )
    token_lifetime: int = Field(
        60, strict=True, ge=1, le=300, description="Seconds a token is valid, at most 300.", examples=[60]
    )
    claims: Annotated[Mapping[str, Claim], BeforeValidator(_claims), *FROZEN] = Field(
        DEFAULT_CLAIMS,
        validate_default=True,
        description="Constant claims of the token: they replace or add to the defaults.",
        examples=[{"iss": "jwt server"}],
    )
    identity_providers: Annotated[tuple[StrictStr, ...], AfterValidator(each_once)] | None = Field(
        None, description="Ids of the providers whose people may enter; default: all.", examples=[["okta"]]
    )
    start_url: Text | None = Field(
        None,
        description='Where "start again" and "signed out" lead: the page where agents begin to sign in.',
        examples=["https://secure.comm100.io/signin"],
    )

    @field_validator("endpoint", "start_url")
    @classmethod
    def _reachable_by_browsers(cls, text: str, info: ValidationInfo) -> str:
        on_loopback = context(info).on_loopback
        addresses.url(text, plain_host=True, query=info.field_name == "start_url", loopback=on_loopback)
        return text
