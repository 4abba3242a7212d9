"""The base class of a kind of identity provider, and the records that its methods take and return.

Each vendor has one file with one subclass of `ProviderKind`; `broker.providers.KINDS` lists them.
"""

from __future__ import annotations

import json
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

from broker.errors import BrokerError
from broker.identity import ClaimRules
from broker.oidc.discovery import Discovery, Send
from broker.oidc.id_token import VerifiedIdToken
from broker.oidc.registration import Registration

APPLICATION_NAME = "Comm100 sign-in"  # of the application that the commands register

Userinfo = Literal["always", "when_needed", "never"]
Document = Mapping[str, Any]


class IdTokenClaims(Protocol):
    """The claims of an ID token: a VerifiedIdToken at a sign-in, an UnverifiedIdToken in `broker explain`."""

    @property
    def issuer(self) -> str:
        """Who made the claims."""

    @property
    def subject(self) -> str:
        """Whom the claims are about."""

    @property
    def claims(self) -> Document:
        """All claims."""


class ClaimsOfKey(Protocol):
    """Claims and the key they are signed with: SignedClaims at a sign-in, an UnverifiedIdToken in `broker explain`."""

    @property
    def key_issuer(self) -> str | None:
        """The issuer that the key is bound to; None if the key is not bound."""

    @property
    def claims(self) -> Document:
        """All claims."""


@dataclass(frozen=True, slots=True)
class UnverifiedIdToken:
    """The claims of an ID token that nobody verified: an admin gives them to `broker explain`."""

    claims: Document = field(repr=False)
    issuer: str = ""
    subject: str = ""
    key_issuer: str | None = None


@dataclass(frozen=True, slots=True)
class PersonClaims:
    """The claims about one person, verified or not: the rules about a person are the same for both.

    Args:
        userinfo: claims about the same subject; None if userinfo was not requested.
    """

    id_token: IdTokenClaims
    userinfo: Document | None

    @property
    def signed(self) -> Document:
        """The claims of the ID token."""
        return self.id_token.claims

    def documents(self) -> tuple[tuple[str, Document], ...]:
        """Return the documents that hold claims, by name; the signed document comes first."""
        signed = ("ID token", self.signed)
        return (signed,) if self.userinfo is None else (signed, ("userinfo", self.userinfo))

    def claim(self, name: str) -> object:
        """Return a claim from the first document that has it; None if no document does."""
        return next((claims[name] for _, claims in self.documents() if claims.get(name) is not None), None)


@dataclass(frozen=True, slots=True)
class VerifiedClaims(PersonClaims):
    """The claims about one person, after every check of the protocol."""

    id_token: VerifiedIdToken


@dataclass(frozen=True, slots=True)
class ClaimTrace:
    """One claim that was considered for the e-mail address.

    Args:
        claim: its name and its document.
        verdict: why the claim was taken or not; never the value.
    """

    claim: str
    verdict: str


@dataclass(frozen=True, slots=True)
class EmailDecision:
    """Which address was chosen, and why.

    Args:
        email: checked; None if no address may be believed.
        email_from: the claim and its document.
        refusal: why there is no address.
        considered: every claim that was considered, in order.
    """

    email: str | None
    email_from: str
    refusal: BrokerError | None
    considered: tuple[ClaimTrace, ...]


@dataclass(frozen=True, slots=True)
class ConsolePaths:
    """Where an admin finds each value in the provider's console; each text is a place, without a verb.

    Args:
        issuer: the issuer, or the value it is made of.
        client_secret: the client secret, or the public half of the broker's key.
        scopes: the scopes that the client may request.
        tenant: empty for providers without tenants.
        client_secret_expires: empty if the console shows no end; then `broker init` does not ask for it.
    """

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    sign_out_uri: str
    scopes: str
    tenant: str = ""
    client_secret_expires: str = ""


