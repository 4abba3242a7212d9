"""The settings as a whole: the keys at the top of the file.

It owns their grammar, their defaults and their descriptions. It reads no file but those the keys name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from broker.settings import addresses
from broker.settings.addresses import Listen, Network
from broker.settings.certificates import check_authorities
from broker.settings.invalid_value import InvalidValue
from broker.settings.logo import Logo, read_logo
from broker.settings.provider import ProviderSettings
from broker.settings.section import (
    FROZEN,
    IDENTIFIER,
    OutboundProxy,
    OwnKeys,
    PublicUrl,
    Section,
    Text,
    context,
    looked_for_in,
)
from broker.settings.site import SiteSettings


def _listen(text: Any) -> Listen:
    return addresses.listen(text if isinstance(text, str) else "")  # 8000, a number, lacks the host


def _network(text: Any) -> Network:
    if not isinstance(text, str):
        raise InvalidValue("must be text: put it in quotes")
    return addresses.network(text)


def _ca_file(text: Any, info: ValidationInfo) -> Path:
    if not isinstance(text, str) or not text:
        raise InvalidValue("must be a path, as text")
    file = context(info).folder / text
    try:
        check_authorities(file)
    except InvalidValue:
        raise  # a ValueError, too
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no usable path"
        raise InvalidValue(f"names a file that cannot be read ({reason}){looked_for_in(info, text)}") from None
    return file


def _logo(text: Any, info: ValidationInfo) -> Logo:
    if not isinstance(text, str) or not text:
        raise InvalidValue("must be a path, as text")
    try:
        return read_logo(context(info).folder / text)
    except InvalidValue:
        raise  # a ValueError, too
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no usable path"
        raise InvalidValue(f"names a file that cannot be read ({reason}){looked_for_in(info, text)}") from None


def _identifier(text: str) -> str:
    if not re.fullmatch(IDENTIFIER, text):
        raise InvalidValue("must consist of lower-case letters and digits, joined by single underscores")
    return text


_A_SITE = {
    "main": {
        "endpoint": "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
        "shared_secret_file": "/run/secrets/comm100-main",
    }
}
_A_PROVIDER = {
    "okta": {
        "issuer": "https://id.acme.example",
        "client_id": "0oa1b2c3",
        "client_secret_file": "/run/secrets/idp",
        "email_domains": ["acme.example"],
    }
}

Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
Socket = Annotated[
    Listen,
    BeforeValidator(_listen),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"}),
]
Picture = Annotated[Logo, BeforeValidator(_logo), PlainSerializer(repr), WithJsonSchema({"type": "string"})]
Range = Annotated[Network, BeforeValidator(_network), WithJsonSchema({"type": "string"})]


def _label_by_id(providers: Any) -> Any:
    if not isinstance(providers, Mapping):
        return providers
    return {key: _labelled(str(key), section) for key, section in providers.items()}


def _labelled(identifier: str, section: Any) -> Any:
    if not isinstance(section, Mapping) or section.get("label") is not None:
        return section
    # An id that is refused itself gets any label, so that it is reported once.
    label = identifier.replace("_", " ").title() if re.fullmatch(IDENTIFIER, identifier) else "?"
    return {**section, "label": label[:60]}


class Settings(Section):
    """Everything an admin can set; made by `load_settings` only."""

    secret_keys_of_section: ClassVar[tuple[str, ...]] = ("secret_keys", "outbound_proxy")

    public_url: PublicUrl = Field(
        description="Where browsers reach the broker: scheme and host. Every URL the broker builds starts with it.",
        examples=["https://sso.acme.example"],
    )
    secret_keys: OwnKeys = Field(
        description="The broker's own keys, one per line, newest first, 32 bytes or more each: the first signs, all "
        "verify.",
        examples=["/run/secrets/broker-keys"],
    )
    listen: Socket = Field(
        "0.0.0.0:8000",
        validate_default=True,
        description="The public port.",
        examples=["0.0.0.0:8000"],
    )
    operations_listen: Socket = Field(
        "127.0.0.1:9000",
        validate_default=True,
        description="Health, readiness and metrics: never on the public port.",
        examples=["127.0.0.1:9000"],
    )
    trusted_proxies: tuple[Range, ...] = Field(
        (),
        description="Address ranges whose X-Forwarded-For is believed, for logs and for the bound on rejected codes.",
        examples=[["10.0.0.0/8"]],
    )
    trusted_ca_file: Annotated[Path, BeforeValidator(_ca_file)] | None = Field(
        None, description="Further CA certificates (PEM) for outbound TLS.", examples=["/etc/ssl/acme-ca.pem"]
    )
    outbound_proxy: OutboundProxy = Field(
        description="The proxy for outbound calls, with a user name and password if it wants them; proxy environment "
        "variables are ignored.",
        examples=["http://proxy.acme.example:3128"],
    )
    shared_email_domains: StrictBool = Field(
        False, description="true: two providers may assert the same domain.", examples=[False]
    )
    log_email: Literal["hashed", "plain", "none"] = Field(
        "hashed", description="How e-mail addresses are written to the log.", examples=["hashed"]
    )
    support_email: Annotated[StrictStr, AfterValidator(addresses.mailbox)] | None = Field(
        None, description="The IT desk's address, offered on error pages.", examples=["it-desk@acme.example"]
    )
    site_name: Annotated[Text, Field(max_length=60)] | None = Field(
        None, description="What the pages call this site, at the top and in the title.", examples=["Acme sign-in"]
    )
    logo_file: Picture | None = Field(
        None,
        description="A small picture at the top of the agents' pages: SVG, PNG, WebP or JPEG.",
        examples=["logo.svg"],
    )
    sites: Annotated[Mapping[Identifier, SiteSettings], *FROZEN] = Field(
        description="The Comm100 sites by id; the first is the one of /login.",
        min_length=1,
        examples=[_A_SITE],
    )
    identity_providers: Annotated[Mapping[Identifier, ProviderSettings], BeforeValidator(_label_by_id), *FROZEN] = (
        Field(
            description="The identity providers by id.",
            min_length=1,
            examples=[_A_PROVIDER],
        )
    )

    @field_validator("operations_listen")
    @classmethod
    def _check_ports_differ(cls, operations: Listen, info: ValidationInfo) -> Listen:
        public = info.data.get("listen")
        if isinstance(public, Listen) and public.port == operations.port:
            raise InvalidValue("must use another port than listen")
        return operations

    @property
    def on_loopback(self) -> bool:
        """Whether `public_url` is on loopback: development, where http and loopback addresses are accepted."""
        return addresses.is_loopback(urlsplit(self.public_url).hostname or "")
