"""Which address a provider's documents vouch for, and which name goes with it (S-20 to S-26)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import (
    BrokerError,
    EmailContradicts,
    EmailMalformed,
    EmailMissing,
    EmailUnverified,
    InvalidProviderResponse,
    NotAdmitted,
)
from broker.identity import Identity
from broker.providers import KINDS, ClaimRules, PersonClaims, UnverifiedIdToken, decide_identity

ADA, EVE = "ada@acme.example", "eve@acme.example"
STRICT = ClaimRules()
TRUSTING = ClaimRules(trust_unverified_email=True)

Claims = dict[str, Any]


def decide(id_token: Claims, userinfo: Claims | None = None, rules: ClaimRules = STRICT) -> Identity:
    verified = PersonClaims(UnverifiedIdToken(id_token, "https://idp.example", "00u-ada"), userinfo)
    return decide_identity(KINDS["oidc"], verified, rules)


def verified(email: object = ADA, **more: object) -> Claims:
    return {"email": email, "email_verified": True, **more}


def test_the_identity_says_who_vouches_and_where_each_part_came_from() -> None:
    assert decide({"sub": "00u-ada"}, verified("Ada@Acme.Example", name="Ada Lovelace")) == Identity(
        email=ADA,
        email_from="email (userinfo)",
        name="Ada Lovelace",
        name_from="name",
        subject="00u-ada",
        issuer="https://idp.example",
    )


@pytest.mark.parametrize(
    ("id_token", "userinfo", "source"),
    [
        pytest.param(verified(), None, "email (ID token)", id="in the ID token, userinfo not asked"),
        pytest.param(verified(), {}, "email (ID token)", id="in the ID token alone"),
        pytest.param({}, verified(), "email (userinfo)", id="in userinfo alone"),
        pytest.param(verified(), verified(), "email (ID token)", id="in both"),
        pytest.param(verified(), verified("ADA@acme.example"), "email (ID token)", id="in both, in another case"),
        pytest.param({"email": ADA}, verified(), "email (userinfo)", id="in both, vouched for by userinfo"),
        pytest.param(verified(), {"email": ADA}, "email (ID token)", id="in both, vouched for by the ID token"),
        pytest.param({"email": None}, verified(), "email (userinfo)", id="null in the ID token"),
        pytest.param({"email": ""}, verified(), "email (userinfo)", id="empty in the ID token"),
    ],
)
def test_a_verified_address_is_taken_from_the_document_that_vouches(
    id_token: Claims, userinfo: Claims | None, source: str
) -> None:
    identity = decide(id_token, userinfo)
    assert (identity.email, identity.email_from) == (ADA, source)


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    "said",
    [
        pytest.param("True", id="the text True"),
        pytest.param("TRUE", id="the text TRUE"),
        pytest.param("true ", id="the text true and a space"),
        pytest.param("yes", id="the text yes"),
        pytest.param("1", id="the text 1"),
        pytest.param(1, id="one"),
        pytest.param(1.0, id="one, as a float"),
        pytest.param([True], id="a list"),
        pytest.param({"value": True}, id="an object"),
        pytest.param(None, id="null"),
        pytest.param(False, id="false"),
        pytest.param("false", id="the text false"),
        pytest.param(0, id="zero"),
        pytest.param("", id="empty"),
    ],
)
@pytest.mark.vulnerability("CVE-2023-3128")
def test_only_true_verifies(said: object) -> None:
    claims = {"email": ADA, "email_verified": said}
    with pytest.raises(EmailUnverified):
        decide(claims)
    with pytest.raises(EmailUnverified):
        decide({}, claims)


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    ("id_token", "userinfo"),
    [
        pytest.param({"email": ADA}, None, id="nothing is said"),
        pytest.param({"email": ADA}, {"email_verified": True}, id="said in userinfo of an address in the ID token"),
        pytest.param({"email_verified": True}, {"email": ADA}, id="said in the ID token of an address in userinfo"),
        pytest.param({"email": ADA, "email_verified": False}, verified(), id="denied by the ID token"),
        pytest.param({"email_verified": False}, verified(), id="denied by an ID token without an address"),
        pytest.param(verified(), {"email_verified": False}, id="denied by userinfo without an address"),
        pytest.param(verified(), {"email": ADA, "email_verified": False}, id="denied by userinfo"),
        pytest.param(verified(), {"email": ADA, "email_verified": "false"}, id="denied by userinfo as a text"),
        pytest.param({"email": ADA, "email_verified": "false"}, verified(), id="denied by the ID token as a text"),
        pytest.param({"email": ADA, "email_verified": 1}, verified(), id="odd in the ID token"),
        pytest.param({"email": ADA}, {"email": ADA, "email_verified": "True"}, id="odd in userinfo, nothing signed"),
        pytest.param({"email_verified": True}, {"email": ADA, "email_verified": 1}, id="signed of no address"),
    ],
)
def test_the_word_and_the_address_must_be_in_one_document_and_nobody_may_deny_it(
    id_token: Claims, userinfo: Claims | None
) -> None:
    """E-mail and `email_verified` come from the same document."""
    with pytest.raises(EmailUnverified):
        decide(id_token, userinfo)


TEXT_TRUE: Claims = {"email": ADA, "email_verified": "true"}


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    ("id_token", "userinfo", "source"),
    [
        pytest.param(TEXT_TRUE, None, "email (ID token)", id="in the ID token alone"),
        pytest.param({}, TEXT_TRUE, "email (userinfo)", id="in userinfo alone"),
        pytest.param(verified(), TEXT_TRUE, "email (ID token)", id="beside a signed true, as Cognito sends both"),
        pytest.param(TEXT_TRUE, verified(), "email (ID token)", id="signed, beside true"),
        pytest.param({"email": ADA}, TEXT_TRUE, "email (userinfo)", id="vouched for by userinfo"),
    ],
)
def test_the_text_true_verifies(id_token: Claims, userinfo: Claims | None, source: str) -> None:
    assert decide(id_token, userinfo).email_from == source


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize("odd", [None, 1, 0, "True", "yes", "", [True], {}], ids=repr)
@pytest.mark.parametrize("address", [{}, {"email": ADA}], ids=["without the address", "with the address"])
def test_what_is_neither_true_nor_false_in_userinfo_never_outweighs_a_signed_true(odd: object, address: Claims) -> None:
    assert decide(verified(), {**address, "email_verified": odd}).email_from == "email (ID token)"


@pytest.mark.parametrize(
    ("claims", "got"),
    [
        pytest.param({"email": ADA}, "email_verified: absent", id="absent"),
        pytest.param({"email": ADA, "email_verified": 1}, "email_verified: 1", id="a number"),
        pytest.param({"email": ADA, "email_verified": "yes"}, 'email_verified: "yes"', id="a text"),
        pytest.param({"email": ADA, "email_verified": False}, "email_verified: false", id="false"),
    ],
)
def test_what_was_said_is_named_with_a_remedy(claims: Claims, got: str) -> None:
    with pytest.raises(EmailUnverified) as refusal:
        decide(claims)
    assert refusal.value.got == got
    assert "userinfo: when_needed" in refusal.value.remedy


@pytest.mark.requirement("S-23", "S-21", "S-22")
@pytest.mark.parametrize("rules", [STRICT, TRUSTING], ids=["strict", "trusting"])
@pytest.mark.parametrize(
    ("id_token", "userinfo", "error"),
    [
        pytest.param({}, None, EmailMissing, id="no document has one"),
        pytest.param({}, {}, EmailMissing, id="neither document has one"),
        pytest.param({"email": None}, {"email": ""}, EmailMissing, id="null and empty"),
        pytest.param({"preferred_username": ADA, "upn": ADA}, {}, EmailMissing, id="other claims are no address"),
        pytest.param({"emails": [ADA]}, {}, EmailMissing, id="emails is another claim"),
        pytest.param({"Email": ADA}, {}, EmailMissing, id="another case is another claim"),
        pytest.param(verified(), verified(EVE), EmailContradicts, id="two addresses"),
        pytest.param(verified(), {"email": EVE}, EmailContradicts, id="two addresses, one verified"),
        pytest.param({"email": EVE}, verified(), EmailContradicts, id="two addresses, the other verified"),
        pytest.param(verified([ADA]), None, EmailMalformed, id="a list"),
        pytest.param(verified([]), None, EmailMalformed, id="an empty list"),
        pytest.param(verified({"value": ADA}), None, EmailMalformed, id="an object"),
        pytest.param(verified(7), None, EmailMalformed, id="a number"),
        pytest.param(verified(False), None, EmailMalformed, id="false"),
        pytest.param(verified("ada@eve@acme.example"), None, EmailMalformed, id="two @"),
        pytest.param(verified(f"{EVE},{ADA}"), None, EmailMalformed, id="two addresses in one"),
        pytest.param(verified(f"{ADA}\r\nBcc: {EVE}"), None, EmailMalformed, id="a header"),
        pytest.param(verified("\u212aate@acme.example"), None, EmailMalformed, id="a Kelvin sign"),
        pytest.param(verified("ada@acme.example "), verified(), EmailMalformed, id="malformed beside a good one"),
        pytest.param(verified(), verified("ada"), EmailMalformed, id="good beside a malformed one"),
    ],
)
def test_there_is_no_address_to_believe_in(
    id_token: Claims, userinfo: Claims | None, error: type[BrokerError], rules: ClaimRules
) -> None:
    """Nor does trust in unverified addresses make one."""
    with pytest.raises(error):
        decide(id_token, userinfo, rules)


@pytest.mark.parametrize("said", [..., None, False, "false", True], ids=["nothing", "null", "false", "text", "true"])
def test_trust_in_unverified_addresses_asks_for_no_word(said: object) -> None:
    claims = {"email": ADA} if said is ... else {"email": ADA, "email_verified": said}
    assert decide(claims, None, TRUSTING).email == ADA
    assert decide({}, claims, TRUSTING).email_from == "email (userinfo)"


MAIL = ClaimRules(email_claim="mail")


@pytest.mark.parametrize(
    ("id_token", "userinfo", "source"),
    [
        pytest.param(
            {"mail": ADA, "email": ADA, "email_verified": True}, None, "mail (ID token)", id="in the ID token"
        ),
        pytest.param({}, {"mail": ADA, **verified()}, "mail (userinfo)", id="in userinfo"),
        pytest.param({"mail": ADA, **verified("ADA@acme.example")}, None, "mail (ID token)", id="in another case"),
    ],
)
def test_another_claim_counts_if_the_verified_address_is_the_same(
    id_token: Claims, userinfo: Claims | None, source: str
) -> None:
    identity = decide(id_token, userinfo, MAIL)
    assert (identity.email, identity.email_from) == (ADA, source)


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"mail": ADA, "email_verified": True}, id="no standard claim it could speak of"),
        pytest.param({"mail": ADA, **verified(EVE)}, id="the verified address is another"),
        pytest.param({"mail": ADA, **verified([ADA])}, id="the verified address is a list"),
        pytest.param({"mail": "kate@acme.example", **verified("\u212aate@acme.example")}, id="equal by lower() alone"),
        pytest.param({"mail": ADA, "mail_verified": True}, id="a claim nobody defined"),
    ],
)
def test_email_verified_speaks_of_the_standard_claim_alone(claims: Claims) -> None:
    """OpenID Connect Core, section 5.1."""
    with pytest.raises(EmailUnverified):
        decide(claims, None, MAIL)
    assert decide(claims, None, ClaimRules(email_claim="mail", trust_unverified_email=True)).email_from.startswith(
        "mail"
    )


def test_where_another_claim_is_chosen_the_standard_one_is_no_substitute() -> None:
    with pytest.raises(EmailMissing) as refusal:
        decide(verified(), None, MAIL)
    assert refusal.value.expected == "the claim mail"


@pytest.mark.requirement("S-26")
@pytest.mark.parametrize(
    ("claims", "name", "source"),
    [
        pytest.param({"name": "Ada Lovelace", "given_name": "A"}, "Ada Lovelace", "name", id="name"),
        pytest.param({"name": " Ada\u202e "}, "Ada", "name", id="name, cleaned"),
        pytest.param(
            {"given_name": "Ada", "family_name": "Lovelace"}, "Ada Lovelace", "given_name family_name", id="both"
        ),
        pytest.param({"given_name": "Ada"}, "Ada", "given_name family_name", id="given name alone"),
        pytest.param({"family_name": "Lovelace"}, "Lovelace", "given_name family_name", id="family name alone"),
        pytest.param({"name": None, "given_name": "Ada"}, "Ada", "given_name family_name", id="name is null"),
        pytest.param({"name": "", "given_name": "Ada"}, "Ada", "given_name family_name", id="name is empty"),
        pytest.param({"name": "\u200b\x00"}, "ada", "the e-mail address", id="name is invisible"),
        pytest.param(
            {"name": "\u3164\u2800", "given_name": "Ada"}, "Ada", "given_name family_name", id="name is blank"
        ),
        pytest.param({"name": "\ufe0f", "given_name": "\u115f"}, "ada", "the e-mail address", id="all are blank"),
        pytest.param({"name": ["Ada"]}, "ada", "the e-mail address", id="name is a list"),
        pytest.param({"name": {"formatted": "Ada"}}, "ada", "the e-mail address", id="name is an object"),
        pytest.param({"name": 7, "given_name": [], "family_name": {}}, "ada", "the e-mail address", id="all are odd"),
        pytest.param({"preferred_username": "lovelace"}, "ada", "the e-mail address", id="other claims are no name"),
        pytest.param({}, "ada", "the e-mail address", id="nothing"),
        pytest.param({"name": "x" * 500}, "x" * 100, "name", id="far too long"),
        pytest.param(
            {"given_name": "x" * 90, "family_name": "y" * 90},
            "x" * 90 + " " + "y" * 9,
            "given_name family_name",
            id="too long together",
        ),
    ],
)
def test_the_name_falls_back_to_the_address(claims: Claims, name: str, source: str) -> None:
    for documents in ((verified(**claims), None), (verified(), claims)):
        identity = decide(*documents)
        assert (identity.name, identity.name_from) == (name, source)


def test_the_signed_document_is_asked_first_for_a_name() -> None:
    assert decide(verified(name="Ada"), {"name": "Eve"}).name == "Ada"
    assert decide(verified(name=None), {"name": "Ada"}).name == "Ada"


def test_another_claim_can_be_the_name() -> None:
    rules = ClaimRules(name_claim="display")
    assert decide(verified(name="Eve", display="Ada"), None, rules).name_from == "display"
    assert decide(verified(name="Eve"), None, rules).name == "ada"


@pytest.mark.requirement("S-26")
def test_a_name_is_never_the_address() -> None:
    """Never an identity."""
    identity = decide(verified(name=EVE))
    assert (identity.email, identity.name) == (ADA, EVE)


_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [ADA, EVE, "ADA@acme.example", "", True, False, None, "true", "false", 1, [], [ADA], {}, "Ada"]
)
_CLAIMS = st.dictionaries(st.sampled_from(["email", "email_verified", "name", "given_name", "mail"]), _VALUES)


@pytest.mark.requirement("S-23")
@settings(deadline=None, max_examples=500)
@given(_CLAIMS, st.none() | _CLAIMS, st.sampled_from([STRICT, MAIL]))
def test_whoever_is_believed_has_an_address_one_document_verifies_and_none_denies(
    id_token: Claims, userinfo: Claims | None, rules: ClaimRules
) -> None:
    try:
        identity = decide(id_token, userinfo, rules)
    except (NotAdmitted, InvalidProviderResponse):
        return
    claim = rules.email_claim or "email"
    offering = [claims for claims in (id_token, userinfo or {}) if claims.get(claim) not in (None, "")]
    assert {str(claims[claim]).lower() for claims in offering} == {identity.email}
    assert any(
        claims.get("email_verified") in (True, "true") and str(claims.get("email")).lower() == identity.email
        for claims in offering
    )
    assert all(claims.get("email_verified", True) not in (False, "false") for claims in (id_token, userinfo or {}))
    assert identity.name


@pytest.mark.parametrize(
    ("claims", "got", "remedy"),
    [
        pytest.param({}, "email_verified: absent", "does not send email_verified", id="absent"),
        pytest.param({"email_verified": None}, "email_verified: absent", "does not send email_verified", id="null"),
        pytest.param({"email_verified": 1}, "email_verified: 1", "neither true nor false", id="a number"),
        pytest.param(
            {"email_verified": [True]}, "email_verified: an array or object", "neither true nor false", id="an array"
        ),
        pytest.param({"email_verified": "yes"}, 'email_verified: "yes"', "neither true nor false", id="another text"),
        pytest.param({"email_verified": False}, "email_verified: false", "The provider must send", id="a no"),
    ],
)
def test_a_refusal_tells_a_claim_that_is_absent_from_one_with_an_odd_value(
    claims: Claims, got: str, remedy: str
) -> None:
    with pytest.raises(EmailUnverified) as refused:
        decide({"email": ADA, **claims})
    assert refused.value.got == got
    assert remedy in refused.value.remedy
    assert "The provider must send email_verified: true" in refused.value.remedy
