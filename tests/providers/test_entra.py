"""Entra ID: which of its claims is an address, whose tenant a token is of, and what its refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import (
    EmailContradicts,
    EmailMalformed,
    EmailMissing,
    EmailUnverified,
    GuestNotAllowed,
    IdTokenIssuer,
    TenantNotAllowed,
)
from broker.providers import KINDS, ClaimRules, EmailDecision, PersonClaims, UnverifiedIdToken, decide_identity
from broker.providers.entra import PERSONAL_ACCOUNTS_TENANT
from tests.oidc.samples import registration

ADA, MAIL = "ada@acme.example", "ada.lovelace@acme.example"
ENTRA = KINDS["entra"]
TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
OTHER = "0b9a8f7e-6d5c-4b4a-9f3e-2d1c0b9a8f7e"
HOST = "https://login.microsoftonline.com"
SEVERAL = frozenset({TENANT, OTHER})
GUEST = "ada_gmail.com#EXT#@acme.example"

EMAIL, PRIMARY, USERNAME, UPN = (
    f"{claim} (ID token)" for claim in ("email", "verified_primary_email", "preferred_username", "upn")
)
UNVERIFIED = "not taken: xms_edov is not true, so the address is not verified"
MEMBER = "taken: the user principal name of a member"
NO_DOMAIN = "not taken: no e-mail address in email_domains"

Claims = dict[str, Any]
LookedAt = list[tuple[str, str]]


def verified(id_token: Claims, userinfo: Claims | None = None) -> PersonClaims:
    return PersonClaims(UnverifiedIdToken(id_token, f"{HOST}/{TENANT}/v2.0", "pairwise"), userinfo)


def decide(id_token: Claims, userinfo: Claims | None = None, **rules: Any) -> EmailDecision:
    return ENTRA.decide_email(
        verified(id_token, userinfo), ClaimRules(email_domains=frozenset({"acme.example"}), **rules)
    )


def considered(decision: EmailDecision) -> LookedAt:
    return [(one.claim, one.verdict) for one in decision.considered]


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize("yes", [True, 1, "1", "true"], ids=repr)
@pytest.mark.parametrize("tenants", [frozenset(), SEVERAL], ids=["one tenant", "several tenants"])
def test_the_mail_attribute_counts_where_entra_says_the_domain_is_verified(
    yes: object, tenants: frozenset[str]
) -> None:
    decision = decide({"email": MAIL, "xms_edov": yes, "preferred_username": ADA}, tenants=tenants)
    assert (decision.email, decision.email_from) == (MAIL, EMAIL)
    assert considered(decision) == [(EMAIL, "taken: xms_edov is true")]


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize("no", [False, 0, "0", "false", "True", "yes", None, [True], {"v": 1}, 2], ids=repr)
def test_nothing_else_verifies_the_mail_attribute(no: object) -> None:
    decision = decide({"email": MAIL, "xms_edov": no, "preferred_username": ADA})
    assert (decision.email, decision.email_from) == (ADA, USERNAME)
    assert considered(decision) == [(EMAIL, UNVERIFIED), (PRIMARY, "absent"), (USERNAME, MEMBER)]


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize(
    ("claims", "email", "looked_at"),
    [
        pytest.param(
            {"preferred_username": "Ada@Acme.Example"}, ADA,
            [(EMAIL, "absent"), (PRIMARY, "absent"), (USERNAME, MEMBER)], id="a member without mail",
        ),
        pytest.param(
            {"upn": ADA}, ADA,
            [(EMAIL, "absent"), (PRIMARY, "absent"), (USERNAME, "absent"), (UPN, MEMBER)], id="upn, an optional claim",
        ),
        pytest.param(
            {"preferred_username": "+1 425 555 0100", "upn": ADA}, ADA,
            [(EMAIL, "absent"), (PRIMARY, "absent"), (USERNAME, NO_DOMAIN), (UPN, MEMBER)], id="a phone number first",
        ),
        pytest.param(
            {"preferred_username": "ada@acme.onmicrosoft.com", "upn": ADA}, ADA,
            [(EMAIL, "absent"), (PRIMARY, "absent"), (USERNAME, NO_DOMAIN), (UPN, MEMBER)], id="onmicrosoft.com first",
        ),
        pytest.param(
            {"email": "eve@acme.example", "verified_primary_email": [MAIL], "preferred_username": ADA}, MAIL,
            [(EMAIL, UNVERIFIED), (PRIMARY, "taken")], id="a verified primary address before the user name",
        ),
        pytest.param(
            {"verified_primary_email": ["x@other.example", MAIL]}, MAIL,
            [(EMAIL, "absent"), (PRIMARY, "taken")], id="the one of several that is ours",
        ),
        pytest.param(
            {"verified_primary_email": MAIL}, MAIL, [(EMAIL, "absent"), (PRIMARY, "taken")], id="not in a list",
        ),
        pytest.param(
            {"verified_primary_email": ["x@other.example", 5], "preferred_username": ADA}, ADA,
            [(EMAIL, "absent"), (PRIMARY, "not taken: no address in email_domains"), (USERNAME, MEMBER)],
            id="none of several is ours",
        ),
        pytest.param(
            {"preferred_username": GUEST, "acct": 1, "email": MAIL, "xms_edov": True}, MAIL,
            [(EMAIL, "taken: xms_edov is true")], id="a guest with a verified address",
        ),
        pytest.param(
            {"preferred_username": GUEST, "verified_primary_email": [MAIL]}, MAIL,
            [(EMAIL, "absent"), (PRIMARY, "taken")], id="a guest with a verified primary address",
        ),
    ],
)  # fmt: skip
def test_the_order_is_fixed(claims: Claims, email: str, looked_at: LookedAt) -> None:
    decision = decide(claims)
    assert (decision.email, decision.email_from, decision.refusal) == (email, looked_at[-1][0], None)
    assert considered(decision) == looked_at


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize(
    "signs",
    [
        pytest.param({"idp": "live.com"}, id="live.com signed them in"),
        pytest.param({"idp": f"https://sts.windows.net/{OTHER}/"}, id="another tenant signed them in"),
        pytest.param({"idp": ["x"]}, id="something odd signed them in"),
        pytest.param({"acct": "guest"}, id="acct as a word"),
        pytest.param({"acct": True}, id="acct true"),
        pytest.param({"preferred_username": "eve_evil.example_EXT_@acme.example"}, id="the mark without a hash"),
    ],
)
def test_in_doubt_an_account_is_a_guest(signs: Claims) -> None:
    decision = decide({"preferred_username": ADA, "tid": TENANT, **signs})
    assert type(decision.refusal) is GuestNotAllowed


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"acct": 0}, id="acct says so"),
        pytest.param({"idp": f"https://sts.windows.net/{TENANT}/"}, id="this tenant signed them in"),
        pytest.param({"email": "ada@acme"}, id="their mail attribute is no address"),
    ],
)
def test_a_member_is_known_by_the_user_principal_name(claims: Claims) -> None:
    assert decide({"preferred_username": ADA, "tid": TENANT, **claims}).email == ADA


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize(
    ("claims", "tenants", "error", "last"),
    [
        pytest.param({}, (), EmailMissing, (UPN, "absent"), id="nothing at all"),
        pytest.param({"preferred_username": "ada"}, (), EmailMissing, (UPN, "absent"), id="a user name, no address"),
        pytest.param({"email": MAIL}, (), EmailUnverified, (UPN, "absent"), id="an unverified mail attribute alone"),
        pytest.param({"email": "ada@"}, (), EmailMalformed, (UPN, "absent"), id="no box, and nothing else"),
        pytest.param(
            {"preferred_username": GUEST}, (), GuestNotAllowed, (UPN, "absent"), id="a guest by the mark",
        ),
        pytest.param(
            {"upn": GUEST.lower(), "preferred_username": ADA}, (), GuestNotAllowed,
            (UPN, "not taken: the account is a guest"), id="a guest by the mark in upn, in lower case",
        ),
        pytest.param(
            {"preferred_username": ADA, "acct": 1}, (), GuestNotAllowed, (UPN, "absent"), id="a guest by acct",
        ),
        pytest.param(
            {"preferred_username": ADA, "acct": "1", "email": MAIL}, (), GuestNotAllowed, (UPN, "absent"),
            id="a guest by acct as a text, with an unverified address",
        ),
        pytest.param(
            {"preferred_username": ADA}, SEVERAL, EmailMissing, (UPN, "absent"), id="a user name, of several tenants",
        ),
        pytest.param(
            {"preferred_username": ADA, "email": ADA}, SEVERAL, EmailUnverified, (UPN, "absent"),
            id="nOAuth: another tenant's mail attribute names our agent",
        ),
    ],
)  # fmt: skip
def test_without_an_address_to_believe_in_the_refusal_says_why(
    claims: Claims, tenants: frozenset[str], error: type[Exception], last: tuple[str, str]
) -> None:
    decision = decide(claims, tenants=frozenset(tenants))
    assert (decision.email, decision.email_from) == (None, "")
    assert type(decision.refusal) is error
    assert considered(decision)[-1] == last


@pytest.mark.requirement("S-24")
def test_with_several_tenants_a_user_name_says_nothing() -> None:
    decision = decide({"preferred_username": ADA, "upn": ADA}, tenants=SEVERAL)
    verdict = "not taken: with several tenants only verified addresses count"
    assert considered(decision)[2:] == [(USERNAME, verdict), (UPN, verdict)]


@pytest.mark.requirement("S-24")
@pytest.mark.parametrize(
    ("id_token", "userinfo"),
    [
        pytest.param({"xms_edov": True}, {"email": MAIL}, id="xms_edov in the ID token, the address at userinfo"),
        pytest.param({"email": MAIL}, {"xms_edov": True}, id="the address in the ID token, xms_edov at userinfo"),
    ],
)
def test_the_word_and_the_address_must_be_in_one_document(id_token: Claims, userinfo: Claims) -> None:
    decision = decide({**id_token, "preferred_username": ADA}, userinfo)
    assert (decision.email, decision.email_from) == (ADA, USERNAME)


def test_two_documents_with_two_addresses_are_refused() -> None:
    decision = decide({"email": MAIL, "xms_edov": True}, {"email": ADA})
    assert isinstance(decision.refusal, EmailContradicts)


def test_an_address_the_admin_trusts_unverified_is_taken() -> None:
    decision = decide({"email": MAIL}, trust_unverified_email=True)
    assert (decision.email, considered(decision)) == (MAIL, [(EMAIL, "taken: trust_unverified_email is on")])


def test_xms_edov_speaks_of_no_other_claim() -> None:
    decision = decide({"mail": MAIL, "xms_edov": True, "preferred_username": ADA}, email_claim="mail")
    assert (decision.email, decision.email_from) == (ADA, USERNAME)


@pytest.mark.requirement("S-26")
@pytest.mark.parametrize(
    ("claims", "name"),
    [
        pytest.param({"name": "Ada Lovelace", "given_name": "Eve"}, ("Ada Lovelace", "name"), id="name"),
        pytest.param(
            {"given_name": "Ada", "family_name": "Lovelace"}, ("Ada Lovelace", "given_name family_name"), id="two parts"
        ),
        pytest.param({"family_name": "Lovelace"}, ("Lovelace", "given_name family_name"), id="one part"),
        pytest.param({}, (ADA, "preferred_username"), id="the user name"),
    ],
)
def test_the_name_falls_back_in_the_documented_order(claims: Claims, name: tuple[str, str]) -> None:
    rules = ClaimRules(email_domains=frozenset({"acme.example"}))
    identity = decide_identity(ENTRA, verified({"preferred_username": ADA, **claims}), rules)
    assert (identity.name, identity.name_from) == name


def expected_issuer(claims: Claims, *, tenants: frozenset[str] = frozenset(), key_issuer: str | None = None) -> str:
    metadata_issuer = f"{HOST}/{{tenantid}}/v2.0" if tenants else f"{HOST}/{TENANT}/v2.0"
    entra = registration(issuer=metadata_issuer, metadata_issuer=metadata_issuer)
    return ENTRA.expected_issuer(entra, claims, ClaimRules(tenants=tenants), key_issuer=key_issuer)


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize(
    ("claims", "tenants", "key_issuer"),
    [
        pytest.param({"tid": TENANT}, (), None, id="one tenant"),
        pytest.param({}, (), None, id="one tenant, whatever tid says: iss is compared"),
        pytest.param({"tid": TENANT}, SEVERAL, None, id="one of several"),
        pytest.param({"tid": TENANT}, (), f"{HOST}/{{tenantid}}/v2.0", id="one tenant, a key of all tenants"),
        pytest.param({"tid": TENANT}, SEVERAL, f"{HOST}/{{tenantid}}/v2.0", id="one of several, a key of all tenants"),
        pytest.param({"tid": TENANT}, SEVERAL, f"{HOST}/{TENANT}/v2.0", id="one of several, a key of this tenant"),
    ],
)
def test_the_issuer_is_the_tenants_own(claims: Claims, tenants: frozenset[str], key_issuer: str | None) -> None:
    assert expected_issuer(claims, tenants=frozenset(tenants), key_issuer=key_issuer) == f"{HOST}/{TENANT}/v2.0"


@pytest.mark.requirement("S-14", "S-24")
@pytest.mark.parametrize(
    ("claims", "tenants", "key_issuer", "error"),
    [
        pytest.param({"tid": OTHER}, {TENANT}, None, TenantNotAllowed, id="a tenant that is not listed"),
        pytest.param(
            {"tid": PERSONAL_ACCOUNTS_TENANT}, {TENANT}, None, TenantNotAllowed, id="personal accounts, not listed"
        ),
        pytest.param(
            {"tid": PERSONAL_ACCOUNTS_TENANT}, {PERSONAL_ACCOUNTS_TENANT}, None, TenantNotAllowed,
            id="personal accounts, even if listed",
        ),
        pytest.param({}, {TENANT}, None, IdTokenIssuer, id="no tid"),
        pytest.param({"tid": [TENANT]}, {TENANT}, None, IdTokenIssuer, id="a list"),
        pytest.param({"tid": TENANT.upper()}, {TENANT}, None, IdTokenIssuer, id="in upper case"),
        pytest.param({"tid": f"{TENANT}/.."}, {TENANT}, None, IdTokenIssuer, id="a path"),
        pytest.param({"tid": f"{TENANT}\n"}, {TENANT}, None, IdTokenIssuer, id="a line end"),
        pytest.param({"tid": "{tenantid}"}, {TENANT}, None, IdTokenIssuer, id="the template itself"),
        pytest.param(
            {"tid": TENANT}, (), f"{HOST}/{PERSONAL_ACCOUNTS_TENANT}/v2.0", IdTokenIssuer, id="consumer key, one tenant"
        ),
        pytest.param(
            {"tid": TENANT}, {TENANT}, f"{HOST}/{PERSONAL_ACCOUNTS_TENANT}/v2.0", IdTokenIssuer,
            id="a consumer key, several tenants",
        ),
        pytest.param(
            {"tid": TENANT}, SEVERAL, f"{HOST}/{OTHER}/v2.0", IdTokenIssuer, id="another listed tenant's key"
        ),
        pytest.param({}, (), f"{HOST}/{{tenantid}}/v2.0", IdTokenIssuer, id="a key of all tenants, and no tid"),
    ],
)  # fmt: skip
def test_another_tenants_token_or_key_is_refused(
    claims: Claims, tenants: frozenset[str], key_issuer: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        expected_issuer(claims, tenants=frozenset(tenants), key_issuer=key_issuer)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("50105", "Users and groups", id="50105 not assigned"),
        pytest.param("65001", "grant admin consent", id="65001 no consent"),
        pytest.param("65004", "declined consent", id="65004 consent declined"),
        pytest.param("90094", "administrator has to grant", id="90094 admin consent"),
        pytest.param("50020", "of another tenant", id="50020 not in the tenant"),
        pytest.param("90072", "of another tenant", id="90072 not in the tenant"),
        pytest.param("700016", "no application with this client_id", id="700016 unknown application"),
        pytest.param("50194", "single-tenant", id="50194 single-tenant"),
        pytest.param("50011", "redirect URI", id="50011 redirect URI"),
        pytest.param("7000215", "client secret is wrong", id="7000215 wrong secret"),
        pytest.param("7000222", "client secret expired", id="7000222 expired secret"),
        pytest.param("501481", "PKCE", id="501481 verifier"),
        pytest.param("700005", "of another tenant", id="700005 a code of another tenant"),
        pytest.param("54005", "used twice", id="54005 code used twice"),
        pytest.param("70008", "code expired", id="70008 code expired"),
    ],
)
def test_a_code_of_entra_has_its_remedy(code: str, words: str) -> None:
    said = f"invalid_client: AADSTS{code}: Anything at all. Trace ID: 0f. Correlation ID: 1a. Timestamp: 2026-11-22"
    assert words in (ENTRA.remedy(said) or "")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("access_denied: AADSTS999999: new", id="a code nobody knows"),
        pytest.param("access_denied: 50105", id="a number without the prefix"),
        pytest.param("access_denied: AADSTS501055: another", id="a longer number is another code"),
        pytest.param("access_denied", id="no description"),
    ],
)
def test_anything_else_has_none(said: str) -> None:
    assert ENTRA.remedy(said) is None
