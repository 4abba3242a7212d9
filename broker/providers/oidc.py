"""Any OpenID provider: the standard claims, with Keycloak as the example of a console and of commands.

An address counts if `email_verified` is true in the same document, or if the admin set `trust_unverified_email`.
`email_verified` is a JSON boolean (OpenID Connect Core, section 5.1); Amazon Cognito sends the text "true",
which counts.

- https://www.keycloak.org/docs/latest/server_admin/#_oidc_clients
- https://www.keycloak.org/docs/latest/server_admin/#admin-cli
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from broker.errors import BrokerError, EmailContradicts, EmailMalformed, EmailMissing, EmailUnverified
from broker.identity import ClaimRules, check_email
from broker.providers.kind import (
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
    render_command,
)

_REGISTRATION = "the client's registration at the provider"
_ISSUER = "the member issuer of the provider's /.well-known/openid-configuration"
_CONSOLE_PATHS = ConsolePaths(
    issuer=_ISSUER,
    client_id=_REGISTRATION,
    client_secret=_REGISTRATION,
    redirect_uri=f"{_REGISTRATION}, under redirect URIs",
    sign_out_uri=f"{_REGISTRATION}, under post-logout redirect URIs",
    scopes=_REGISTRATION,
)
_KEYCLOAK_CLIENT = "Keycloak: Clients > the client"
_KEYCLOAK_CONSOLE_PATHS = ConsolePaths(
    issuer=f"{_ISSUER} (Keycloak: Realm settings > General > Endpoints)",
    client_id=f"{_KEYCLOAK_CLIENT} > Settings > Client ID",
    client_secret=f"{_KEYCLOAK_CLIENT} > Credentials",
    redirect_uri=f"{_KEYCLOAK_CLIENT} > Settings > Valid redirect URIs",
    sign_out_uri=f"{_KEYCLOAK_CLIENT} > Settings > Valid post logout redirect URIs",
    scopes=f"{_KEYCLOAK_CLIENT} > Client scopes",
)


class Oidc(ProviderKind):
    """Any OpenID Connect provider."""

    __slots__ = ()

    name = "oidc"
    title = "another OpenID Connect provider, such as Keycloak or Auth0"
    aliases = ("other", "keycloak", "auth0")
    guide = "docs/admin/guides/other.md"
    registration_note = (
        "Register a confidential web client with the authorization code flow. The provider must send email_verified: "
        "true; in Keycloak that is Users > the person > Email verified."
    )
    console = _CONSOLE_PATHS
    any_product = True

    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Decide by `email_verified` alone."""
        return decide_by_email_verified(claims, rules, accept_missing_email_verified=False)

    def console_paths(self, issuer: str) -> ConsolePaths:
        """Return the menus of Keycloak for the issuer of a realm, and general terms for any other issuer."""
        return _KEYCLOAK_CONSOLE_PATHS if "/realms/" in issuer else _CONSOLE_PATHS

    def further_values(self, provider: Provider, to_register: ToRegister) -> tuple[Value, ...]:
        """Return the sign-out address and the address for a portal."""
        start = Value("Initiate login URI", to_register.start_uri, "the client's registration, if it has such a field")
        if _realm(provider):
            where = f"{_KEYCLOAK_CLIENT} > Settings > Home URL"
            start = Value("Home URL", to_register.home_page, where, "For the account console's list of applications.")
        return (
            Value("Post logout redirect URI", to_register.post_logout_uri, provider.console_paths.sign_out_uri),
            start,
        )

    def claim_values(self, provider: Provider) -> tuple[Value, ...]:
        """Return the claims that the provider must send."""
        rules = provider.rules
        names = (rules.email_claim, "email_verified", rules.name_claim, provider.needed_groups_claim)
        claims = dict.fromkeys(filter(None, names))
        return (Value("Claims", " ".join(claims), provider.console_paths.scopes, "In the ID token, or from userinfo."),)

    def commands(self, provider: Provider, to_register: ToRegister) -> tuple[Command, ...]:
        """Return the commands for Keycloak's kcadm.sh if the issuer is a realm."""
        realm = _realm(provider)
        if not realm:
            return ()
        server = provider.registration.issuer.removesuffix(f"/realms/{realm}")
        text = render_command("keycloak.sh.j2", provider, to_register, server=server, realm=realm)
        note = "It writes the secret into the file client-secret." if provider.has_client_secret else ""
        return (Command("Keycloak's kcadm.sh", text, note),)


