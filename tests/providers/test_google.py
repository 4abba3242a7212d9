"""Google: an account counts when its organisation is signed into the token, and its address is verified."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import EmailContradicts, EmailMalformed, EmailMissing, EmailUnverified, HostedDomainNotAllowed
from broker.providers import KINDS, ClaimRules, EmailDecision, PersonClaims, UnverifiedIdToken, decide_identity
from tests.oidc.samples import registration

ADA = "ada@acme.example"
GOOGLE = KINDS["google"]
ISSUER = "https://accounts.google.com"
RULES = ClaimRules(email_domains=frozenset({"acme.example", "acme-labs.example"}))
GOOD: dict[str, Any] = {"hd": "acme.example", "email": ADA, "email_verified": True}
HD = ("hd (ID token)", "in email_domains")

Claims = dict[str, Any]


def verified(id_token: Claims, userinfo: Claims | None = None) -> PersonClaims:
    return PersonClaims(UnverifiedIdToken(id_token, ISSUER, "1076"), userinfo)


def decide(id_token: Claims, userinfo: Claims | None = None) -> EmailDecision:
    return GOOGLE.decide_email(verified(id_token, userinfo), RULES)


def considered(decision: EmailDecision) -> list[tuple[str, str]]:
    return [(one.claim, one.verdict) for one in decision.considered]


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize(
    ("id_token", "userinfo", "source"),
    [
        pytest.param(GOOD, None, "email (ID token)", id="all in the ID token"),
        pytest.param({**GOOD, "hd": "ACME.example"}, None, "email (ID token)", id="hd in another case"),
        pytest.param({**GOOD, "hd": "acme-labs.example"}, None, "email (ID token)", id="a second domain of theirs"),
        pytest.param(
            {"hd": "acme.example"}, {"email": ADA, "email_verified": True}, "email (userinfo)", id="userinfo verifies"
        ),
    ],
)
def test_a_verified_address_of_a_managed_account_is_taken(
    id_token: Claims, userinfo: Claims | None, source: str
) -> None:
    decision = decide(id_token, userinfo)
    assert (decision.email, decision.email_from, decision.refusal) == (ADA, source, None)
    assert (considered(decision)[0], considered(decision)[-1]) == (HD, (source, "taken: email_verified is true"))


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize(
    ("id_token", "userinfo", "verdict"),
    [
        pytest.param(
            {"email": ADA, "email_verified": True}, None, "absent: no Workspace account", id="a consumer account"
        ),
        pytest.param({**GOOD, "hd": "other.example"}, None, "not in email_domains", id="another organisation"),
        pytest.param({**GOOD, "hd": "sub.acme.example"}, None, "not in email_domains", id="a subdomain"),
        pytest.param({**GOOD, "hd": ""}, None, "not in email_domains", id="an empty hd"),
        pytest.param({**GOOD, "hd": ["acme.example"]}, None, "absent: no Workspace account", id="a list"),
        pytest.param({**GOOD, "hd": None}, None, "absent: no Workspace account", id="null"),
        pytest.param(
            {"email": ADA, "email_verified": True}, GOOD, "absent: no Workspace account", id="hd at userinfo alone"
        ),
    ],
)
def test_an_account_nobody_of_ours_manages_is_refused_whatever_its_address(
    id_token: Claims, userinfo: Claims | None, verdict: str
) -> None:
    decision = decide(id_token, userinfo)
    assert decision.email is None
    assert isinstance(decision.refusal, HostedDomainNotAllowed)
    assert considered(decision) == [("hd (ID token)", verdict)]


@pytest.mark.requirement("S-23", "S-25")
@pytest.mark.parametrize(
    ("claims", "error", "last"),
    [
        pytest.param({"email_verified": False}, EmailUnverified, "not taken: email_verified: false", id="unverified"),
        pytest.param({"email_verified": "True"}, EmailUnverified, 'not taken: email_verified: "True"', id="a text"),
        pytest.param({"email_verified": None}, EmailUnverified, "not taken: email_verified: absent", id="null"),
        pytest.param({"email": None}, EmailMissing, "absent", id="no address"),
        pytest.param({"email": "ada"}, EmailMalformed, "not taken: no plain e-mail address", id="no mailbox"),
    ],
)
def test_a_managed_account_still_needs_a_verified_address(claims: Claims, error: type[Exception], last: str) -> None:
    decision = decide({**GOOD, **claims})
    assert type(decision.refusal) is error
    assert considered(decision) == [HD, ("email (ID token)", last)]


def test_the_text_true_verifies_a_managed_account() -> None:
    assert decide({**GOOD, "email_verified": "true"}).email == GOOD["email"]


def test_two_documents_with_two_addresses_are_refused() -> None:
    decision = decide(GOOD, {"email": "eve@acme.example", "email_verified": True})
    assert isinstance(decision.refusal, EmailContradicts)
    assert {verdict for _, verdict in considered(decision)[1:]} == {"not taken: the documents name different addresses"}


@pytest.mark.requirement("S-26")
def test_the_name_is_googles_and_falls_back_to_the_address() -> None:
    named = decide_identity(GOOGLE, verified({**GOOD, "name": "Ada Lovelace"}), RULES)
    nameless = decide_identity(GOOGLE, verified({**GOOD, "preferred_username": "eve"}), RULES)
    assert (named.name, named.name_from) == ("Ada Lovelace", "name")
    assert (nameless.name, nameless.name_from) == ("ada", "the e-mail address")


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize(
    ("iss", "expected"),
    [
        pytest.param(ISSUER, ISSUER, id="with the scheme"),
        pytest.param("accounts.google.com", "accounts.google.com", id="without it, as older tokens say"),
        pytest.param("http://accounts.google.com", ISSUER, id="another scheme is compared with the first"),
        pytest.param("accounts.google.com/", ISSUER, id="so is a slash"),
        pytest.param(None, ISSUER, id="so is nothing"),
        pytest.param(["accounts.google.com"], ISSUER, id="so is a list"),
    ],
)
def test_google_may_spell_its_issuer_in_two_ways(iss: object, expected: str) -> None:
    google = registration(issuer=ISSUER, metadata_issuer=ISSUER)
    assert GOOGLE.expected_issuer(google, {"iss": iss}, RULES, key_issuer=None) == expected


@pytest.mark.parametrize("kind", ["okta", "oidc"])
def test_no_other_kind_knows_two_spellings(kind: str) -> None:
    google = registration(issuer=ISSUER, metadata_issuer=ISSUER)
    assert KINDS[kind].expected_issuer(google, {"iss": "accounts.google.com"}, RULES, key_issuer=None) == ISSUER


@pytest.mark.parametrize(
    ("domains", "hint"),
    [
        pytest.param({"acme.example"}, "acme.example", id="the only domain"),
        pytest.param({"acme.example", "acme-labs.example"}, "*", id="any managed account, where there are several"),
    ],
)
def test_the_account_chooser_is_given_a_hint(domains: set[str], hint: str) -> None:
    assert GOOGLE.parameters(frozenset(domains)) == {"hd": hint}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param("org_internal: restricted to its organization", "internal", id="an internal application"),
        pytest.param("admin_policy_enforced", "API controls", id="the Workspace admin forbids it"),
        pytest.param("access_denied", "test user", id="cancelled, or no test user"),
    ],
)
def test_a_refusal_of_google_has_its_remedy(said: str, words: str) -> None:
    assert words in (GOOGLE.remedy(said) or "")


def test_a_refusal_nobody_knows_has_none() -> None:
    assert GOOGLE.remedy("something_new") is None
