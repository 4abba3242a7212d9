"""Okta, Entra ID and Google through the whole broker: who gets in, who does not, and what the admin is told."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from broker.errors import (
    BrokerError,
    CallbackIssuer,
    EmailUnverified,
    GroupNotAllowed,
    GroupsOverage,
    GuestNotAllowed,
    HostedDomainNotAllowed,
    IdTokenAuthTime,
    IdTokenIssuer,
    TenantNotAllowed,
)
from broker.identity import NO_GROUPS_SENT
from tests.fakes.clock import START
from tests.fakes.kinds import OTHER, TENANT, use_kind, use_several_tenants
from tests.fakes.lies import Lies, with_
from tests.fakes.world import BROKER, PAGE, World, assert_refused

ENTRA_CONTEXT = '{"id_token":{"acrs":{"essential":true,"value":"c1"}}}'
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
ADA = "ada@acme.example"
ELSEWHERE = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://idp.example/groups"}}}
IN_AGENTS = {"groups_claim": "groups", "allowed_groups": ["agents"]}
AN_AGENT = {"groups_claim": "roles", "allowed_groups": ["agents"]}
VERIFIED = {"email": ADA, "email_verified": True, "name": "Ada Lovelace"}

Log = io.StringIO


def lines(log: Log, event: str = "sign-in") -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


@pytest.mark.parametrize(
    ("kind", "claims", "email_from", "userinfo"),
    [
        pytest.param("okta", {"email": ADA, "name": "Ada Lovelace"}, "email (userinfo)", 1, id="Okta"),
        pytest.param("entra", {"preferred_username": ADA, "email": ADA, "name": "Ada Lovelace"},
                     "preferred_username (ID token)", 0, id="Entra, a member"),
        pytest.param("entra", {"preferred_username": ADA, "name": "Ada Lovelace"},
                     "preferred_username (ID token)", 0, id="Entra, without mail: the user principal name does"),
        pytest.param("google", {**VERIFIED, "hd": "acme.example"}, "email (ID token)", 0, id="Google"),
    ],
)  # fmt: skip
async def test_a_person_of_the_organisation_gets_in(
    world: World, log: Log, kind: str, claims: dict[str, Any], email_from: str, userinfo: int
) -> None:
    use_kind(world, kind, claims)
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert str(page.url) == PAGE
    assert ADA in page.text
    assert lines(log)[0]["email_from"] == email_from
    assert world.provider.count("/userinfo") == userinfo


NO_NAME = {"email": ADA, "email_verified": True, "hd": "acme.example", "preferred_username": ADA}


@pytest.mark.parametrize(
    ("kind", "claims", "setting", "asked"),
    [
        pytest.param("oidc", VERIFIED, {}, 1, id="OpenID, by default: always"),
        pytest.param("oidc", VERIFIED, {"userinfo": "when_needed"}, 0, id="OpenID, not needed"),
        pytest.param("oidc", NO_NAME, {"userinfo": "when_needed"}, 1, id="OpenID, no name"),
        pytest.param("oidc", VERIFIED, {"userinfo": "never"}, 0, id="OpenID, never"),
        pytest.param("okta", VERIFIED, {"userinfo": "when_needed"}, 1, id="Okta, a thin ID token"),
        pytest.param("entra", {**NO_NAME, "name": "Ada"}, {}, 0, id="Entra, by default: not needed"),
        pytest.param("entra", NO_NAME, {}, 1, id="Entra, no name"),
        pytest.param("entra", NO_NAME, {"userinfo": "never"}, 0, id="Entra, never"),
        pytest.param("entra", {**NO_NAME, "name": "Ada"}, {"userinfo": "always"}, 1, id="Entra, always"),
        pytest.param("google", {**NO_NAME, "name": "Ada"}, {}, 0, id="Google, by default: not needed"),
        pytest.param("google", NO_NAME, {}, 1, id="Google, no name"),
        pytest.param("google", {**NO_NAME, "name": "Ada"}, {"userinfo": "always"}, 1, id="Google, always"),
    ],
)
async def test_userinfo_is_asked_as_often_as_the_setting_says(
    world: World, kind: str, claims: dict[str, Any], setting: dict[str, str], asked: int
) -> None:
    use_kind(world, kind, claims, **setting)
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert str(page.url) == PAGE
    assert world.provider.count("/userinfo") == asked


@pytest.mark.requirement("S-14", "S-24")
async def test_a_person_of_a_listed_tenant_gets_in(world: World) -> None:
    use_several_tenants(world, OTHER, email=ADA, xms_edov=True)
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert ADA in page.text


@pytest.mark.requirement("S-14", "S-25")
async def test_google_may_leave_the_scheme_out_of_its_issuer(world: World) -> None:
    use_kind(world, "google", {**VERIFIED, "hd": "acme.example"})
    world.provider.lies = Lies(claims=with_(iss="idp.example"))
    async with world.broker() as service:
        assert ADA in (await world.browser(service).sign_in(redirect_url=PAGE)).text


@pytest.mark.requirement("S-23", "S-24", "S-25")
@pytest.mark.parametrize(
    ("kind", "claims", "error"),
    [
        pytest.param("okta", {**VERIFIED, "email_verified": False}, EmailUnverified, id="Okta denies the address"),
        pytest.param("entra", {"email": ADA}, EmailUnverified, id="Entra, the mail attribute alone"),
        pytest.param(
            "entra", {"preferred_username": "a#EXT#@acme.example", "email": ADA}, GuestNotAllowed, id="Entra, a guest"
        ),
        pytest.param("google", VERIFIED, HostedDomainNotAllowed, id="Google, a consumer account"),
        pytest.param("google", {**VERIFIED, "hd": "b.example"}, HostedDomainNotAllowed, id="Google, an organisation"),
    ],
)  # fmt: skip
async def test_anybody_else_does_not(
    world: World, log: Log, kind: str, claims: dict[str, Any], error: type[BrokerError]
) -> None:
    use_kind(world, kind, claims)
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), error)
    assert (lines(log)[0]["code"], world.received) == (error.code, [])


@pytest.mark.requirement("S-14", "S-24")
@pytest.mark.parametrize(
    ("tenant", "claims", "lies", "error"),
    [
        pytest.param(
            TENANT, {"email": ADA, "preferred_username": ADA}, {}, EmailUnverified, id="nOAuth: nobody verified it"
        ),
        pytest.param(TENANT.replace("7", "8"), {"email": ADA, "xms_edov": True}, {}, TenantNotAllowed, id="not listed"),
        pytest.param(PERSONAL, {"email": ADA, "xms_edov": True}, {}, TenantNotAllowed, id="personal accounts"),
        pytest.param(
            TENANT, {"email": ADA, "xms_edov": True}, {"tid": OTHER}, IdTokenIssuer, id="iss and tid of two tenants"
        ),
        pytest.param(TENANT, {"email": ADA, "xms_edov": True}, {"tid": None}, IdTokenIssuer, id="no tenant"),
    ],
)  # fmt: skip
async def test_with_several_tenants_another_one_cannot_assert_our_people(
    world: World, tenant: str, claims: dict[str, Any], lies: dict[str, Any], error: type[BrokerError]
) -> None:
    use_several_tenants(world, tenant, **claims)
    honest = world.provider.lies
    world.provider.lies = Lies(discovery=honest.discovery, claims=lambda one: {**honest.claims(one), **lies})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), error)
    assert world.provider.count("/userinfo") == 0


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("several", [False, True], ids=["one tenant", "several tenants"])
async def test_a_key_of_personal_accounts_signs_for_no_organisation(world: World, several: bool) -> None:
    if several:
        use_several_tenants(world, TENANT, email=ADA, xms_edov=True)
    else:
        use_kind(world, "entra", {"preferred_username": ADA})
    issuer = f"https://entra.example/{PERSONAL}/v2.0"
    honest = world.provider.lies
    world.provider.lies = Lies(
        discovery=honest.discovery,
        claims=honest.claims,
        jwks=lambda keys: {"keys": [{**key, "issuer": issuer} for key in keys["keys"]]},
    )
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), IdTokenIssuer)


@pytest.mark.parametrize(
    ("claims", "keys", "error"),
    [
        pytest.param({"groups": ["agents", "x"]}, IN_AGENTS, None, id="in one of them"),
        pytest.param({"groups": "agents"}, IN_AGENTS, None, id="a single one, as a text"),
        pytest.param({"groups": ["Agents"]}, IN_AGENTS, GroupNotAllowed, id="in another case"),
        pytest.param({"groups": []}, IN_AGENTS, GroupNotAllowed, id="in none"),
        pytest.param({}, IN_AGENTS, GroupNotAllowed, id="nothing said"),
        pytest.param({"groups": {"agents": True}}, IN_AGENTS, GroupNotAllowed, id="an object"),
        pytest.param({"hasgroups": False}, IN_AGENTS, GroupNotAllowed, id="nothing said, and none left out"),
        pytest.param(ELSEWHERE, IN_AGENTS, GroupsOverage, id="too many, elsewhere"),
        pytest.param({"hasgroups": True}, IN_AGENTS, GroupsOverage, id="too many, not told where"),
        pytest.param({"hasgroups": "true"}, IN_AGENTS, GroupsOverage, id="likewise, as a text"),
        pytest.param({"groups": ["agents"], **ELSEWHERE}, IN_AGENTS, None, id="told all the same"),
        pytest.param(ELSEWHERE, {}, None, id="too many, and groups do not matter"),
        pytest.param({"hasgroups": True}, {"groups_claim": "groups"}, None, id="too many, with no group demanded"),
        pytest.param({"_claim_names": ["groups"]}, IN_AGENTS, GroupNotAllowed, id="a pointer of another form"),
        pytest.param({"_claim_names": {"x": "src1"}}, IN_AGENTS, GroupNotAllowed, id="a pointer for another claim"),
        pytest.param({"roles": ["agents"], **ELSEWHERE}, AN_AGENT, None, id="application roles instead"),
        pytest.param(ELSEWHERE, AN_AGENT, GroupNotAllowed, id="no role, and too many groups, which do not matter"),
        pytest.param({"hasgroups": True}, AN_AGENT, GroupNotAllowed, id="likewise, not told where"),
    ],
)
async def test_groups_decide_where_the_admin_wants_it(
    world: World, log: Log, claims: dict[str, Any], keys: dict[str, Any], error: type[BrokerError] | None
) -> None:
    use_kind(world, "entra", {"preferred_username": ADA, "name": "Ada Lovelace", **claims}, **keys)
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert "/groups" not in world.provider.requests
    if error is None:
        assert str(page.url) == PAGE
        return
    assert_refused(page, error)
    silent = error is GroupNotAllowed and keys["groups_claim"] not in claims
    assert lines(log)[0]["remedy"] == (NO_GROUPS_SENT if silent else error.remedy)


@pytest.mark.parametrize(
    ("kind", "keys", "sent"),
    [
        pytest.param("okta", {"max_age": 0}, {"max_age": "0"}, id="max_age"),
        pytest.param(
            "entra", {"authorization_parameters": {"domain_hint": "acme.example"}}, {"domain_hint": "acme.example"},
            id="a parameter of Entra's",
        ),
        pytest.param("google", {}, {"hd": "acme.example"}, id="Google's hint, by the preset"),
        pytest.param("google", {"email_domains": ["acme.example", "b.example"]}, {"hd": "*"}, id="of several domains"),
        pytest.param("google", {"authorization_parameters": {"hd": "b.example"}}, {"hd": "b.example"}, id="admin's"),
        pytest.param("okta", {"authorization_parameters": {"domain": "a b&c"}}, {"domain": "a b&c"}, id="&"),
        pytest.param("okta", {"require_acr": ["phr", "phrh"]}, {"acr_values": "phr phrh"}, id="contexts"),
        pytest.param("oidc", {"require_amr": ["mfa"]}, {}, id="a method, which cannot be requested"),
        pytest.param("oidc", {"unchecked_acr_values": "idp:acme"}, {"acr_values": "idp:acme"}, id="a routing hint"),
        pytest.param("oidc", {"require_acr": ["2"], "unchecked_acr_values": "idp:acme"}, {"acr_values": "2 idp:acme"},
                     id="both"),
        pytest.param("entra", {"require_acr": ["c1"]}, {"claims": ENTRA_CONTEXT},
                     id="a context of Entra's"),
    ],
)  # fmt: skip
async def test_further_parameters_are_sent_once_beside_our_own(
    world: World, kind: str, keys: dict[str, Any], sent: dict[str, str]
) -> None:
    use_kind(world, kind, {}, **keys)
    async with world.broker() as service:
        redirect = await world.browser(service).open(f"{BROKER}/login")
    parameters = httpx.URL(redirect.headers["location"]).params
    ours = {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce"}
    ours |= {"code_challenge", "code_challenge_method"}
    assert {name: value for name, value in parameters.multi_items() if name not in ours} == sent
    assert len(parameters.multi_items()) == len(ours) + len(sent)


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    ("auth_time", "error"),
    [
        pytest.param(START - 300, None, id="fresh"),
        pytest.param(START - 800, IdTokenAuthTime, id="old"),
        pytest.param(None, IdTokenAuthTime, id="not said"),
    ],
)
async def test_a_sign_in_at_the_provider_must_be_as_fresh_as_max_age(
    world: World, auth_time: float | None, error: type[BrokerError] | None
) -> None:
    use_kind(world, "okta", VERIFIED, max_age=600)
    world.provider.lies = Lies(claims=with_(auth_time=auth_time))
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    if error is None:
        assert str(page.url) == PAGE
    else:
        assert_refused(page, error)


def issuer_of(tenant: str) -> str:
    return f"https://entra.example/{tenant}/v2.0"


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize("announced", [False, True], ids=["unannounced", "announced"])
@pytest.mark.parametrize("tenant", [TENANT, OTHER])
async def test_with_several_tenants_the_callback_may_name_the_one_that_signs_the_person_in(
    world: World, tenant: str, announced: bool
) -> None:
    """RFC 9207: the day Entra sends `iss`, nobody is locked out."""
    use_several_tenants(world, tenant, email=ADA, xms_edov=True)
    template = issuer_of("{tenantid}")
    discovery = with_(issuer=template, authorization_response_iss_parameter_supported=announced)
    world.provider.lies = replace(world.provider.lies, discovery=discovery, callback=with_(iss=issuer_of(tenant)))
    async with world.broker() as service:
        end = await world.browser(service).sign_in(redirect_url=PAGE)
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize(
    ("answered", "asked"),
    [
        pytest.param(issuer_of(OTHER), 1, id="another admitted tenant: mix-up"),
        pytest.param(issuer_of("{tenantid}"), 0, id="the template"),
        pytest.param(issuer_of("11111111-2222-4333-8444-555555555555"), 0, id="a tenant that is not admitted"),
        pytest.param(issuer_of(PERSONAL), 0, id="personal accounts"),
        pytest.param(issuer_of(TENANT).upper(), 0, id="another case"),
        pytest.param(f"{issuer_of(TENANT)}/", 0, id="a slash more"),
        pytest.param("https://entra.example/organizations/v2.0", 0, id="the common address"),
    ],
)
async def test_with_several_tenants_the_callback_may_name_no_other(world: World, answered: str, asked: int) -> None:
    use_several_tenants(world, TENANT, email=ADA, xms_edov=True)
    world.provider.lies = replace(world.provider.lies, callback=with_(iss=answered))
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), CallbackIssuer)
    assert world.provider.count("/token") == asked


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize("answered", [True, False], ids=["its own", "another tenant's"])
async def test_with_one_tenant_the_callback_names_that_one(world: World, answered: bool) -> None:
    use_kind(world, "entra", {"preferred_username": ADA, "name": "Ada Lovelace"})
    named = world.provider.issuer if answered else f"{world.provider.issuer}x"
    lies = Lies(callback=with_(iss=named), claims=with_(tid=TENANT))
    world.provider.lies = lies
    async with world.broker() as service:
        end = await world.browser(service).sign_in(redirect_url=PAGE)
        if answered:
            assert str(end.url) == PAGE
        else:
            assert_refused(end, CallbackIssuer)


@pytest.mark.requirement("S-07", "S-14")
@pytest.mark.parametrize("answered", ["https://{host}", "{host}"])
@pytest.mark.parametrize("signed", ["https://{host}", "{host}"])
async def test_google_may_spell_its_issuer_in_both_ways_at_once(world: World, answered: str, signed: str) -> None:
    use_kind(world, "google", {"email": ADA, "email_verified": True, "hd": "acme.example", "name": "Ada"})
    host = world.provider.host
    world.provider.lies = Lies(
        callback=with_(iss=answered.format(host=host)), claims=with_(iss=signed.format(host=host))
    )
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
