"""The settings of one identity provider, below `identity_providers.ID`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from broker.oidc.client_assertion import AssertionAlgorithm
from broker.oidc.registration import RESERVED_PARAMETERS, SignatureAlgorithm
from broker.providers import KINDS, ProviderKind
from broker.settings.secrets import (
    CREDENTIAL_DETAILS,
    CREDENTIALS,
    ClientPrivateKey,
    ClientSecret,
    FederatedToken,
    OwnProxy,
    SecretInput,
    Section,
    missing_secret,
)
from broker.settings.values import (
    FROZEN,
    Address,
    InvalidValue,
    OwnText,
    Text,
    Texts,
    check_email_domain,
    check_url,
    context,
    each_once,
    is_public_mail,
    own_value,
)

DEFAULT_PRESET = "oidc"

_UNCHECKED = {
    "acr_values": "use require_acr. A routing hint, such as idp:acme, belongs to unchecked_acr_values",
    "amr_values": "use require_amr",
    "claims": "use require_acr or require_amr",
    "wauth": "use require_acr or require_amr",
    "vtr": "use require_acr or require_amr",
}
"""Parameters that demand something of the provider's answer, and the settings whose demand is checked."""

_DISCOVERY = re.compile(r"/\.well-known/(openid-configuration|oauth-authorization-server)/?$")
_WITH_TENANTS = " or ".join(kind.name for kind in KINDS.values() if kind.has_tenants)


def _refuse(problem: str) -> None:
    """Raise what a provider kind says about a setting; an empty text accepts it."""
    if problem:
        raise InvalidValue(problem)


def _kind(info: ValidationInfo) -> ProviderKind | None:
    """Return the kind that `preset` names; None if `preset` was refused."""
    return KINDS.get(info.data.get("preset", ""))


def _preset(text: str) -> str:
    if text not in KINDS:
        raise InvalidValue(f"must be one of: {', '.join(KINDS)}")
    return text


def _tenant(text: str, info: ValidationInfo) -> str:
    kind = _kind(info)
    _refuse(kind.check_tenant(text) if kind else "")
    return text


def _domain(text: str, info: ValidationInfo) -> str:
    check_email_domain(text)
    kind = _kind(info)
    _refuse(kind.check_email_domain(text) if kind else "")
    if is_public_mail(text):
        raise InvalidValue(f"must not name {text}: anyone can get an address there")
    return text


Domain = Annotated[StrictStr, *own_value(), AfterValidator(_domain)]


