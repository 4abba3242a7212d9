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
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import jinja2

from broker.errors import BrokerError
from broker.identity import ClaimRules
from broker.oidc.discovery import Discovery, Send
from broker.oidc.health import ProviderHealth
from broker.oidc.id_token import VerifiedIdToken
from broker.oidc.registration import Registration

APPLICATION_NAME = "Comm100 sign-in"  # of the application that the commands register
TERRAFORM_NOTE = "Then: terraform output -raw client_secret > client-secret. Terraform keeps the secret in its state"

Userinfo = Literal["always", "when_needed", "never"]
Document = Mapping[str, Any]


class IdTokenClaims(Protocol):
    """The claims of an ID token: a VerifiedIdToken at a sign-in, an UnverifiedIdToken in `broker explain`."""

    @property
    def issuer(self) -> str:
        """The issuer of the token (`iss`)."""

    @property
    def subject(self) -> str:
        """The subject of the token (`sub`)."""

    @property
    def claims(self) -> Document:
        """Every claim of the token."""


@dataclass(frozen=True, slots=True)
class UnverifiedIdToken:
    """The unverified claims of an ID token: an admin gives them to `broker explain`."""

    claims: Document = field(repr=False)
    issuer: str = ""
    subject: str = ""


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
        value = self.signed.get(name)
        return value if value is not None or self.userinfo is None else self.userinfo.get(name)


@dataclass(frozen=True, slots=True)
class VerifiedClaims(PersonClaims):
    """The claims about one person, after every check of the protocol."""

    id_token: VerifiedIdToken


@dataclass(frozen=True, slots=True)
class ClaimTrace:
    """One claim that was considered for the e-mail address, and why it was taken or not; never its value."""

    claim: str
    verdict: str


@dataclass(frozen=True, slots=True)
class EmailDecision:
    """Which address was chosen, and why.

    Args:
        email: checked; None if no address may be believed.
        refusal: why there is no address; None: no claim has one.
    """

    email: str | None
    email_from: str
    refusal: BrokerError | None
    considered: tuple[ClaimTrace, ...]