@dataclass(frozen=True, slots=True)
class InvalidSetting:
    """Why a vendor's setting cannot be used.

    Args:
        problem: the rest of a sentence that begins with the name of the setting.
        meant: the value that was probably meant; empty if unknown.
    """

    problem: str
    meant: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """One value to copy.

    Args:
        label: the name of the field that takes the value, in the other side's words.
        where: the menu path to the field.
    """

    label: str
    value: str
    where: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One text to paste into a shell or a file.

    Args:
        title: the program.
        text: contains no secret and prints none.
    """

    title: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToRegister:
    """What every registration of the broker needs, whatever the kind of provider.

    Args:
        start_uri: the login initiation address for portals that add `iss`.
        home_page: the login initiation address for portals that add nothing.
        client_secret_end: the last day of a client secret created now, as YYYY-MM-DD.
    """

    redirect_uri: str
    post_logout_uri: str
    start_uri: str
    home_page: str
    client_secret_end: str


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider as the admin configured it.

    Args:
        id: its name in settings, addresses and logs.
        label: the text on the chooser's button.
    """

    id: str
    label: str
    preset: ProviderKind
    registration: Registration
    rules: ClaimRules
    userinfo: Userinfo
    discovery: Discovery
    send: Send

    @property
    def console_paths(self) -> ConsolePaths:
        """Where an admin finds values in this provider's console."""
        return self.preset.console_paths(self.registration.issuer)

    @property
    def has_client_secret(self) -> bool:
        """Whether the broker proves its identity with a client secret."""
        return self.registration.client_secret is not None


def defaults_with(**own: str) -> Mapping[str, object]:
    """Return the defaults of most kinds, with a kind's own."""
    return MappingProxyType(
        {
            "client_authentication": "client_secret_basic",
            "scopes": ["openid", "email", "profile"],
            "signing_algorithms": ["RS256"],
            "userinfo": "always",
            **own,
        }
    )


