"""Who may enter: domains as they are written, groups if they are demanded (S-20)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import EmailDomainNotAllowed, GroupNotAllowed, NotAdmitted
from broker.identity import ClaimRules, Identity, admit

DOMAINS = frozenset({"acme.example", "acme-labs.example"})


def person(email: str = "ada@acme.example") -> Identity:
    return Identity(email, "email (ID token)", "Ada", "name", "00u-ada", "https://idp.example")


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize("email", ["ada@acme.example", "ada@acme-labs.example"])
def test_an_address_of_the_providers_domains_enters(email: str) -> None:
    admit(person(email), ClaimRules(email_domains=DOMAINS), groups=None)


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize(
    "email",
    [
        pytest.param("ada@evil.example", id="another domain"),
        pytest.param("ada@mail.acme.example", id="a subdomain"),
        pytest.param("ada@example", id="the parent"),
        pytest.param("ada@evilacme.example", id="one that ends like it"),
        pytest.param("ada@acme.example.evil.example", id="one that begins like it"),
        pytest.param("acme.example@evil.example", id="the domain in front of the @"),
        pytest.param("ada@acme-example", id="a hyphen for the dot"),
    ],
)
def test_an_address_of_another_domain_is_refused(email: str) -> None:
    """Subdomains are not implied."""
    with pytest.raises(EmailDomainNotAllowed) as refusal:
        admit(person(email), ClaimRules(email_domains=DOMAINS), groups=None)
    assert refusal.value.expected == sorted(DOMAINS)
    assert refusal.value.got == email.partition("@")[2]


@pytest.mark.requirement("S-20")
def test_a_subdomain_that_is_listed_does_not_let_its_parent_in() -> None:
    policy = ClaimRules(email_domains=frozenset({"mail.acme.example"}))
    admit(person("ada@mail.acme.example"), policy, groups=None)
    with pytest.raises(EmailDomainNotAllowed):
        admit(person("ada@acme.example"), policy, groups=None)


@pytest.mark.requirement("S-20")
def test_a_provider_without_domains_lets_nobody_in() -> None:
    with pytest.raises(EmailDomainNotAllowed):
        admit(person(), ClaimRules(), groups=None)


GROUPS = ClaimRules(email_domains=DOMAINS, allowed_groups=frozenset({"agents", "supervisors"}))


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(["agents"], id="one of them"),
        pytest.param(["staff", "supervisors"], id="among others"),
        pytest.param("agents", id="a text alone"),
        pytest.param(["agents", 7, None, ["x"], {"a": 1}], id="among odd ones"),
    ],
)
def test_a_member_of_an_allowed_group_enters(groups: object) -> None:
    admit(person(), GROUPS, groups=groups)


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(None, id="no claim"),
        pytest.param([], id="an empty list"),
        pytest.param(["staff"], id="another group"),
        pytest.param(["Agents"], id="another case"),
        pytest.param(["agents "], id="white space"),
        pytest.param("agents,staff", id="two in one text"),
        pytest.param("agents staff", id="two in one text, by a space"),
        pytest.param("agent", id="the beginning of one"),
        pytest.param([["agents"]], id="a list in a list"),
        pytest.param([{"name": "agents"}], id="objects"),
        pytest.param({"agents": True}, id="an object"),
        pytest.param(True, id="true"),
        pytest.param(7, id="a number"),
        pytest.param("", id="an empty text"),
    ],
)
def test_who_is_in_no_allowed_group_is_refused(groups: object) -> None:
    with pytest.raises(GroupNotAllowed):
        admit(person(), GROUPS, groups=groups)


def test_where_no_group_is_demanded_none_is_looked_at() -> None:
    for groups in (None, [], ["anything"], 7, {"a": [1]}):
        admit(person(), ClaimRules(email_domains=DOMAINS), groups=groups)


def test_the_domain_is_judged_before_the_group() -> None:
    with pytest.raises(EmailDomainNotAllowed):
        admit(person("ada@evil.example"), GROUPS, groups=["agents"])


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(_ODD)
def test_any_groups_claim_is_judged_and_never_raises_anything_else(groups: object) -> None:
    try:
        admit(person(), GROUPS, groups=groups)
    except NotAdmitted:
        return
    assert groups in ("agents", "supervisors") or (
        isinstance(groups, list) and {"agents", "supervisors"} & _texts(groups)
    )


def _texts(groups: list[object]) -> set[str]:
    return {group for group in groups if isinstance(group, str)}
