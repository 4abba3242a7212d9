"""Okta: silence about verification is accepted, a denial is not; and what its refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import EmailContradicts, EmailMalformed, EmailMissing, EmailUnverified
from broker.providers import KINDS, ClaimRules, EmailDecision, PersonClaims, UnverifiedIdToken, decide_identity

ADA = "ada@acme.example"
OKTA = KINDS["okta"]
ABSENT = ("email (ID token)", "absent")

Claims = dict[str, Any]


def verified(id_token: Claims, userinfo: Claims | None) -> PersonClaims:
    return PersonClaims(UnverifiedIdToken(id_token, "https://acme.okta.com", "00u-ada"), userinfo)


def decide(id_token: Claims, userinfo: Claims | None, **rules: Any) -> EmailDecision:
    return OKTA.decide_email(verified(id_token, userinfo), ClaimRules(**rules))


def considered(decision: EmailDecision) -> list[tuple[str, str]]:
    return [(one.claim, one.verdict) for one in decision.considered]


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    ("id_token", "userinfo", "looked_at"),
    [
        pytest.param(
            {},
            {"email": "Ada@Acme.Example", "email_verified": True},
            [ABSENT, ("email (userinfo)", "taken: email_verified is true")],
            id="a thin ID token, verified at userinfo, as the org server answers",
        ),
        pytest.param(
            {},
            {"email": ADA},
            [ABSENT, ("email (userinfo)", "taken: email_verified is absent, which this kind of provider accepts")],
            id="a thin ID token, nothing said, as a custom server answers",
        ),
        pytest.param(
            {"email": ADA},
            None,
            [("email (ID token)", "taken: email_verified is absent, which this kind of provider accepts")],
            id="in the ID token, userinfo not asked",
        ),
        pytest.param(
            {"email": ADA},
            {"email": ADA, "email_verified": True},
            [("email (userinfo)", "taken: email_verified is true")],
            id="in both, verified by one",
        ),
    ],
)
def test_an_address_okta_does_not_deny_is_taken(
    id_token: Claims, userinfo: Claims | None, looked_at: list[tuple[str, str]]
) -> None:
    decision = decide(id_token, userinfo)
    assert (decision.email, decision.refusal) == (ADA, None)
    assert decision.email_from == looked_at[-1][0]
    assert considered(decision) == looked_at


@pytest.mark.parametrize("said", ["true", None], ids=["the text true", "null"])
@pytest.mark.parametrize("place", ["ID token", "userinfo"])
def test_the_text_true_is_true_and_null_is_silence(place: str, said: object) -> None:
    claims = {"email": ADA, "email_verified": said}
    decision = decide(claims, None) if place == "ID token" else decide({}, claims)
    assert decision.email_from == f"email ({place})"


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize("said", [False, "True", "false", 1, 0, [True]], ids=repr)
@pytest.mark.parametrize("place", ["ID token", "userinfo"])
def test_anything_but_true_or_silence_refuses(place: str, said: object) -> None:
    claims = {"email": ADA, "email_verified": said}
    decision = decide(claims, None) if place == "ID token" else decide({}, claims)
    assert decision.email is None
    assert isinstance(decision.refusal, EmailUnverified)
    assert decision.considered[-1].claim == f"email ({place})"
    assert decision.considered[-1].verdict.startswith("not taken: email_verified: ")


@pytest.mark.parametrize(
    ("id_token", "userinfo", "error", "looked_at"),
    [
        pytest.param({}, {}, EmailMissing, [ABSENT, ("email (userinfo)", "absent")], id="no address at all"),
        pytest.param({"email": ""}, None, EmailMissing, [ABSENT], id="an empty one"),
        pytest.param(
            {"preferred_username": ADA}, {"preferred_username": ADA}, EmailMissing,
            [ABSENT, ("email (userinfo)", "absent")], id="a user name, which is no address",
        ),
        pytest.param(
            {"email": ADA}, {"email": "eve@acme.example"}, EmailContradicts,
            [
                ("email (ID token)", "not taken: the documents name different addresses"),
                ("email (userinfo)", "not taken: the documents name different addresses"),
            ],
            id="two different ones",
        ),
        pytest.param(
            {}, {"email": "ada@acme"}, EmailMalformed,
            [ABSENT, ("email (userinfo)", "not taken: no plain e-mail address")], id="no mailbox",
        ),
        pytest.param(
            {"email": ADA, "email_verified": True}, {"email": ADA, "email_verified": False}, EmailUnverified,
            [("email (userinfo)", "not taken: email_verified: false")], id="verified by one, denied by the other",
        ),
    ],
)  # fmt: skip
def test_otherwise_the_refusal_says_what_was_looked_at(
    id_token: Claims, userinfo: Claims | None, error: type[Exception], looked_at: list[tuple[str, str]]
) -> None:
    decision = decide(id_token, userinfo)
    assert (decision.email, decision.email_from) == (None, "")
    assert type(decision.refusal) is error
    assert considered(decision) == looked_at


def test_another_claim_can_hold_the_address() -> None:
    decision = decide({}, {"email": "eve@acme.example", "login": ADA}, email_claim="login")
    assert (decision.email, decision.email_from) == (ADA, "login (userinfo)")


@pytest.mark.parametrize(
    ("userinfo", "name"),
    [
        pytest.param({"name": "Ada Lovelace", "given_name": "Eve"}, ("Ada Lovelace", "name"), id="name"),
        pytest.param(
            {"given_name": "Ada", "family_name": "Lovelace"}, ("Ada Lovelace", "given_name family_name"), id="two parts"
        ),
        pytest.param({"preferred_username": "ada.l"}, ("ada", "the e-mail address"), id="a user name is no name"),
        pytest.param({}, ("ada", "the e-mail address"), id="none"),
    ],
)
def test_the_name_falls_back(userinfo: Claims, name: tuple[str, str]) -> None:
    identity = decide_identity(OKTA, verified({}, {"email": ADA, **userinfo}), ClaimRules())
    assert (identity.name, identity.name_from) == name


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param("access_denied: User is not assigned to the client application.", "Assignments", id="assigned"),
        pytest.param("access_denied: Policy evaluation failed for this request", "Access Policies", id="server policy"),
        pytest.param("access_denied: The resource owner denied by POLICY.", "app sign-in policy", id="app policy"),
    ],
)
def test_a_refusal_of_okta_has_its_remedy(said: str, words: str) -> None:
    assert words in (OKTA.remedy(said) or "")


def test_a_refusal_nobody_knows_has_none() -> None:
    assert OKTA.remedy("access_denied: User did something new") is None
