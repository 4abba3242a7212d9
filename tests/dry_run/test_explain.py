"""`broker explain`: who is admitted and who is not, by which claim and why, and how it is said."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import IdTokenIssuer, ProviderUnreachable, TenantNotAllowed
from broker.settings import load_settings
from broker.wiring import wire_provider
from tests.dry_run.asking import ADA, HOSTED, VERIFIED, Claims, explained, run, write_settings
from tests.fakes.clock import Clock
from tests.fakes.kinds import OTHER, TENANT
from tests.fakes.processes import without_broker_settings
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SECRET_KEY, SHARED_SECRET, section_for

IN_AGENTS = {"groups_claim": "groups", "allowed_groups": ["agents"]}
MADE_EACH_TIME = {"jti", "iat", "nbf", "exp"}


@pytest.mark.parametrize(
    ("kind", "claims", "email_from"),
    [
        pytest.param("oidc", {"id_token": VERIFIED}, "email (ID token)", id="any provider, verified"),
        pytest.param(
            "oidc", {"id_token": {"sub": "1"}, "userinfo": {"sub": "1", **VERIFIED}}, "email (userinfo)",
            id="any provider, by userinfo",
        ),
        pytest.param(
            "okta", {"id_token": {"sub": "1"}, "userinfo": {"email": ADA, "name": "Ada Lovelace"}}, "email (userinfo)",
            id="Okta, which says nothing of verification",
        ),
        pytest.param("entra", {"preferred_username": ADA, "name": "Ada Lovelace"}, "preferred_username (ID token)",
                     id="Entra, a member"),
        pytest.param("entra", {"email": ADA, "xms_edov": 1, "name": "Ada Lovelace"}, "email (ID token)",
                     id="Entra, a verified domain"),
        pytest.param("google", HOSTED, "email (ID token)", id="Google, of the organisation"),
    ],
)  # fmt: skip
def test_a_person_admitted_is_shown_with_what_comm100_would_get(
    tmp_path: Path, kind: str, claims: Claims, email_from: str
) -> None:
    write_settings(tmp_path, kind)
    status, said = explained(tmp_path, claims)
    assert (status, said["admitted"], said["reason"]) == (0, True, None)
    assert (said["email"], said["email_from"]) == (ADA, email_from)
    assert (said["name"], said["name_from"]) == ("Ada Lovelace", "name")
    assert any(one["claim"] == email_from and one["verdict"].startswith("taken") for one in said["considered"])
    sent = {name: value for name, value in said["claims"].items() if name not in MADE_EACH_TIME}
    assert sent == {"iss": "jwt server", "aud": "Comm100", "sub": "comm100", "email": ADA, "name": "Ada Lovelace"}
    assert said["claims"]["exp"] - said["claims"]["iat"] == 60
    assert abs(said["claims"]["iat"] - time.time()) < 60


@pytest.mark.parametrize(
    ("kind", "keys", "claims", "reason", "looked_at"),
    [
        pytest.param("oidc", {}, {"email": ADA}, "email_unverified",
                     ("email (ID token)", "not taken: email_verified: absent"), id="any provider, unverified"),
        pytest.param("oidc", {}, {}, "email_missing", ("email (ID token)", "absent"), id="nothing at all"),
        pytest.param("okta", {}, {**VERIFIED, "email_verified": False}, "email_unverified",
                     ("email (ID token)", "not taken: email_verified: false"), id="Okta denies the address"),
        pytest.param("okta", {}, {"email": "ada@acme.exmaple"}, "email_domain_not_allowed",
                     ("email (ID token)", "refused: email_domain_not_allowed"), id="another domain"),
        pytest.param("okta", {}, {"email": ["a", 7, {}]}, "email_malformed",
                     ("email (ID token)", "not taken: no plain e-mail address"), id="a list for an address"),
        pytest.param("entra", {}, {"preferred_username": "a#EXT#@acme.example"}, "guest_not_allowed",
                     ("preferred_username (ID token)", "not taken: the account is a guest"), id="Entra, a guest"),
        pytest.param("entra", {"tenants": [TENANT]}, {"tid": OTHER, "email": ADA, "xms_edov": True},
                     "tenant_not_allowed", ("tid (ID token)", "refused: tenant_not_allowed"), id="another tenant"),
        pytest.param("google", {}, VERIFIED, "hosted_domain_not_allowed",
                     ("hd (ID token)", "absent: no Workspace account"), id="Google, a consumer account"),
        pytest.param("okta", IN_AGENTS, {**VERIFIED, "groups": ["guests"]}, "group_not_allowed",
                     ("groups", "refused: group_not_allowed"), id="in none of the groups"),
        pytest.param("okta", IN_AGENTS, {**VERIFIED, "hasgroups": True}, "groups_overage",
                     ("groups", "refused: groups_overage"), id="too many groups"),
        pytest.param("okta", {}, {"iss": "https://idp.example/", **VERIFIED}, "id_token_issuer",
                     ("iss (ID token)", "refused: id_token_issuer"), id="another issuer, by a slash"),
        pytest.param("okta", {}, {"id_token": {"sub": "1"}, "userinfo": {"sub": "2", **VERIFIED}}, "userinfo_subject",
                     ("sub (userinfo)", "refused: userinfo_subject"), id="userinfo of another person"),
        pytest.param("okta", {}, {"sub": 7, **VERIFIED}, "id_token_subject",
                     ("sub (ID token)", "refused: id_token_subject"), id="a number for a subject"),
    ],
)  # fmt: skip
def test_a_person_refused_is_shown_with_code_reason_and_remedy(
    tmp_path: Path, kind: str, keys: Claims, claims: Claims, reason: str, looked_at: tuple[str, str]
) -> None:
    write_settings(tmp_path, kind, **keys)
    status, said = explained(tmp_path, claims)
    assert (status, said["admitted"], said["reason"]) == (1, False, reason)
    assert [said[name] for name in ("email", "email_from", "name", "name_from", "claims")] == [None] * 5
    assert looked_at in [(one["claim"], one["verdict"]) for one in said["considered"]]
    assert said["doc"] == f"docs/admin/errors.md#{reason}"
    text = run(tmp_path, "--idp", "idp", "--claims", "-", stdin=json.dumps(claims)).stdout
    assert text.startswith(f"Not admitted: {reason}\n")
    spaceless = "".join(text.split())
    for part in (said["remedy"], said["person"], said["doc"], *looked_at):
        assert "".join(part.split()) in spaceless
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("several", [False, True], ids=["one tenant", "several tenants"])
@pytest.mark.parametrize(
    ("tenant", "issuer", "error"),
    [
        pytest.param(TENANT, "https://login.microsoftonline.com/{}/v2.0", None, id="its own issuer"),
        pytest.param(None, None, None, id="neither tenant nor issuer said"),
        pytest.param(TENANT, "https://sts.windows.net/{}/", IdTokenIssuer, id="the issuer of version 1.0"),
        pytest.param(OTHER, "https://login.microsoftonline.com/{}/v2.0", (IdTokenIssuer, TenantNotAllowed),
                     id="another tenant"),
    ],
)  # fmt: skip
def test_entras_tenant_and_issuer_are_judged_where_the_claims_name_them(
    tmp_path: Path, several: bool, tenant: str | None, issuer: str | None, error: Any
) -> None:
    keys: Claims = {"tenants": [TENANT]} if several else {"tenant": TENANT}
    write_settings(tmp_path, "entra", **keys)
    claims: Claims = {"email": ADA, "xms_edov": True}
    if tenant and issuer:
        claims |= {"tid": tenant, "iss": issuer.format(tenant)}
    said = explained(tmp_path, claims)[1]
    wanted = error[several] if isinstance(error, tuple) else error
    assert said["reason"] == (wanted.code if wanted else None)
    assert any("name no tenant" in note for note in said["notes"]) == (several and tenant is None)


def test_the_site_is_the_first_that_offers_the_provider_unless_another_is_asked_for(tmp_path: Path) -> None:
    write_settings(tmp_path)
    file = tmp_path / "broker.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    one = written["sites"]["main"]
    other = section_for(FakeProvider("https://eu.example", Clock()), email_domains=["acme-eu.example"])
    written["identity_providers"]["eu"] = other
    written["sites"] = {
        "eu": {**one, "identity_providers": ["eu"]},
        "main": {**one, "identity_providers": ["idp"], "claims": {"region": "main"}},
        "both": {**one, "claims": {"region": "both"}},
    }
    file.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    assert explained(tmp_path, VERIFIED)[1]["claims"]["region"] == "main"
    assert explained(tmp_path, VERIFIED, "--site", "both")[1]["claims"]["region"] == "both"
    del written["sites"]["main"], written["sites"]["both"]
    file.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    ended = run(tmp_path, "--idp", "idp", "--claims", "-", stdin="{}")
    assert (ended.exit_code, ended.stderr) == (2, "No site offers idp.\n")


def test_a_provider_that_is_switched_off_is_explained_and_said_to_be_so(tmp_path: Path) -> None:
    write_settings(tmp_path, enabled=False)
    status, said = explained(tmp_path, VERIFIED)
    assert (status, said["email"]) == (0, ADA)
    assert any("enabled: false" in note for note in said["notes"])


@pytest.mark.parametrize(
    ("userinfo", "claims", "admitted", "noted"),
    [
        pytest.param("always", VERIFIED, True, "no userinfo", id="asked, and not given"),
        pytest.param("never", {"id_token": {}, "userinfo": VERIFIED}, False, "was ignored", id="given, never asked"),
        pytest.param("when_needed", {"id_token": VERIFIED, "userinfo": {"email": "eve@acme.example"}}, True,
                     "was ignored", id="given, and not needed"),
        pytest.param("when_needed", {"id_token": {"email": ADA, "email_verified": True}, "userinfo": {"name": "Ada"}},
                     True, "", id="given and needed for the name"),
    ],
)  # fmt: skip
def test_userinfo_counts_where_a_sign_in_would_ask_for_it(
    tmp_path: Path, userinfo: str, claims: Claims, admitted: bool, noted: str
) -> None:
    write_settings(tmp_path, userinfo=userinfo)
    said = explained(tmp_path, claims)[1]
    assert said["admitted"] is admitted
    assert [noted in note for note in said["notes"]] == ([True] if noted else [])


def test_the_text_is_plain_and_aligned(tmp_path: Path) -> None:
    write_settings(tmp_path)
    ended = run(tmp_path, "--idp", "idp", "--claims", "-", stdin=json.dumps({**VERIFIED, "name": "\u001b[31mAda"}))
    lines = re.sub(r"(?m)^(  (?:jti|iat|nbf|exp)    ).+$", r"\1...", ended.stdout).splitlines()
    assert lines == [
        "Admitted",
        "",
        "  provider  idp",
        "  site      main",
        "  e-mail    ada@acme.example",
        "            from email (ID token)",
        "  name      [31mAda",
        "            from name",
        "",
        "Claims looked at",
        "  email (ID token)  taken: email_verified is true",
        "",
        "Claims for Comm100 (unsigned; jti and times are new each time)",
        "  iss    jwt server",
        "  aud    Comm100",
        "  sub    comm100",
        "  jti    ...",
        "  iat    ...",
        "  nbf    ...",
        "  exp    ...",
        "  email  ada@acme.example",
        "  name   [31mAda",
        "",
        "Note: A sign-in also requests userinfo if the provider offers it. These claims",
        "have no userinfo.",
    ]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("claims", [VERIFIED, {}], ids=["admitted", "refused"])
def test_no_secret_and_no_token_is_in_the_answer(tmp_path: Path, options: list[str], claims: Claims) -> None:
    write_settings(tmp_path)
    said = run(tmp_path, "--idp", "idp", "--claims", "-", *options, stdin=json.dumps(claims)).output
    assert "admitted" in said.lower()
    for secret in (SECRET_KEY, SHARED_SECRET, "s3cret", "eyJ"):
        assert secret not in said


def test_a_terminal_that_lacks_a_letter_gets_its_code(tmp_path: Path) -> None:
    write_settings(tmp_path)
    claims = json.dumps({**VERIFIED, "name": "Ad\u00e4 \u4e2d"})
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "explain", "--idp", "idp", "--claims", "-"],
        cwd=tmp_path,
        env={**without_broker_settings(), "PYTHONIOENCODING": "latin-1"},
        input=claims.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"  name   Ad\xe4 \\u4e2d" in ended.stdout


async def test_a_provider_that_is_only_looked_at_sends_nothing(tmp_path: Path) -> None:
    write_settings(tmp_path)
    provider = wire_provider(load_settings(tmp_path / "broker.yaml", {}), "idp")
    with pytest.raises(ProviderUnreachable):
        await provider.discovery.metadata.get()


def test_the_command_explains_itself(tmp_path: Path) -> None:
    ended = run(tmp_path, "--help")
    assert ended.exit_code == 0
    for option in ("--idp", "--claims", "--site", "--config", "--json"):
        assert option in ended.stdout
