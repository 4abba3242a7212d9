"""What the report of a test sign-in says: which check stopped it, what came, and nothing that is secret."""

from __future__ import annotations

import ast
import html
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import broker.dry_run
from tests.fakes.admin import EVERY_STEP, assert_no_token, run_dry_run, steps_of, text_of
from tests.fakes.lies import Lies, says, status, with_, without
from tests.fakes.world import World, error_code, metrics, signins_counted

Row = tuple[Lies, dict[str, Any], str, str]
STOPS: dict[str, Row] = {
    "another iss": (Lies(callback=with_(iss="https://evil.example")), {}, EVERY_STEP[2], "callback_issuer"),
    "no code": (Lies(callback=without("code")), {}, EVERY_STEP[3], "code_missing"),
    "code and error": (Lies(callback=with_(error="x")), {}, EVERY_STEP[3], "parameters_contradict"),
    "a wrong secret": (Lies(), {"client_secret": "another-secret-4711"}, EVERY_STEP[4], "client_rejected"),
    "a token endpoint that fails": (Lies(answers={"/token": status(500)}), {}, EVERY_STEP[4], "provider_failing"),
    "no ID token": (Lies(token_response=without("id_token")), {}, EVERY_STEP[4], "token_response_invalid"),
    "keys that fail": (Lies(answers={"/keys": status(500)}), {}, EVERY_STEP[5], "provider_failing"),
    "no signature": (Lies(id_token=lambda token: token.rpartition(".")[0] + "."), {}, EVERY_STEP[5], "signature"),
    "an algorithm not listed": (Lies(), {"signing_algorithms": ["ES256"]}, EVERY_STEP[5], "id_token_algorithm"),
    "another issuer": (Lies(claims=with_(iss="https://evil.example")), {}, EVERY_STEP[6], "id_token_issuer"),
    "another audience": (Lies(claims=with_(aud="other")), {}, EVERY_STEP[7], "id_token_audience"),
    "a clock far off": (Lies(claims=with_(iat=1)), {}, EVERY_STEP[8], "id_token_time"),
    "another nonce": (Lies(claims=with_(nonce="other")), {}, EVERY_STEP[9], "id_token_nonce"),
    "no auth_time": (Lies(), {"max_age": 60}, EVERY_STEP[10], "id_token_auth_time"),
    "another at_hash": (Lies(claims=with_(at_hash="other")), {}, EVERY_STEP[11], "id_token_access_token_hash"),
    "no subject": (Lies(claims=without("sub")), {}, EVERY_STEP[12], "id_token_subject"),
    "no second factor": (Lies(), {"require_amr": ["mfa"]}, EVERY_STEP[13], "authentication_too_weak"),
    "another subject": (Lies(userinfo=with_(sub="other")), {}, EVERY_STEP[14], "userinfo_subject"),
    "an odd userinfo": (Lies(answers={"/userinfo": says(b"eyJhbGciOi")}), {}, EVERY_STEP[14], "userinfo_invalid"),
    "unverified": (Lies(userinfo=with_(email_verified=False)), {}, EVERY_STEP[15], "email_unverified"),
    "no address": (Lies(userinfo=without("email")), {}, EVERY_STEP[15], "email_missing"),
    "another domain": (Lies(userinfo=with_(email="a@b.example")), {}, EVERY_STEP[16], "email_domain_not_allowed"),
    "no group": (
        Lies(),
        {"allowed_groups": ["support"], "groups_claim": "groups"},
        EVERY_STEP[17],
        "group_not_allowed",
    ),
}


@pytest.mark.parametrize(("lies", "keys", "step", "code"), STOPS.values(), ids=STOPS.keys())
async def test_the_report_names_the_check_that_stopped_it_and_none_behind_it(
    world: World, lies: Lies, keys: dict[str, Any], step: str, code: str
) -> None:
    world.provider.lies = lies
    world.settings["identity_providers"]["idp"] |= keys
    async with world.broker() as service:
        browser = world.browser(service)
        page = await run_dry_run(browser)
        counted = await metrics(service)
    steps = steps_of(page)
    place = EVERY_STEP.index(step)
    assert page.status_code == 200
    assert code in page.text
    assert set(list(steps.values())[:place]) <= {"passed", "not_needed"}
    assert steps[step] == "failed"
    assert set(list(steps.values())[place + 1 :]) <= {"not_reached"}
    assert signins_counted(counted) == []
    assert f"{code}" in counted
    assert_no_token(world, *browser.steps)


@pytest.mark.parametrize(("lies", "keys", "step", "code"), STOPS.values(), ids=STOPS.keys())
async def test_a_sign_in_is_stopped_by_the_same_check(
    world: World, lies: Lies, keys: dict[str, Any], step: str, code: str
) -> None:
    world.provider.lies = lies
    world.settings["identity_providers"]["idp"] |= keys
    async with world.broker() as service:
        page = await world.browser(service).sign_in()
    assert step in EVERY_STEP
    assert code in error_code(page)
    assert not world.received


async def test_a_denial_in_the_providers_own_words_is_shown_escaped_and_cut(world: World) -> None:
    words = "<script>alert(1)</script> \u202eAADSTS65004 " + "x " * 5000
    world.provider.refuses = {"error": "access_denied", "error_description": words[:5000]}
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert "access_denied" in page.text
    assert "AADSTS65004" in page.text
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert len(page.text) < 20_000


