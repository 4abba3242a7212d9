"""Microsoft Entra ID: the Mail attribute is not proof, so the address is chosen in a fixed order.

- `email` is mutable and unverified unless `xms_edov` says so; believing it lets the admin of one tenant take over
  people of others (nOAuth): https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization
- Optional claims: https://learn.microsoft.com/en-us/entra/identity-platform/optional-claims-reference
- The ID token's claims: https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
- The issuer of a multi-tenant application, and the keys' own issuer:
  https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer
- Authentication contexts, and the claims request for them:
  https://learn.microsoft.com/en-us/entra/identity-platform/developer-guide-conditional-access-authentication-context
- Discovery by tenant or domain: https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc
- Refusals: https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
- Registration: https://learn.microsoft.com/en-us/cli/azure/ad/app and
  https://registry.terraform.io/providers/hashicorp/azuread/latest/docs/resources/application
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from broker.errors import (
    BrokerError,
    EmailMalformed,
    EmailMissing,
    EmailUnverified,
    GuestNotAllowed,
    IdTokenIssuer,
    TenantNotAllowed,
)
from broker.identity import ClaimRules, check_email
from broker.oidc.messages import short_text
from broker.oidc.registration import Registration
from broker.providers.kind import (
    TERRAFORM_NOTE,
    ClaimTrace,
    Command,
    ConsolePaths,
    Document,
    EmailDecision,
    PersonClaims,
    Provider,
    ProviderKind,
    ToRegister,
    Value,
    defaults_with,
    render_command,
)
from broker.providers.oidc import email_candidates, taken
from broker.text import GUID

PERSONAL_ACCOUNTS_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"

_TENANT_TEMPLATE = "{tenantid}"
_AUTHORITY = "https://login.microsoftonline.com"
_SEVERAL = "/organizations/"
_GUID = re.compile(GUID)
_CONTEXT = re.compile(r"c[1-9]\d?")
_AADSTS = re.compile(r"AADSTS(\d{4,7})")
_OPTIONAL_CLAIMS = ("email", "xms_edov", "verified_primary_email")

_APPLICATION = "App registrations > the application"
_CERTIFICATES = f"{_APPLICATION} > Certificates & secrets"
_REDIRECT_URIS = f"{_APPLICATION} > Authentication, platform Web"
_PERMISSIONS = "In Entra: Enterprise applications > the application > Permissions"
_TENANT_ID = "Entra > Overview > Tenant ID"
_CONSOLE_PATHS = ConsolePaths(
    issuer="Entra: Overview > Tenant ID, entered as tenant; leave issuer out",
    client_id=f"Entra: {_APPLICATION} > Overview > Application (client) ID",
    client_secret=f"Entra: {_CERTIFICATES} > Client secrets, column Value",
    redirect_uri=f"Entra: {_REDIRECT_URIS}",
    sign_out_uri=f"Entra: {_REDIRECT_URIS}",
    scopes=f"Entra: {_APPLICATION} > API permissions",
    tenant="Entra: Overview > Tenant ID. A domain of the tenant, such as acme.example, works as well",
)
_OTHER_TENANT = "The account is of another tenant. Invite it as a guest, or add its tenant to tenants."
_NO_ADDRESS = (
    f"In Entra: {_APPLICATION} > Token configuration: add the optional claims email and xms_edov to the ID token. With "
    "one tenant, a member's user principal name in email_domains will do."
)
_REMEDIES = {
    "50105": "In Entra: Enterprise applications > the application > Users and groups: assign the person or a group.",
    "65001": f"{_PERMISSIONS}: grant admin consent.",
    "65004": f"The person declined consent. {_PERMISSIONS}: grant admin consent for everybody.",
    "90094": f"{_PERMISSIONS}: an administrator has to grant consent.",
    "50020": _OTHER_TENANT,
    "90072": _OTHER_TENANT,
    "700016": "The tenant has no application with this client_id: compare both ids on the application's Overview.",
    "90002": "Entra knows no such tenant: compare it with Overview > Tenant ID; a national cloud has another issuer.",
    "900971": f"No redirect URI is registered. In Entra: {_REDIRECT_URIS}: add it.",
    "700027": f"Entra refuses the signature of the broker's key. In Entra: {_CERTIFICATES}: upload its certificate.",
    "50194": "The application is single-tenant: set tenant, or change Supported account types.",
    "50011": f"In Entra: {_REDIRECT_URIS}: add the broker's redirect URI.",
    "7000215": f"The client secret is wrong. In Entra: {_CERTIFICATES}: copy the Value, not the Secret ID.",
    "7000222": f"The client secret expired. In Entra: {_CERTIFICATES}: create one and put it into the secret file.",
    "501481": "The PKCE verifier does not match: two sign-ins were mixed up, or a proxy altered the request.",
    "700005": "The code is of another tenant: compare tenant with the tenant that the person signed in to.",
    "54005": "The code was used twice: a reload, or a scanner that opens links.",
    "70008": "The code expired: the redirect from Entra to the broker took too long.",
}


class Entra(ProviderKind):
    """Microsoft Entra ID, with an application for one tenant or for several."""

    __slots__ = ()

    name = "entra"
    title = "Microsoft Entra ID"
    aliases = ("microsoft", "azure")
    guide = "docs/admin/guides/entra.md"
    console = _CONSOLE_PATHS
    registration_note = (
        "Create the application under App registrations > New registration, with a redirect URI of the platform Web. "
        "Restrict who may sign in: Enterprise applications > the application > Properties > Assignment required."
    )
    needs = ("client_id", "email_domains")
    defaults = defaults_with(client_authentication="client_secret_post", userinfo="when_needed")
    has_tenants = True
    # https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials
    private_key_algorithm = "PS256"
    wants_certificate = True
    expiry_hint = (
        "The date in the column Expires, as year-month-day. `broker check` warns before this date. Leave empty if you "
        "do not know it."
    )
    prompt_for_another_account = "select_account"
    name_falls_back_to_username = True
    acr_claim = "acrs"

    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Choose the address in a fixed order.

        1. `email`, if `xms_edov` says that this tenant owns the domain, or if the admin set `trust_unverified_email`;
        2. the `verified_primary_email` that is in `email_domains`;
        3. the user principal name of a member, in `email_domains`, of a single-tenant application.
        """
        considered: tuple[ClaimTrace, ...] = ()
        for decide in (_by_email, _by_verified_primary_email, _by_user_principal_name):
            decision = decide(claims, rules)
            considered += decision.considered
            if decision.email is not None or decision.refusal is not None:
                return replace(decision, considered=considered)
        return EmailDecision(None, "", _refuse(claims, rules), considered)

    def expected_issuer(
        self, registration: Registration, claims: Document, rules: ClaimRules, *, key_issuer: str | None
    ) -> str:
        """Return the configured issuer, or the template filled with an admitted tenant.

        Raises:
            TenantNotAllowed: the token is of another tenant, or of a personal account.
            IdTokenIssuer: the token names no tenant, or its key belongs to another issuer.
        """
        tenant = claims.get("tid")
        issuer = registration.metadata_issuer
        if _TENANT_TEMPLATE in issuer:
            if not isinstance(tenant, str) or not _GUID.fullmatch(tenant):
                raise IdTokenIssuer(expected="tid: a tenant id", got=f"tid: {short_text(tenant)}")
            if tenant not in rules.tenants or tenant == PERSONAL_ACCOUNTS_TENANT:
                raise TenantNotAllowed(expected=sorted(rules.tenants), got=tenant)
            issuer = issuer.replace(_TENANT_TEMPLATE, tenant)
        if key_issuer is not None and key_issuer.replace(_TENANT_TEMPLATE, str(tenant)) != issuer:
            raise IdTokenIssuer(expected=f"a key of {issuer}", got=f"a key of {key_issuer}")
        return issuer

    def callback_issuers(self, registration: Registration, rules: ClaimRules) -> Mapping[str, str]:
        """Return the configured issuer, or the issuer of each admitted tenant."""
        template = registration.metadata_issuer
        if _TENANT_TEMPLATE not in template:
            return {template: template}
        admitted = rules.tenants - {PERSONAL_ACCOUNTS_TENANT}
        return {issuer: issuer for issuer in (template.replace(_TENANT_TEMPLATE, tenant) for tenant in admitted)}

    def remedy(self, said: str) -> str | None:
        """Return what to do about an AADSTS code; the text around the code is ignored."""
        code = _AADSTS.search(said)
        return _REMEDIES.get(code[1]) if code else None

    def parse_error_page(self, text: str) -> str | None:
        """Return the AADSTS code on an error page."""
        code = _AADSTS.search(text)
        return code[0] if code else None

    def defaults_for(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Return the defaults, with the issuer of the tenant; anything but a tenant id stands for several tenants."""
        tenant = given.get("tenant")
        one = isinstance(tenant, str) and _GUID.fullmatch(tenant)
        return {**self.defaults, "issuer": f"{_AUTHORITY}/{tenant}/v2.0" if one else f"{_AUTHORITY}{_SEVERAL}v2.0"}

    def check_tenant(self, text: str) -> str:
        """Accept only a GUID in lower case, as tokens spell it."""
        where = f"a tenant id is found in {_TENANT_ID}"
        if text.lower() in {"common", "organizations"}:
            return f"must name one organisation, not all: enter its tenant id, or several in tenants; {where}"
        if text.lower() in {"consumers", PERSONAL_ACCOUNTS_TENANT}:
            return (
                "must not name personal Microsoft accounts, which anyone can make: name your organisation's tenant; "
                f"{where}"
            )
        if _GUID.fullmatch(text):
            return ""
        if _GUID.fullmatch(text.lower()):
            return "must be in lower case, as tokens spell it"
        if "." in text:
            return f"must be the tenant's id, not its domain name, which can change; {where}"
        return f"must be the tenant's id, of the form in the example; {where}"

    def check_issuer(self, issuer: str, *, tenant: str | None) -> str:
        """Refuse the issuer of another tenant, or one that does not fit several tenants.

        The admin gives an issuer for a national cloud or for a test.
        """
        several = _SEVERAL in issuer
        if tenant is None:
            return "" if several else f"must contain {_SEVERAL} while tenants is given, or be left out"
        named = _GUID.findall(issuer.lower())
        if several or (named and tenant not in named):
            return "belongs to another tenant: leave it out, unless your tenant is in a national cloud"
        return ""

    def metadata_issuer(self, issuer: str, *, several_tenants: bool) -> str:
        """Return the issuer; for several tenants the template, to be filled with the tenant of a token."""
        return issuer.replace(_SEVERAL, f"/{_TENANT_TEMPLATE}/") if several_tenants else issuer

    def tenant_in(self, text: str) -> str:
        """Return the only GUID in a text."""
        found = set(_GUID.findall(text.lower()))
        return found.pop() if len(found) == 1 else ""

    def issuer_by_domain(self, domain: str) -> str:
        """Return the address whose metadata names the tenant of a domain."""
        return f"{_AUTHORITY}/{domain}/v2.0"

    def acr_parameters(self, acr: Collection[str]) -> Mapping[str, str]:
        """Return the claims request for authentication contexts, which Conditional Access policies are bound to."""
        essential: dict[str, object] = {"essential": True}
        essential |= {"value": next(iter(acr))} if len(acr) == 1 else {"values": list(acr)}
        return {"claims": json.dumps({"id_token": {"acrs": essential}}, separators=(",", ":"))}

    def check_required_authentication(self, claim: str, names: Collection[str]) -> str:
        """Refuse what is no authentication context."""
        if claim == "acr" and not all(_CONTEXT.fullmatch(name) for name in names):
            return "must name authentication contexts of Entra, c1 to c99: Conditional Access > Authentication contexts"
        return ""

    def doubt_client_id(self, client_id: str, *, tenant: str) -> str:
        """Doubt the tenant ID, and an id that is no GUID."""
        if client_id == tenant:
            return "This is the tenant ID, not the Application (client) ID."
        if not _GUID.fullmatch(client_id.lower()):
            return "A client ID of Entra looks like 1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9."
        return ""

    def doubt_client_secret(self, secret: str) -> str:
        """Doubt the Secret ID, which is a GUID."""
        if not _GUID.fullmatch(secret.lower()):
            return ""
        return (
            "This looks like the Secret ID. Copy the secret from the column Value. Entra shows it only right after it "
            "was created."
        )

    def further_values(self, _provider: Provider, to_register: ToRegister) -> tuple[Value, ...]:
        """Return the sign-out address and the address for a tile."""
        return (
            Value(
                "Redirect URI for signing out",
                to_register.post_logout_uri,
                _CONSOLE_PATHS.sign_out_uri,
                "A second redirect URI. Not the Front-channel logout URL.",
            ),
            Value(
                "Home page URL",
                to_register.home_page,
                f"Entra: {_APPLICATION} > Branding & properties > Home page URL",
                "For a tile in My Apps.",
            ),
        )

    def claim_values(self, provider: Provider) -> tuple[Value, ...]:
        """Return the optional claims that verify an address, and the groups claim if the policy needs groups."""
        token_configuration = f"Entra: {_APPLICATION} > Token configuration"
        values = [
            Value(
                "Optional claims of the ID token",
                " ".join(_OPTIONAL_CLAIMS),
                f"{token_configuration} > Add optional claim > ID",
                "xms_edov is not in that list: add it under Manifest, in optionalClaims > idToken, beside email.",
            )
        ]
        if name := provider.needed_groups_claim:
            where = f"{token_configuration} > Add groups claim"
            note = "Groups assigned to the application, as Group ID."
            values.append(Value("Groups claim", name, where, note))
        return tuple(values)

    def commands(self, provider: Provider, to_register: ToRegister) -> tuple[Command, ...]:
        """Return the registration for the Azure CLI and for Terraform."""
        values = {
            "tenant": _tenant(provider),
            "audience": "AzureADMultipleOrgs" if provider.rules.tenants else "AzureADMyOrg",
            "optional_claims": {"idToken": [{"name": name} for name in _OPTIONAL_CLAIMS]},
        }
        cli = render_command("entra.sh.j2", provider, to_register, **values)
        terraform = render_command("entra.tf.j2", provider, to_register, **values)
        if not provider.has_client_secret:
            note = "Then add the certificate or the federated credential under Certificates & secrets."
            return (Command("Azure CLI", cli, note), Command("Terraform", terraform, note))
        expires = f"In broker.yaml: client_secret_expires: {to_register.client_secret_end}"
        return (
            Command(
                "Azure CLI",
                cli,
                "For a Unix shell, such as Azure Cloud Shell. It prints the client ID, and writes the secret into the "
                f"file client-secret. {expires}",
            ),
            Command("Terraform", terraform, f"{TERRAFORM_NOTE}. {expires}"),
        )


def _by_email(claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
    candidates, considered = email_candidates(claims, rules.email_claim)
    if isinstance(candidates, BrokerError):
        # An unverified address would not count, so a fault in it must not hide the claims that may count.
        verified = any(says_domain_owner_verified(document) for _, document in claims.documents())
        refuses = (verified or rules.trust_unverified_email) and not isinstance(candidates, EmailMissing)
        return EmailDecision(None, "", candidates if refuses else None, considered)
    candidate = candidates[0]
    if rules.trust_unverified_email:
        return taken(candidate, considered, "taken: trust_unverified_email is on")
    if rules.email_claim == "email" and says_domain_owner_verified(candidate.document):
        return taken(candidate, considered, "taken: xms_edov is true")
    verdict = "not taken: xms_edov is not true, so the address is not verified"
    return EmailDecision(None, "", None, (*considered, ClaimTrace(candidate.source, verdict)))


def _by_verified_primary_email(claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
    source = "verified_primary_email (ID token)"
    value = claims.signed.get("verified_primary_email")
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    email = next(filter(None, (_address_in_domains(address, rules) for address in listed)), None)
    if email is not None:
        return EmailDecision(email, source, None, (ClaimTrace(source, "taken"),))
    verdict = "not taken: no address in email_domains" if listed else "absent"
    return EmailDecision(None, "", None, (ClaimTrace(source, verdict),))


def _by_user_principal_name(claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
    considered: tuple[ClaimTrace, ...] = ()
    for name in ("preferred_username", "upn"):
        source = f"{name} (ID token)"
        if claims.signed.get(name) in (None, ""):
            verdict = "absent"
        elif rules.tenants:
            verdict = "not taken: with several tenants only verified addresses count"
        elif is_guest(claims.signed):
            verdict = "not taken: the account is a guest"
        elif (email := _address_in_domains(claims.signed[name], rules)) is None:
            verdict = "not taken: no e-mail address in email_domains"
        else:
            trace = ClaimTrace(source, "taken: the user principal name of a member")
            return EmailDecision(email, source, None, (*considered, trace))
        considered += (ClaimTrace(source, verdict),)
    return EmailDecision(None, "", None, considered)


def _refuse(claims: PersonClaims, rules: ClaimRules) -> BrokerError:
    if is_guest(claims.signed):
        return GuestNotAllowed(expected="a member of the tenant, or a verified address", got="a guest")
    candidates, _ = email_candidates(claims, rules.email_claim)
    if not isinstance(candidates, BrokerError):
        # The general remedy names email_verified, which Entra does not send.
        return EmailUnverified(expected="xms_edov: true", got="xms_edov absent or not true", remedy=_NO_ADDRESS)
    if isinstance(candidates, EmailMissing):
        expected = "email, verified_primary_email or a user principal name"
        return EmailMissing(expected=expected, got="none that counts", remedy=_NO_ADDRESS)
    return candidates


def says_domain_owner_verified(document: Document) -> bool:
    """Tell whether `xms_edov` is true, in a spelling that Entra sends, for the address in the same document."""
    value = document.get("xms_edov")
    return value is True or (isinstance(value, int | str) and not isinstance(value, bool) and value in (1, "1", "true"))


def is_guest(document: Document) -> bool:
    """Tell whether the account is, or may be, a guest of the tenant.

    Signs are `acct`, which is optional; the mark in the user principal name; and `idp`, which Entra sends if another
    tenant or service signed the person in.
    """
    names = [document[name].lower() for name in ("preferred_username", "upn") if isinstance(document.get(name), str)]
    marked = any(mark in name for name in names for mark in ("#ext#", "_ext_@"))
    signed_in_by = document.get("idp")
    elsewhere = signed_in_by is not None and f"/{document.get('tid')}/" not in f"{signed_in_by}/"
    return marked or elsewhere or document.get("acct") not in (None, 0, "0")


def _address_in_domains(value: object, rules: ClaimRules) -> str | None:
    try:
        email = check_email(value)
    except EmailMalformed:
        return None
    return email if email.rpartition("@")[2] in rules.email_domains else None


def _tenant(provider: Provider) -> str:
    """Return the tenant in the issuer; empty for several tenants: any of them may have the application."""
    return "" if provider.rules.tenants else urlsplit(provider.registration.issuer).path.split("/")[1]