def _domains(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise InvalidValue("is an empty list: name at least one domain")
    return each_once(values)


def _check_names(values: tuple[str, ...]) -> tuple[str, ...]:
    if any(not re.fullmatch(r"[!-~]+", value) for value in values):  # acr_values are separated by spaces
        raise InvalidValue("must hold names of printable ASCII without spaces")
    return values


def _scope(text: str) -> str:
    if not re.fullmatch(r"[!#-\[\]-~]+", text):  # RFC 6749, section 3.3
        raise InvalidValue("must be a scope: printable ASCII without spaces and quotes")
    return text


def _scopes(values: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in values:
        raise InvalidValue("must contain openid, or the provider sends no ID token")
    return each_once(values)


def _parameters(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    for name, value in values.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", name):
            raise InvalidValue("has a parameter whose name is not letters, digits, _ . : -")
        if name.lower() in RESERVED_PARAMETERS:
            raise InvalidValue(f"must not set {name}: the broker sets this parameter itself")
        if remedy := _UNCHECKED.get(name.lower()):
            raise InvalidValue(f"must not set {name}: the answer would not be checked; {remedy}")
        if name.lower() == "prompt" and isinstance(value, str) and "login" in value.lower().split():
            raise InvalidValue("must not set prompt to login: the answer would not be checked; use max_age")
        if not isinstance(value, str) or not value.isprintable():
            raise InvalidValue("must hold texts only: put numbers, true and false in quotes")
    return values


def _date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise InvalidValue("must be a date: year-month-day")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InvalidValue("must be a date that exists") from None


class ProviderSettings(Section):
    """One identity provider."""

    secret_keys_of_section: ClassVar[tuple[str, ...]] = (
        "client_secret",
        "private_key",
        "federated_token",
        "outbound_proxy",
    )

    preset: Annotated[StrictStr, AfterValidator(_preset)] = Field(
        DEFAULT_PRESET, description="The kind of provider; oidc is any OpenID Connect provider.", examples=["okta"]
    )
    tenant: Annotated[StrictStr, AfterValidator(_tenant)] | None = Field(
        None,
        description="Entra: the id of the tenant whose people sign in.",
        examples=["7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"],
    )
    tenants: Annotated[tuple[Annotated[StrictStr, AfterValidator(_tenant)], ...], AfterValidator(each_once)] | None = (
        Field(
            None,
            validate_default=True,
            description="Entra: the ids of several tenants, instead of tenant; the application must be multi-tenant.",
            examples=[["7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"]],
        )
    )
    issuer: Address = Field(
        description="The provider's issuer, exactly as its discovery document says; entra and google have a default.",
        examples=["https://id.acme.example"],
    )
    metadata_url: StrictStr | None = Field(
        None,
        description="Where the discovery document is, if not below the issuer; its issuer must still equal issuer.",
        examples=["https://idcs-1a2b.identity.oraclecloud.com/.well-known/openid-configuration"],
    )
    client_id: OwnText = Field(description="The client id of the broker at the provider.", examples=["0oa1b2c3"])
    client_authentication: Literal[
        "client_secret_basic", "client_secret_post", "private_key_jwt", "federated_credential", "none"
    ] = Field(description="How the broker authenticates at the token endpoint.", examples=["client_secret_post"])
    client_secret: ClientSecret = Field(
        description="The client secret of the broker at the provider; for client_secret_basic and client_secret_post.",
        examples=["/run/secrets/idp"],
    )
    client_secret_expires: Annotated[date, BeforeValidator(_date)] | None = Field(
        None, description="The day the client secret expires; the broker warns before it.", examples=["2027-03-31"]
    )
    private_key_id: Text | None = Field(
        None, description="The key id (kid) of the broker's public key at the provider.", examples=["broker-2026"]
    )
    private_key_algorithm: AssertionAlgorithm | None = Field(
        None,
        description="The signature algorithm of the private key; default: by the key's type, PS256 for entra.",
        examples=["PS256"],
    )
    client_assertion_audience: Literal["token_endpoint", "issuer"] | None = Field(
        None,
        description="For whom the private key signs: the token endpoint (default), or the issuer.",
        examples=["issuer"],
    )
    private_key: ClientPrivateKey = Field(
        description="The private key (PEM, no passphrase) for private_key_jwt; entra also needs its certificate.",
        examples=["/run/secrets/idp.pem"],
    )
    federated_token: FederatedToken = Field(
        description="A token from the platform, for federated_credential; read again after each renewal.",
        examples=["/var/run/secrets/azure/tokens/azure-identity-token"],
    )
    email_domains: Annotated[tuple[Domain, ...], AfterValidator(_domains)] = Field(
        description="The domains whose addresses this provider may assert; subdomains are not implied.",
        examples=[["acme.example"]],
        json_schema_extra={"minItems": 1},  # min_length would also count the domains that are refused
    )
    label: Annotated[Text, Field(max_length=60)] = Field(
        description="Text on the chooser's button; default: made from the id.", examples=["Acme"]
    )
    enabled: StrictBool = Field(
        True, description="false: the provider is not offered, and agents cannot sign in with it.", examples=[True]
    )
    scopes: Annotated[tuple[Annotated[StrictStr, AfterValidator(_scope)], ...], AfterValidator(_scopes)] = Field(
        description="Scopes to request; openid is required.", examples=[["openid", "email", "profile"]]
    )
    signing_algorithms: Annotated[tuple[SignatureAlgorithm, ...], AfterValidator(each_once)] = Field(
        description="Algorithms accepted for ID tokens.", examples=[["RS256"]]
    )
    trusted_audiences: Texts | None = Field(
        None,
        description="Further audiences that an ID token may name besides client_id; azp must then be client_id.",
        examples=[["my-project-id"]],
    )
    userinfo: Literal["always", "when_needed", "never"] = Field(
        description="When the broker requests userinfo: always, only if the ID token lacks e-mail or name, or never.",
        examples=["when_needed"],
    )
    email_claim: Text | None = Field(
        None, description="The claim that holds the e-mail address; default: email.", examples=["email"]
    )
    name_claim: Text | None = Field(
        None, description="The claim that holds the display name; default: name.", examples=["name"]
    )
    groups_claim: Text | None = Field(
        None, description="The claim that lists the person's groups.", examples=["groups"]
    )
    allowed_groups: Texts | None = Field(
        None,
        description="Only people in one of these groups may sign in; needs groups_claim.",
        examples=[["agents"]],
    )
    authorization_parameters: Annotated[Mapping[str, str], BeforeValidator(_parameters), *FROZEN] = Field(
        {},
        validate_default=True,
        description="Further parameters of the authorization request.",
        examples=[{"prompt": "select_account"}],
    )
    max_age: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=31_536_000,
        description="Seconds since the person signed in at the provider, at most.",
        examples=[28800],
    )
    require_acr: Annotated[Texts, AfterValidator(_check_names)] | None = Field(
        None,
        description="Authentication contexts (acr; Entra: acrs), one of which the ID token must name.",
        examples=[["urn:okta:loa:2fa:any"]],
    )
    require_amr: Annotated[Texts, AfterValidator(_check_names)] | None = Field(
        None, description="Authentication methods (amr), one of which the ID token must list.", examples=[["mfa"]]
    )
    unchecked_acr_values: OwnText | None = Field(
        None,
        description="Additional acr_values that only route people to a sign-in page; the answer is not checked.",
        examples=["idp:acme"],
    )
    outbound_proxy: OwnProxy = Field(
        description="The proxy for calls to this provider; none: no proxy.",
        examples=["http://proxy.acme.example:3128"],
    )
    allow_private_network: StrictBool = Field(
        False, description="true: the provider may have a private address.", examples=[False]
    )
    trust_unverified_email: StrictBool = Field(
        False, description="true: accept addresses that the provider does not confirm as verified.", examples=[False]
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        kind = KINDS.get(str(given.get("preset") or DEFAULT_PRESET), KINDS[DEFAULT_PRESET])
        return {**kind.defaults_for(given), **given}

    @field_validator("tenant", "tenants")
    @classmethod
    def _check_tenants(cls, given: Any, info: ValidationInfo) -> Any:
        kind = _kind(info)
        if kind is not None and given and not kind.has_tenants:
            raise InvalidValue(f"must not be given: it belongs to the preset {_WITH_TENANTS}")
        if kind is None or info.field_name == "tenant" or "tenant" not in info.data:
            return given  # preset or tenant is refused already
        if given and info.data["tenant"] is not None:
            raise InvalidValue("is given beside tenant: keep one of the two")
        if kind.has_tenants and not given and info.data["tenant"] is None:
            raise InvalidValue("is required, or tenants: Entra > Overview > Tenant ID", key="tenant")
        return given

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, text: str, info: ValidationInfo) -> str:
        check_url(text, loopback=context(info).on_loopback)
        if (before := _DISCOVERY.sub("", text)) != text:
            raise InvalidValue(
                "is the address of the discovery document: the issuer is the part before /.well-known, with a slash at "
                "its end only if the issuer in the document has a slash",
                example=f"issuer: {before}",
            )
        for kind in KINDS.values():
            if issuer := kind.issuer_of_page(text):
                raise InvalidValue(kind.page_is_no_issuer, example=f"issuer: {issuer}")
        if (own := _kind(info)) and "tenant" in info.data and "tenants" in info.data:
            _refuse(own.check_issuer(text, tenant=info.data["tenant"]))
        return text

    @field_validator("metadata_url")
    @classmethod
    def _check_metadata_url(cls, text: str, info: ValidationInfo) -> str:
        check_url(text, query=True, loopback=context(info).on_loopback)
        if "#" in text:
            raise InvalidValue("must have no fragment")
        if info.data.get("tenants"):
            raise InvalidValue("must not be given beside tenants: the provider has one document for all of them")
        return text

    @field_validator("client_assertion_audience")
    @classmethod
    def _check_assertion_audience(cls, audience: str | None, info: ValidationInfo) -> str | None:
        if audience == "issuer" and info.data.get("tenants"):
            raise InvalidValue("must not be issuer beside tenants: their common document has no issuer of its own")
        return audience

    @field_validator("trusted_audiences")
    @classmethod
    def _check_audiences(cls, audiences: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("client_id") in audiences:
            raise InvalidValue("names client_id, which is always accepted: name further audiences only")
        return audiences

    @field_validator("client_secret", "private_key", "federated_token", *CREDENTIAL_DETAILS, mode="before")
    @classmethod
    def _check_belongs(cls, given: Any, info: ValidationInfo) -> Any:
        """Check that the credential of `client_authentication` is given, and no other credential or detail."""
        field, method = str(info.field_name), info.data.get("client_authentication")
        if method is None:
            return given  # refused already
        credential = CREDENTIAL_DETAILS.get(field, field)
        key = given.given_as if isinstance(given, SecretInput) else field
        if key and credential != CREDENTIALS[method]:
            others = " or ".join(other for other, needed in CREDENTIALS.items() if needed == credential)
            problem = f"must not be given while client_authentication is {method}: it belongs to {others}"
            raise InvalidValue(problem, key=key)
        if not key and credential == CREDENTIALS[method]:
            raise missing_secret(credential, f", while client_authentication is {method}")
        return given

    @field_validator("allowed_groups")
    @classmethod
    def _check_groups(cls, groups: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if groups is not None and info.data.get("groups_claim", "") is None:
            raise InvalidValue("needs groups_claim: the name of the claim that lists the groups")
        return groups

    @field_validator("require_acr", "require_amr")
    @classmethod
    def _check_required(cls, names: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        host, own = urlsplit(info.data.get("issuer", "")).hostname, _kind(info)
        for kind in KINDS.values():
            is_issuer_of_kind = host is not None and urlsplit(str(kind.defaults.get("issuer", ""))).hostname == host
            if names is not None and (kind is own or is_issuer_of_kind):
                _refuse(kind.check_required_authentication(str(info.field_name).removeprefix("require_"), names))
        return names

    @field_validator("trust_unverified_email")
    @classmethod
    def _check_trust(cls, trusts: bool, info: ValidationInfo) -> bool:
        if trusts and info.data.get("tenants"):
            raise InvalidValue(
                "must not be true beside tenants: each tenant's admin could sign in as the others' people"
            )
        return trusts

    @property
    def metadata_issuer(self) -> str:
        """The `issuer` that the metadata must contain."""
        return KINDS[self.preset].metadata_issuer(self.issuer, several_tenants=bool(self.tenants))