def _realm(provider: Provider) -> str:
    """Return the realm in an issuer of Keycloak; empty for other products."""
    _, found, realm = provider.registration.issuer.rpartition("/realms/")
    return realm if found and "/" not in realm else ""


@dataclass(frozen=True, slots=True)
class EmailCandidate:
    """An address in one document: checked for its form, not yet trusted."""

    email: str
    source: str
    document: Document


def email_candidates(
    claims: PersonClaims, name: str
) -> tuple[list[EmailCandidate] | BrokerError, tuple[ClaimTrace, ...]]:
    """Return the address in each document, or why the addresses cannot be used; and the claims considered."""
    candidates: list[EmailCandidate] = []
    considered: list[ClaimTrace] = []
    for place, document in claims.documents():
        source = f"{name} ({place})"
        if document.get(name) in (None, ""):
            considered.append(ClaimTrace(source, "absent"))
            continue
        try:
            candidates.append(EmailCandidate(check_email(document[name]), source, document))
        except EmailMalformed as malformed:
            return malformed, (*considered, ClaimTrace(source, "not taken: no plain e-mail address"))
    if not candidates:
        return EmailMissing(expected=f"the claim {name}", got="no such claim"), tuple(considered)
    if len({candidate.email for candidate in candidates}) > 1:
        verdict = "not taken: the documents name different addresses"
        differing = [ClaimTrace(candidate.source, verdict) for candidate in candidates]
        return EmailContradicts(expected="one address", got="two different ones"), (*considered, *differing)
    return candidates, tuple(considered)


def decide_by_email_verified(
    claims: PersonClaims, rules: ClaimRules, *, accept_missing_email_verified: bool
) -> EmailDecision:
    """Decide about the address in a document by `email_verified` in the same document.

    False in any document refuses, even if that document has no address. An odd value in userinfo does not outweigh
    true in the signed ID token. True in userinfo does not outweigh an odd value in the ID token.
    """
    candidates, considered = email_candidates(claims, rules.email_claim)
    if isinstance(candidates, BrokerError):
        return EmailDecision(None, "", candidates, considered)
    if rules.trust_unverified_email:
        return taken(candidates[0], considered, "taken: trust_unverified_email is on")
    said = [value for _, document in claims.documents() if (value := document.get("email_verified")) is not None]
    if accept_missing_email_verified and not said:
        return taken(candidates[0], considered, "taken: email_verified is absent, which this kind of provider accepts")
    if not any(value in (False, "false") for value in said if isinstance(value, bool | str)):
        for candidate in candidates:
            signed = candidate.document is claims.signed
            if _verifies(candidate.document, candidate.email) and (signed or all(map(_says_true, said))):
                return taken(candidate, considered, "taken: email_verified is true")
    values = {candidate.source: candidate.document.get("email_verified") for candidate in candidates}
    doubtful = next((source for source, value in values.items() if not _says_true(value)), candidates[0].source)
    refusal = _refuse(next((value for value in said if not _says_true(value)), values[doubtful]))
    return EmailDecision(None, "", refusal, (*considered, ClaimTrace(doubtful, f"not taken: {refusal.got}")))


def taken(candidate: EmailCandidate, considered: tuple[ClaimTrace, ...], verdict: str) -> EmailDecision:
    """Return the decision for an address, which adds a verdict to the claims considered before."""
    return EmailDecision(candidate.email, candidate.source, None, (*considered, ClaimTrace(candidate.source, verdict)))


def _refuse(value: object) -> EmailUnverified:
    """Return the refusal for a value of `email_verified`; None if the provider does not send the claim."""
    # Complete, because redaction finds only a complete echo; and never in the remedy.
    shown = json.dumps(value) if isinstance(value, bool | str | int | float) else "an array or object"
    remedy = EmailUnverified.remedy
    if value is None:
        shown = "absent"
        remedy = f"The provider does not send email_verified: have it added to its claims. {remedy}"
    elif value is not False and value != "false":
        remedy = f"The provider sends an email_verified that is neither true nor false. {remedy}"
    return EmailUnverified(expected="email_verified: true", got=f"email_verified: {shown}", remedy=remedy)


def _verifies(document: Document, email: str) -> bool:
    """Tell whether `email_verified` covers an address: it covers the claim `email` only, not another `email_claim`."""
    verified_email = document.get("email")
    return (
        _says_true(document.get("email_verified"))
        and isinstance(verified_email, str)
        and verified_email.isascii()
        and verified_email.lower() == email
    )


def _says_true(value: object) -> bool:
    """Tell whether a value is JSON true or the text `true`; no other spelling counts, and no number."""
    return value is True or (isinstance(value, str) and value == "true")