NESTED: Any = "deep"
for _ in range(300):
    NESTED = [NESTED]
HOSTILE = {
    "<script>alert(1)</script>": "a name",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&",
    "bidi": "\u202egnp.exe \u0000\u200b\u2028",
    "long": "A" * 200_000,
    "nested": NESTED,
    "wide": {str(number): "<b>" for number in range(2000)},
    "number": 10**4000,
    "fraction": 1e308,
    "nothing": None,
    "surrogate": "\ud800",
    **{f"claim_{number}": number for number in range(500)},
}


async def test_hostile_claims_do_no_harm_to_the_page(world: World) -> None:
    said = json.dumps({"sub": world.provider.person.sub, **world.provider.person.claims, **HOSTILE}).encode()
    world.provider.lies = Lies(answers={"/userinfo": says(said)})
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert page.status_code == 200
    assert "Admitted as ada@acme.example" in page.text
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "<b>" not in page.text
    assert not {"\u202e", "\u200b", "\u2028", "\x00"} & set(page.text)
    assert len(page.text) < 40_000
    assert "script-src" not in page.headers["content-security-policy"]


async def test_no_secret_is_shown_whatever_claims_a_provider_puts_it_in(world: World) -> None:
    secrets: list[str] = []

    def echo(claims: dict[str, Any]) -> dict[str, Any]:
        secrets[:] = [one for one in (*world.provider.issued, world.provider.client_secret or "") if len(one) > 8]
        return {**claims, "echo": " ".join(secrets), "list": [secrets, {"deep": secrets}], secrets[0]: 1}

    world.provider.lies = Lies(userinfo=echo, claims=lambda claims: {**claims, "again": claims["nonce"]})
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert len(secrets) >= 5
    for secret in secrets:
        assert secret not in page.text
    assert "[left out]" in page.text


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda secret: {"aud": [[secret], {"deep": secret}]}, id="inside a list of audiences"),
        pytest.param(lambda secret: {"iss": {secret: secret}}, id="as an issuer"),
        pytest.param(lambda secret: {"sub": secret}, id="as the subject"),
        pytest.param(lambda secret: {"name": secret, "email": f"x{secret}@acme.example"}, id="as the person"),
    ],
)
async def test_no_secret_is_shown_where_a_claim_is_judged(world: World, place: Callable[[str], dict[str, Any]]) -> None:
    secret = world.provider.client_secret = "Secret-of-the-client-0815"
    world.settings["identity_providers"]["idp"] |= {"client_secret": secret}
    said = place(secret)
    world.provider.lies = Lies(claims=with_(**said), userinfo=with_(**said))
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert page.status_code == 200
    assert "[left out]" in page.text
    assert secret.lower() not in page.text.lower()


async def test_the_claims_of_another_sign_in_are_not_shown(world: World) -> None:
    world.provider.lies = Lies(claims=with_(nonce="another", email="grace@acme.example", phone="+49 30 12345678"))
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert "id_token_nonce" in page.text
    assert "grace" not in page.text
    assert "12345678" not in page.text


async def test_no_secret_is_shown_that_an_error_echoes(world: World) -> None:
    said: list[str] = []

    def echo(_: httpx.Response) -> httpx.Response:
        codes = [one for one in world.provider.issued if one]
        said[:] = [*codes, world.provider.client_secret or ""]
        words = " / ".join(said)
        return httpx.Response(400, json={"error": "invalid_grant", "error_description": f"AADSTS70008 {words}"})

    world.provider.lies = Lies(answers={"/token": echo})
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
    assert "AADSTS70008" in page.text
    assert len(said) >= 4
    for secret in said:
        assert html.escape(secret) not in page.text


async def test_the_log_has_a_test_sign_in_under_one_trace_id_and_no_address(world: World, log: io.StringIO) -> None:
    async with world.broker() as service:
        page = await run_dry_run(world.browser(service))
        counted = await metrics(service)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    begins, ends = (
        next(one for one in lines if one["event"] == name) for name in ("test sign-in begins", "test sign-in")
    )
    assert begins["trace_id"] == ends["trace_id"] == trace_id_of(page)
    assert (ends["result"], ends["code"], ends["provider"], ends["site"]) == ("admitted", "none", "idp", "")
    assert (ends["email_domain"], "email" in ends) == ("acme.example", False)
    assert "sign-in" not in [one["event"] for one in lines]
    assert 'comm100_sso_test_signins_total{provider="idp",reason="none",result="admitted"} 1.0' in counted


def trace_id_of(page: httpx.Response) -> str:
    return text_of(page).rpartition("Trace id in the log\n")[2].partition("\n")[0]


def test_the_code_of_a_test_sign_in_cannot_make_a_token_or_name_an_address_of_comm100() -> None:
    folder = Path(broker.dry_run.__file__).parent
    files = [*folder.glob("*.py"), folder.parent / "web" / "setup.py"]
    assert len(files) >= 5
    forbidden = {"build_token", "build_delivery_url", "complete", "SignedIn", "shared_secret", "endpoint"}
    for file in files:
        tree = ast.parse(file.read_text())
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
            for alias in node.names
        }
        touched = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not (imported | touched) & forbidden, file.name