class ProviderKind(ABC):
    """What the broker knows about one kind of provider. A kind is stateless; `KINDS` has one instance of each.

    Attributes:
        name: the value of the setting `preset`.
        title: the name in the menu of `broker init`.
        aliases: further names that `broker init` accepts.
        guide: the document with the steps of the registration.
        registration_note: what to do beside copying the values.
        needs: settings without a default.
        defaults: settings with a default.
        has_tenants: `tenant` or `tenants` is required, and the issuer is made of it.
        private_key_algorithm: the signature algorithm for a private key; None: by the type of the key.
        wants_certificate: the file of the private key must contain its certificate.
        any_product: the kind stands for many products, so that `broker init` asks for a short name, and reads from
            the discovery document which client authentication and algorithm the product wants.
        client_secrets_expire: the provider gives every client secret an end, and announces it nowhere.
        prompt_for_another_account: the value of `prompt` that lets a person choose another account.
        end_session_needs_hint: signing out without a hint ends on an error page of the provider.
        name_falls_back_to_username: `preferred_username` may replace a missing name.
    """

    __slots__ = ()

    name: ClassVar[str]
    title: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    guide: ClassVar[str]
    registration_note: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("issuer", "client_id", "email_domains")
    defaults: ClassVar[Mapping[str, object]] = defaults_with()
    has_tenants: ClassVar[bool] = False
    private_key_algorithm: ClassVar[str | None] = None
    wants_certificate: ClassVar[bool] = False
    any_product: ClassVar[bool] = False
    client_secrets_expire: ClassVar[bool] = True
    prompt_for_another_account: ClassVar[str] = "login"
    end_session_needs_hint: ClassVar[bool] = False
    name_falls_back_to_username: ClassVar[bool] = False

    @abstractmethod
    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Decide which claim is the e-mail address, and whether it may be believed."""

    @abstractmethod
    def console_paths(self, issuer: str) -> ConsolePaths:
        """Return where an admin finds values in the console of the product that the issuer belongs to."""

    def expected_issuer(self, registration: Registration, _signed: ClaimsOfKey, _rules: ClaimRules) -> str:
        """Return what `iss` of this ID token must be (OpenID Connect Core, section 3.1.3.7, 2).

        Raises:
            BrokerError: no issuer is acceptable for this token.
        """
        return registration.issuer

    def callback_issuers(self, registration: Registration, _rules: ClaimRules) -> Mapping[str, str]:
        """Return what `iss` at the callback may be (RFC 9207), with the issuer that each value stands for."""
        return {registration.metadata_issuer: registration.metadata_issuer}

    def portal_issuers(self, registration: Registration) -> Collection[str]:
        """Return what `iss` may be where a portal starts a sign-in."""
        return {registration.issuer, registration.metadata_issuer}

    def parameters(self, _email_domains: frozenset[str]) -> Mapping[str, str]:
        """Return the vendor's own parameters of the authorization request."""
        return {}

    def remedy(self, _said: str) -> str | None:
        """Return what an admin can do about a refusal.

        Args:
            _said: `error` and `error_description`, unverified.
        """
        return None

    def parse_error_page(self, _text: str) -> str | None:
        """Return the vendor's error code on an authorization page that did not redirect to the broker.

        Args:
            _text: of the page and of its address, unverified.
        """
        return None

    def defaults_for(self, _given: Mapping[str, object]) -> Mapping[str, object]:
        """Return the defaults beside the settings given, unvalidated."""
        return self.defaults

    def check_email_domain(self, _domain: str) -> InvalidSetting | None:
        """Return why the provider cannot assert addresses of a domain."""
        return None

    def check_tenant(self, _text: str) -> InvalidSetting | None:
        """Return why a text is not the id of one tenant."""
        return None

    def check_issuer(self, _issuer: str, *, tenant: str | None) -> InvalidSetting | None:  # noqa: ARG002
        """Return why an issuer does not fit the tenant.

        Args:
            tenant: the only tenant; None for several tenants.
        """
        return None

    def mistaken_issuer(self, _address: str) -> InvalidSetting | None:
        """Return why an address, whatever the configured kind, is one of this vendor's pages and not an issuer."""
        return None

    def metadata_issuer(self, issuer: str, *, several_tenants: bool) -> str:  # noqa: ARG002
        """Return the `issuer` that the metadata must contain."""
        return issuer

    @property
    def located_by(self) -> str:
        """The setting that says where the provider is; empty if its address is known."""
        if self.has_tenants:
            return "tenant"
        return "issuer" if "issuer" in self.needs else ""

    def suggest_issuer(self, address: str) -> str:
        """Return the issuer that a pasted address probably means."""
        return re.sub(r"/\.well-known/.*", "", address)

    def tenant_in(self, _text: str) -> str:
        """Return the only tenant id in a pasted text; empty if there is none."""
        return ""

    def issuer_by_domain(self, _domain: str) -> str:
        """Return the issuer whose metadata names the tenant of a domain; empty if the vendor has none."""
        return ""

    def doubt_client_id(self, _client_id: str, *, tenant: str) -> str:  # noqa: ARG002
        """Return why a text is probably not a client ID; empty if it may be one."""
        return ""

    def doubt_client_secret(self, _secret: str) -> str:
        """Return why a text is probably not a client secret; empty if it may be one."""
        return ""

    def further_values(self, _provider: Provider, _to_register: ToRegister) -> tuple[Value, ...]:
        """Return the values to copy between the redirect URI and the scopes."""
        return ()

    def claim_values(self, provider: Provider) -> tuple[Value, ...]:  # noqa: ARG002
        """Return what to configure so that the provider sends the claims that the broker needs."""
        return ()

    def commands(self, _provider: Provider, _to_register: ToRegister) -> tuple[Command, ...]:
        """Return the commands that do the registration."""
        return ()


def shell(value: str) -> str:
    """Quote one word for a POSIX shell."""
    return shlex.quote(value)


def hcl(value: str) -> str:
    """Quote a string for Terraform.

    The escapes are those of JSON, and of template sequences
    (https://developer.hashicorp.com/terraform/language/expressions/strings).
    """
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def hcl_list(values: Iterable[str]) -> str:
    """Quote a list of strings for Terraform."""
    return f"[{', '.join(map(hcl, values))}]"
