"""`broker explain` and a sign-in never disagree: the same claims, through the whole broker and through the command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.dry_run import Explanation, GivenClaims, explain, read_claims, to_json, to_text
from broker.settings import Settings, load_settings
from broker.wiring import wire_provider, wire_site
from tests.fakes.clock import START, Clock
from tests.fakes.kinds import OTHER, TENANT, use_kind, use_several_tenants
from tests.fakes.lies import Lies
from tests.fakes.log_record import LogRecord
from tests.fakes.world import COMM100, PAGE, World, error_code

ADA, SUB = "ada@acme.example", "person-1"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
SEVERAL = "entra of several tenants"
KINDS = ("oidc", "okta", "entra", SEVERAL, "google")

Claims = dict[str, Any]
SignInEvent = tuple[str | None, Claims | None]

ADDRESSES = st.sampled_from(
    [ADA, ADA, ADA, "Ada@Acme.Example", "eve@evil.example", "a_b.example#EXT#@acme.example", "a@b@acme.example", "",
     "+49 30 1", f"{ADA}\n", None, 7, [ADA], {"a": ADA}, "\u212aim@acme.example"]
)  # fmt: skip
YES_AND_NO: st.SearchStrategy[Any] = st.sampled_from([True, True, False, "true", "false", 1, "1", 0, None, []])
NAMES = st.sampled_from(["Ada Lovelace", "", " ", "\u202eAda", 7, None, "A" * 200, "\ue000"])
GROUPS = st.sampled_from([["agents"], "agents", [], ["Agents", 7], {"agents": 1}, None])
SAID: dict[str, st.SearchStrategy[Any]] = {
    "email": ADDRESSES,
    "email_verified": YES_AND_NO,
    "xms_edov": YES_AND_NO,
    "verified_primary_email": st.lists(ADDRESSES, max_size=2) | ADDRESSES,
    "preferred_username": ADDRESSES,
    "upn": ADDRESSES,
    "mail": ADDRESSES,
    "acct": st.sampled_from([0, 1, "1", None]),
    "hd": st.sampled_from(["acme.example", "acme.example", "Acme.Example", "evil.example", 7, None]),
    "name": NAMES,
    "given_name": NAMES,
    "family_name": NAMES,
    "groups": GROUPS,
    "hasgroups": YES_AND_NO,
    "_claim_names": st.sampled_from([{"groups": "src1"}, {"x": "src1"}, ["groups"], None]),
}
LIKELY: dict[str, Claims] = {
    "oidc": {"email": ADA, "email_verified": True},
    "okta": {"email": ADA},
    "entra": {"preferred_username": ADA},
    SEVERAL: {"email": ADA, "xms_edov": True},
    "google": {"email": ADA, "email_verified": True, "hd": "acme.example"},
}
SIGNED: dict[str, st.SearchStrategy[Any]] = {
    "iss": st.sampled_from(["https://idp.example/", "idp.example", f"https://entra.example/{TENANT}/v2.0", 7, None]),
    "tid": st.sampled_from([TENANT, OTHER, PERSONAL, TENANT.upper(), 7, None]),
    "sub": st.sampled_from(["00u-eve", "", 7, None, "\u00e9"]),
}
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "userinfo": st.sampled_from(["always", "when_needed", "never"]),
        "groups_claim": st.just("groups"),
        "email_claim": st.sampled_from(["email", "mail", "upn"]),
        "name_claim": st.just("given_name"),
        "trust_unverified_email": st.booleans(),
    },
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[str, Claims, Claims, Claims]:
    """Choose a kind, keys of its settings, and what ID token and userinfo say beside what is likely there."""
    kind = draw(st.sampled_from(KINDS))
    keys = draw(KEYS)
    if kind == SEVERAL:
        keys.pop("trust_unverified_email", None)  # the settings refuse the two together
    if "groups_claim" in keys and draw(st.booleans()):
        keys["allowed_groups"] = ["agents"]
    likely = LIKELY[kind] if draw(st.booleans()) else {}
    id_token, userinfo = (draw(st.fixed_dictionaries({}, optional=dict(SAID))) for _ in "12")
    if draw(st.integers(0, 3)) == 0:
        id_token |= draw(st.fixed_dictionaries({}, optional=SIGNED))
    if draw(st.integers(0, 5)) == 0:
        userinfo |= draw(st.fixed_dictionaries({}, optional={"sub": SIGNED["sub"]}))
    where = draw(st.sampled_from(["in both", "in the ID token", "in userinfo"]))
    id_token = {**id_token, **(likely if where != "in userinfo" else {})}
    userinfo = {**userinfo, **(likely if where != "in the ID token" else {})}
    return kind, keys, id_token, userinfo


class Scene:
    """One sign-in of a world of its own, and the very documents its provider sends."""

    def __init__(self, folder: Path, kind: str, keys: Claims, id_token: Claims, userinfo: Claims) -> None:
        self.world = World(folder, Clock())
        if kind == SEVERAL:
            use_several_tenants(self.world, TENANT)
            self.world.settings["identity_providers"]["idp"] |= keys
        else:
            use_kind(self.world, kind, {}, **keys)
        honest = self.world.provider.lies
        self.world.provider.lies = Lies(
            discovery=honest.discovery,
            claims=lambda one: self._sent({**honest.claims(one), **id_token}),
            userinfo=lambda _: self.userinfo,
        )
        self.userinfo = {"sub": SUB, **userinfo}
        self.id_token: Claims = {}

    def _sent(self, claims: Claims) -> Claims:
        self.id_token = claims
        return claims

    async def sign_in(self) -> SignInEvent:
        """Return the code of the refusal, or the claims of the token on its way to Comm100."""
        async with self.world.broker() as service:
            browser = self.world.browser(service)
            redirect = await browser.open("https://sso.acme.example/login", redirect_url=PAGE)
            last = await browser.follow(redirect, until=COMM100)
        if not last.has_redirect_location:
            return error_code(last), None
        token = httpx.URL(last.headers["location"]).params["jwt"]
        claims: Claims = jwt.decode(token, options={"verify_signature": False})
        return None, {**claims, "jti": "another each time"}

    def explain(self) -> Explanation:
        """Explain the documents sent, as an admin would give them."""
        configured = self.settings()
        sent = read_claims(json.dumps({"id_token": self.id_token, "userinfo": self.userinfo}).encode())
        return explain(wire_provider(configured, "idp"), wire_site(configured, "main"), sent, now=START)

    def settings(self) -> Settings:
        """Load the settings as the broker does."""
        path = self.world.folder / "broker.yaml"
        path.write_text(yaml.safe_dump(self.world.settings, sort_keys=False), encoding="utf-8")
        return load_settings(path, {})


def outcome_of(explanation: Explanation) -> SignInEvent:
    if explanation.refusal is not None:
        return explanation.refusal.code, None
    return None, {**(explanation.claims or {}), "jti": "another each time"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explain")


@pytest.fixture(scope="session")
def configured(folder: Path) -> Mapping[str, Settings]:
    return {kind: Scene(folder, kind, {}, {}, {}).settings() for kind in KINDS}


@settings(max_examples=75, deadline=None)
@given(scene=scenes())
def test_a_sign_in_ends_as_explained(
    folder: Path, log_record: LogRecord, scene: tuple[str, Claims, Claims, Claims]
) -> None:
    played = Scene(folder, *scene)
    outcome = asyncio.run(played.sign_in())
    log_record.add_secrets(played.world.secrets())
    assert outcome_of(played.explain()) == outcome


@pytest.mark.parametrize("kind", KINDS)
def test_the_likely_person_of_each_kind_is_admitted_by_both(folder: Path, log_record: LogRecord, kind: str) -> None:
    """The comparison above would hold as well if everybody were refused."""
    played = Scene(folder, kind, {}, LIKELY[kind], LIKELY[kind])
    code, claims = asyncio.run(played.sign_in())
    log_record.add_secrets(played.world.secrets())
    assert code is None
    assert claims is not None
    assert claims["email"] == ADA
    assert outcome_of(played.explain()) == (None, claims)


@settings(max_examples=200, deadline=None)
@example(kind="okta", id_token={"iss": ["\u001b[2J\u202e", 5000 * "x", {}]}, userinfo=None)
@example(kind="okta", id_token={"email_verified": "\u001b[2J" + 5000 * "x", "email": ADA}, userinfo=None)
@given(
    kind=st.sampled_from(KINDS),
    id_token=st.dictionaries(st.sampled_from([*SAID, *SIGNED]) | st.text(max_size=5), JSON, max_size=6),
    userinfo=st.none() | st.dictionaries(st.sampled_from([*SAID, "sub"]), JSON, max_size=4),
)
def test_whatever_the_claims_are_the_answer_fits_a_terminal(
    configured: Mapping[str, Settings], kind: str, id_token: Claims, userinfo: Claims | None
) -> None:
    provider, site = wire_provider(configured[kind], "idp"), wire_site(configured[kind], "main")
    explanation = explain(provider, site, GivenClaims(id_token, userinfo, from_token=False), now=START)
    text = to_text(explanation)
    assert all(len(line) <= 80 and line.isprintable() for line in text.split("\n"))
    document = json.loads(to_json(explanation))
    assert document["admitted"] is (document["reason"] is None)
    assert document["admitted"] is (document["claims"] is not None)
