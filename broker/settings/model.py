"""The settings: the sites, and the keys at the top of the file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, ValidationInfo, field_validator

from broker.oidc.network import is_loopback
from broker.settings.provider import ProviderSettings
from broker.settings.secrets import OutboundProxy, OwnKeys, Secret, Section, SharedSecret
from broker.settings.values import (
    FROZEN,
    IDENTIFIER,
    Address,
    Authorities,
    Identifier,
    InvalidValue,
    Listen,
    OwnFile,
    Picture,
    PublicUrl,
    Range,
    Socket,
    Text,
    check_mailbox,
    check_redirect_host,
    check_url,
    context,
    each_once,
)

Claim = str | int | float | bool
DEFAULT_CLAIMS: Mapping[str, Claim] = {"iss": "jwt server", "aud": "Comm100", "sub": "comm100"}
_MADE_PER_TOKEN = frozenset({"email", "name", "jti", "nbf", "exp", "iat"})


def _claims(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    for name, value in values.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!-~]{1,100}", name):
            raise InvalidValue("has a claim whose name is not plain text without spaces")
        if name in _MADE_PER_TOKEN:
            raise InvalidValue(f"must not set {name}: the broker makes it for every token")
        if name in DEFAULT_CLAIMS and not (isinstance(value, str) and value):
            raise InvalidValue(f"must give {name} as text")
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidValue("must hold texts, numbers, true and false only")
    return {**DEFAULT_CLAIMS, **values}


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
    redirect_hosts: tuple[Annotated[StrictStr, AfterValidator(check_redirect_host)], ...] = Field(
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
        None, description="Ids of the providers that agents may sign in with; default: all.", examples=[["okta"]]
    )
    emergency_access: Annotated[
        tuple[Annotated[StrictStr, AfterValidator(check_mailbox)], ...], AfterValidator(each_once)
    ] = Field(
        (),
        description="Addresses of agents whom broker emergency-link may sign in while the provider is down.",
        examples=[["lead@acme.example"]],
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
        check_url(text, plain_host=True, query=info.field_name == "start_url", loopback=on_loopback)
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


def _label_by_id(providers: Any) -> Any:
    if not isinstance(providers, Mapping):
        return providers
    labelled = dict(providers)
    for key, section in providers.items():
        if isinstance(section, Mapping) and section.get("label") is None:
            # A refused id gets some label, so that only the id is reported.
            label = str(key).replace("_", " ").title() if re.fullmatch(IDENTIFIER, str(key)) else "?"
            labelled[key] = {**section, "label": label[:60]}
    return labelled


class Settings(Section):
    """Everything an admin can set; `load_settings` and `check_settings` make it."""

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
        description="Address ranges whose X-Forwarded-For is trusted, for logs and for the bound on rejected codes.",
        examples=[["10.0.0.0/8"]],
    )
    trusted_ca_file: Authorities | None = Field(
        None, description="Further CA certificates (PEM) for outbound TLS.", examples=["/etc/ssl/acme-ca.pem"]
    )
    outbound_proxy: OutboundProxy = Field(
        description="The proxy for outbound calls, with a user name and password if required; proxy environment "
        "variables are ignored.",
        examples=["http://proxy.acme.example:3128"],
    )
    snapshot_file: OwnFile | None = Field(
        None,
        description="Where the broker keeps the providers' last good metadata and keys, for a start while a provider "
        "does not answer.",
        examples=["/var/lib/broker/snapshot.json"],
    )
    dawn_check_hours: Annotated[int, Field(strict=True, ge=0, le=168)] | None = Field(
        6,
        description="Hours between two checks that the running service makes by itself; 0: none.",
        examples=[6],
    )
    stop_delay: int = Field(
        0,
        strict=True,
        ge=0,
        le=300,
        description="Seconds between the stop signal and the close of the public port; readiness fails at once.",
        examples=[12],
    )
    shared_email_domains: StrictBool = Field(
        False, description="true: two providers may assert the same domain.", examples=[False]
    )
    log_email: Literal["hashed", "plain", "none"] = Field(
        "hashed", description="How e-mail addresses are written to the log.", examples=["hashed"]
    )
    support_email: Annotated[StrictStr, AfterValidator(check_mailbox)] | None = Field(
        None, description="The IT desk's address, offered on error pages.", examples=["it-desk@acme.example"]
    )
    site_name: Annotated[Text, Field(max_length=60)] | None = Field(
        None, description="The name of this site on the pages, at the top and in the title.", examples=["Acme sign-in"]
    )
    logo_file: Picture | None = Field(
        None,
        description="A small picture at the top of the agents' pages: SVG, PNG, WebP or JPEG.",
        examples=["logo.svg"],
    )
    sites: Annotated[Mapping[Identifier, SiteSettings], *FROZEN] = Field(
        description="The Comm100 sites by id; /login without an id uses the first.",
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
        return is_loopback(urlsplit(self.public_url).hostname or "")


def secret_files(settings: Settings) -> Mapping[str, Callable[[], bool]]:
    """Return, by the path of each secret in a file, a function that tells whether the file is rejected now."""
    secrets: dict[str, Secret[Any] | None] = {"secret_keys": settings.secret_keys}
    secrets["outbound_proxy"] = settings.outbound_proxy
    secrets |= {f"sites.{id_}.shared_secret": site.shared_secret for id_, site in settings.sites.items()}
    for id_, provider in settings.identity_providers.items():
        for key in provider.secret_keys_of_section:
            secrets[f"identity_providers.{id_}.{key}"] = getattr(provider, key)
    return {path: secret.is_rejected for path, secret in secrets.items() if secret is not None and secret.is_in_file}


def insecure_options(settings: Settings) -> tuple[str, ...]:
    """Return the insecure options in use, as `option` or `option:path`, in the order of the settings."""
    return tuple(_insecure_options(settings))


def _insecure_options(settings: Settings) -> Iterator[str]:
    if settings.public_url.startswith("http://"):
        yield "public_url_without_tls"
    if settings.shared_email_domains:
        yield "shared_email_domains"
    if settings.log_email == "plain":
        yield "log_email_plain"
    secrets = [site.shared_secret.reveal() for site in settings.sites.values()]
    for identifier, site in settings.sites.items():
        if secrets.count(site.shared_secret.reveal()) > 1:
            yield f"same_shared_secret_for_several_sites:sites.{identifier}"
    for identifier, provider in settings.identity_providers.items():
        for option in _insecure_options_of(provider):
            yield f"{option}:identity_providers.{identifier}"


def _insecure_options_of(provider: ProviderSettings) -> Iterator[str]:
    if provider.allow_private_network:
        yield "allow_private_network"
    if provider.groups_claim is not None and provider.allowed_groups is None:
        yield "groups_claim_without_allowed_groups"
    if provider.unchecked_acr_values is not None:
        yield "unchecked_acr_values"
    if provider.trust_unverified_email:
        yield "trust_unverified_email"