@dataclass(frozen=True, slots=True)
class ConsolePaths:
    """Where an admin finds each value in the provider's console; each text is a place, without a verb.

    Args:
        client_secret: the client secret, or the public half of the broker's key.
        tenant: empty for providers without tenants.
    """

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    sign_out_uri: str
    scopes: str
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """One value to copy into the field `label`, which the menu path `where` leads to."""

    label: str
    value: str
    where: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A text for a program, to paste into a shell or a file; it contains no secret and prints none."""

    title: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToRegister:
    """What a registration needs at every kind of provider.

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
    """One identity provider as the admin configured it."""

    id: str
    label: str
    kind: ProviderKind
    registration: Registration
    rules: ClaimRules
    userinfo: Userinfo
    discovery: Discovery
    send: Send

    @property
    def health(self) -> ProviderHealth:
        """How the calls to this provider end."""
        return self.discovery.health

    @property
    def console_paths(self) -> ConsolePaths:
        """Where an admin finds values in this provider's console."""
        return self.kind.console_paths(self.registration.issuer)

    @property
    def has_client_secret(self) -> bool:
        """Whether the broker proves its identity with a client secret."""
        return self.registration.client_secret is not None

    @property
    def needed_groups_claim(self) -> str:
        """The claim that the provider must send with the groups; empty if groups do not matter."""
        return self.rules.groups_claim or "" if self.rules.allowed_groups else ""


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
    """What the broker knows about one kind of provider; stateless.

    Attributes:
        name: the value of the setting `preset`.
        title: the name in the menu of `broker init`, which accepts `aliases`, too.
        registration_note: further steps of the registration.
        console: where an admin finds values.
        remedies: what to do about a refusal, by words of the provider in lower case; the first match counts.
        needs: settings without a default.
        has_tenants: `tenant` or `tenants` is required, and determines the issuer.
        private_key_algorithm: the signature algorithm for a private key; None: by the type of the key.
        wants_certificate: the file of the private key must contain its certificate.
        any_product: the kind stands for many products, so that `broker init` asks for a short name, and reads from
            the discovery document which client authentication and algorithm the product wants.
        page_is_no_issuer: why an address that `issuer_of_page` knows is not an issuer.
        client_secrets_expire: the provider gives every client secret an end, and announces it nowhere.
        expiry_hint: how `broker init` asks for the end of the client secret; empty if it does not ask.
        prompt_for_another_account: the value of `prompt` that lets a person choose another account.
        end_session_needs_hint: signing out without a hint ends on an error page of the provider.
        name_falls_back_to_username: `preferred_username` may replace a missing name.
        acr_claim: names the authentication contexts: `acr`, a text; or the vendor's claim with a list.
    """

    __slots__ = ()

    name: ClassVar[str]
    title: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    guide: ClassVar[str]
    registration_note: ClassVar[str]
    console: ClassVar[ConsolePaths]
    remedies: ClassVar[Mapping[str, str]] = MappingProxyType({})
    needs: ClassVar[tuple[str, ...]] = ("issuer", "client_id", "email_domains")
    defaults: ClassVar[Mapping[str, object]] = defaults_with()
    has_tenants: ClassVar[bool] = False
    private_key_algorithm: ClassVar[str | None] = None
    wants_certificate: ClassVar[bool] = False
    any_product: ClassVar[bool] = False
    page_is_no_issuer: ClassVar[str] = ""
    client_secrets_expire: ClassVar[bool] = True
    expiry_hint: ClassVar[str] = ""
    prompt_for_another_account: ClassVar[str] = "login"
    end_session_needs_hint: ClassVar[bool] = False
    name_falls_back_to_username: ClassVar[bool] = False
    acr_claim: ClassVar[str] = "acr"

    @abstractmethod
    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Decide which claim is the e-mail address, and whether it may be believed."""

    def console_paths(self, _issuer: str) -> ConsolePaths:
        """Return where an admin finds values in the console of the product that the issuer belongs to."""
        return self.console

    def expected_issuer(
        self,
        registration: Registration,
        _claims: Document,
        _rules: ClaimRules,
        *,
        key_issuer: str | None,  # noqa: ARG002
    ) -> str:
        """Return what `iss` of this ID token must be (OpenID Connect Core, section 3.1.3.7, 2).

        Args:
            key_issuer: the issuer that the signing key is bound to; None if there is none.

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

    def acr_parameters(self, acr: Collection[str]) -> Mapping[str, str]:
        """Return the parameters that request one of these authentication contexts (Core, section 3.1.2.1)."""
        return {"acr_values": " ".join(acr)}

    def remedy(self, said: str) -> str | None:
        """Return what an admin can do about a refusal, by the provider's words.

        Args:
            said: `error` and `error_description`, unverified.
        """
        lowered = said.lower()
        return next((advice for words, advice in self.remedies.items() if words in lowered), None)

    def parse_error_page(self, _text: str) -> str | None:
        """Return the vendor's error code on an authorization page that did not redirect to the broker.

        Args:
            _text: of the page and of its address, unverified.
        """
        return None

    def defaults_for(self, _given: Mapping[str, object]) -> Mapping[str, object]:
        """Return the defaults for the settings given, which are unvalidated."""
        return self.defaults

    def check_email_domain(self, _domain: str) -> str:
        """Return why the provider cannot assert addresses of a domain; empty if it can.

        The text is the rest of a sentence that begins with the name of the setting, as in each `check_` method.
        """
        return ""

    def check_tenant(self, _text: str) -> str:
        """Return why a text is not the id of one tenant; empty if it may be one."""
        return ""

    def check_issuer(self, _issuer: str, *, tenant: str | None) -> str:  # noqa: ARG002
        """Return why an issuer does not fit the tenant; empty if it does.

        Args:
            tenant: the only tenant; None for several tenants.
        """
        return ""

    def check_required_authentication(self, claim: str, names: Collection[str]) -> str:  # noqa: ARG002
        """Return why the provider cannot assert what `require_acr` or `require_amr` names; empty if it can.

        Args:
            claim: `acr` or `amr`.
        """
        return ""

    def issuer_of_page(self, _address: str) -> str:
        """Return the issuer of a page of this vendor, for any configured kind; empty for other addresses."""
        return ""

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


def render_command(template: str, provider: Provider, to_register: ToRegister, **more: object) -> str:
    """Return the text of a command by a template in `commands`, which quotes every value for its program."""
    values = {"application": APPLICATION_NAME, "provider": provider, "to_register": to_register}
    return _COMMANDS.get_template(template).render(values, **more)


def _hcl(value: str | Iterable[str]) -> str:
    """Quote a string, or a list of strings, for Terraform.

    The escapes are those of JSON, and of template sequences
    (https://developer.hashicorp.com/terraform/language/expressions/strings).
    """
    if not isinstance(value, str):
        return f"[{', '.join(map(_hcl, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


_COMMANDS = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("commands")),
    autoescape=False,  # noqa: S701 - no HTML: values go through the filter of their program
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_COMMANDS.filters |= {"shell": shlex.quote, "hcl": _hcl, "json": json.dumps}
