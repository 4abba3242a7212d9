"""Microsoft Entra ID: the Mail attribute is not proof, so the address is chosen in a fixed order.

- `email` is mutable and unverified unless `xms_edov` says so; taking it at face value lets a tenant's admin take over
  others (nOAuth): https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization
- Optional claims: https://learn.microsoft.com/en-us/entra/identity-platform/optional-claims-reference
- The ID token's claims: https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
- The issuer of a multi-tenant application, and the keys' own issuer:
  https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer
- Refusals: https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from broker.errors import (
    BrokerError,
    EmailMalformed,
    EmailMissing,
    EmailUnverified,
    GuestNotAllowed,
    IdTokenIssuer,
    TenantNotAllowed,
)
from broker.identity import check_email
from broker.oidc.registration import Registration
from broker.oidc.signature import SignedClaims
from broker.providers.oidc import email_candidates
from broker.providers.record import ClaimRules, Claims, ClaimTrace, ConsolePaths, EmailDecision, Preset, VerifiedClaims

PERSONAL_ACCOUNTS_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
TENANT_TEMPLATE = "{tenantid}"

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AADSTS = re.compile(r"AADSTS(\d{4,7})")
_CERTIFICATES = "App registrations > the application > Certificates & secrets"
_REDIRECT_URIS = "App registrations > the application > Authentication, platform Web"
_PERMISSIONS = "In Entra: Enterprise applications > the application > Permissions"
_OTHER_TENANT = "The account is of another tenant. Invite it as a guest, or add its tenant to tenants."
_NO_ADDRESS = (
    "In Entra: App registrations > the application > Token configuration: add the optional claims email and xms_edov "
    "to the ID token. With one tenant, a member's user principal name in email_domains will do."
)
_REMEDIES = {
    "50105": "In Entra: Enterprise applications > the application > Users and groups: assign the person or a group.",
    "65001": f"{_PERMISSIONS}: grant admin consent.",
    "65004": f"The person declined consent. {_PERMISSIONS}: grant admin consent for everybody.",
    "90094": f"{_PERMISSIONS}: an administrator has to grant consent.",
    "50020": _OTHER_TENANT,
    "90072": _OTHER_TENANT,
    "700016": "client_id is no application of this tenant: compare both ids on the application's Overview.",
    "90002": "Entra knows no such tenant: compare it with Overview > Tenant ID; a national cloud has another issuer.",
    "900971": f"No redirect URI is registered. In Entra: {_REDIRECT_URIS}: add it.",
    "700027": f"The signature of our key is not accepted. In Entra: {_CERTIFICATES}: upload the certificate in use.",
    "50194": "The application is single-tenant: set tenant, or change Supported account types.",
    "50011": f"In Entra: {_REDIRECT_URIS}: add the broker's redirect URI.",
    "7000215": f"The client secret is wrong. In Entra: {_CERTIFICATES}: copy the Value, not the Secret ID.",
    "7000222": f"The client secret expired. In Entra: {_CERTIFICATES}: make a new one and put it into the secret file.",
    "501481": "The PKCE verifier does not fit: two sign-ins got mixed, or a proxy altered the request.",
    "700005": "The code is of another tenant: compare tenant with the one the person signed in to.",
    "54005": "The code was used twice: a reload, or a scanner that opens links.",
    "70008": "The code expired: the way from Entra to the broker took too long.",
}


def decide_email(verified: VerifiedClaims, rules: ClaimRules) -> EmailDecision:
    """Choose the address in the fixed order, and say what was looked at.

    1. `email`, where `xms_edov` says that the domain's owner is this tenant, or the admin trusts it loudly;
    2. `verified_primary_email`, the one in `email_domains`;
    3. the user principal name of a member, in `email_domains`, of a single-tenant application.

    Args:
        verified: what Entra vouches for.
        rules: what the admin set about its claims.
    """
    considered: list[ClaimTrace] = []
    for choose in (_by_email, _by_verified_primary_email, _by_user_principal_name):
        try:
            found = choose(verified, rules, considered)
        except BrokerError as refusal:
            return EmailDecision(None, "", refusal, tuple(considered))
        if found is not None:
            return EmailDecision(*found, None, tuple(considered))
    return EmailDecision(None, "", _why_none(verified, rules), tuple(considered))


def expect_tenant_issuer(registration: Registration, signed: SignedClaims, rules: ClaimRules) -> str:
    """Return the issuer this token must have: the configured one, or the template filled with an admitted tenant.

    Args:
        registration: with the issuer, or the template of several tenants.
        signed: the token's claims, and the issuer its key is bound to.
        rules: with the tenants admitted.

    Raises:
        TenantNotAllowed: another tenant, or the one of personal accounts.
        IdTokenIssuer: no tenant, or a key that is bound to another issuer.
    """
    tenant = signed.claims.get("tid")
    issuer = registration.metadata_issuer
    if TENANT_TEMPLATE in issuer:
        if not isinstance(tenant, str) or not _GUID.fullmatch(tenant):
            raise IdTokenIssuer(expected="tid: a tenant id", got="none")
        if tenant not in rules.tenants or tenant == PERSONAL_ACCOUNTS_TENANT:
            raise TenantNotAllowed(expected=sorted(rules.tenants), got=tenant)
        issuer = issuer.replace(TENANT_TEMPLATE, tenant)
    if signed.key_issuer is not None and signed.key_issuer.replace(TENANT_TEMPLATE, str(tenant)) != issuer:
        raise IdTokenIssuer(expected=f"a key of {issuer}", got=f"a key of {signed.key_issuer}")
    return issuer


def expect_callback_of_tenant(registration: Registration, rules: ClaimRules) -> Mapping[str, str]:
    """Return the issuers that may answer: the configured one, or that of each admitted tenant.

    Args:
        registration: with the issuer, or the template of several tenants.
        rules: with the tenants admitted.
    """
    template = registration.metadata_issuer
    if TENANT_TEMPLATE not in template:
        return {template: template}
    admitted = rules.tenants - {PERSONAL_ACCOUNTS_TENANT}
    return {issuer: issuer for issuer in (template.replace(TENANT_TEMPLATE, tenant) for tenant in admitted)}


def remedy(said: str) -> str | None:
    """Return what to do about an AADSTS code; the text around it is not looked at.

    Args:
        said: `error` and `error_description`.
    """
    code = _AADSTS.search(said)
    return _REMEDIES.get(code[1]) if code else None


def parse_error_page(text: str) -> str | None:
    """Return the AADSTS code an error page shows.

    Args:
        text: of the page and of its address.
    """
    code = _AADSTS.search(text)
    return code[0] if code else None


_Found = tuple[str, str]


def _by_email(verified: VerifiedClaims, rules: ClaimRules, considered: list[ClaimTrace]) -> _Found | None:
    claim = rules.email_claim
    offers, looked_at = email_candidates(verified, claim)
    considered += looked_at
    if isinstance(offers, BrokerError):
        # What would not count anyway must not stand in the way of what may: only a verified claim's fault is one.
        counts = rules.trust_unverified_email or any(says_domain_owner_verified(one) for _, one in verified.documents())
        if counts and not isinstance(offers, EmailMissing):
            raise offers
        return None
    offer = offers[0]
    if rules.trust_unverified_email:
        considered.append(ClaimTrace(offer.source, "taken: trust_unverified_email is on"))
        return offer.email, offer.source
    if claim == "email" and says_domain_owner_verified(offer.claims):
        considered.append(ClaimTrace(offer.source, "taken: xms_edov is true"))
        return offer.email, offer.source
    considered.append(ClaimTrace(offer.source, "not taken: xms_edov is not true, so the address is not verified"))
    return None


def _by_verified_primary_email(
    verified: VerifiedClaims, rules: ClaimRules, considered: list[ClaimTrace]
) -> _Found | None:
    source = "verified_primary_email (ID token)"
    value = verified.id_token.claims.get("verified_primary_email")
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    for one in listed:
        if (email := _address_in(one, rules)) is not None:
            considered.append(ClaimTrace(source, "taken"))
            return email, source
    considered.append(ClaimTrace(source, "not taken: no address in email_domains" if listed else "absent"))
    return None


def _by_user_principal_name(verified: VerifiedClaims, rules: ClaimRules, considered: list[ClaimTrace]) -> _Found | None:
    claims = verified.id_token.claims
    for claim in ("preferred_username", "upn"):
        source = f"{claim} (ID token)"
        if claims.get(claim) in (None, ""):
            verdict = "absent"
        elif rules.tenants:
            verdict = "not taken: with several tenants only verified addresses count"
        elif is_guest(claims):
            verdict = "not taken: the account is a guest"
        elif (email := _address_in(claims[claim], rules)) is None:
            verdict = "not taken: no e-mail address in email_domains"
        else:
            considered.append(ClaimTrace(source, "taken: the user principal name of a member"))
            return email, source
        considered.append(ClaimTrace(source, verdict))
    return None


def _why_none(verified: VerifiedClaims, rules: ClaimRules) -> BrokerError:
    claims = verified.id_token.claims
    if is_guest(claims):
        return GuestNotAllowed(expected="a member of the tenant, or a verified address", got="a guest")
    offers, _ = email_candidates(verified, rules.email_claim)
    if isinstance(offers, BrokerError) and not isinstance(offers, EmailMissing):
        return offers
    refusal: BrokerError
    if not isinstance(offers, BrokerError):
        refusal = EmailUnverified(expected="xms_edov: true", got="xms_edov absent or not true")
    else:
        refusal = EmailMissing(
            expected="email, verified_primary_email or a user principal name", got="none that counts"
        )
    refusal.remedy = _NO_ADDRESS  # Entra knows no email_verified, of which the general remedy speaks
    return refusal


def says_domain_owner_verified(claims: Claims) -> bool:
    """Whether `xms_edov` is true, in one of the spellings Entra sends.

    Args:
        claims: of the document with the address: it speaks of no other.
    """
    value = claims.get("xms_edov")
    return value is True or (isinstance(value, int | str) and not isinstance(value, bool) and value in (1, "1", "true"))


def is_guest(claims: Claims) -> bool:
    """Whether the account is, or may be, a guest of the tenant; in doubt it is.

    By `acct`, which is optional; by the mark in its user principal name; and by `idp`, which is sent where another
    tenant or service than this one signed the person in.

    Args:
        claims: of the ID token.
    """
    names = [claims[name].lower() for name in ("preferred_username", "upn") if isinstance(claims.get(name), str)]
    marked = any(mark in name for name in names for mark in ("#ext#", "_ext_@"))
    signed_in_by = claims.get("idp")
    elsewhere = signed_in_by is not None and f"/{claims.get('tid')}/" not in f"{signed_in_by}/"
    return marked or elsewhere or claims.get("acct") not in (None, 0, "0")


def _address_in(value: object, rules: ClaimRules) -> str | None:
    try:
        email = check_email(value)
    except EmailMalformed:
        return None
    return email if email.rpartition("@")[2] in rules.email_domains else None


_MENUS = ConsolePaths(
    issuer="Entra: Overview > Tenant ID, entered as tenant; leave issuer out",
    client_id="Entra: App registrations > the application > Overview > Application (client) ID",
    client_secret=f"Entra: {_CERTIFICATES} > Client secrets, column Value",
    redirect_uri=f"Entra: {_REDIRECT_URIS}",
    sign_out_uri=f"Entra: {_REDIRECT_URIS}",
    scopes="Entra: App registrations > the application > API permissions",
)

PRESET = Preset(
    name="entra",
    decide_email=decide_email,
    expected_issuer=expect_tenant_issuer,
    callback_issuers=expect_callback_of_tenant,
    remedy=remedy,
    console_paths=lambda _issuer: _MENUS,
    guide="docs/admin/guides/entra.md",
    parse_error_page=parse_error_page,
    prompt_for_another_account="select_account",
    name_falls_back_to_username=True,
)
