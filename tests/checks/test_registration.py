"""An invalid code at the token endpoint: accepted is said only where the provider told us from an invented client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from broker.checks import Finding, check_client_authentication
from broker.errors import ProviderUnreachable
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.metadata import ProviderMetadata
from broker.settings import load_settings
from broker.signing import decode_base64url
from broker.wiring import wire_provider
from tests.checks.diagnosis import settings_on_loopback
from tests.fakes.provider import FakeProvider
from tests.settings.pem import pem_of, rsa_key

ISSUER = "http://127.0.0.1:1"
SECRET = "client-secret-of-nobody-4711"
METADATA = ProviderMetadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/keys", None, None, False)

ACCEPTED = "Client ID and secret accepted (tested with an invalid code)."
CODE_FIRST = "This provider looks at the code first, so only a test sign-in tells"
OTHERWISE = "its answer to an invented client ID does not tell"


def said(status: int, error: object = None, description: str | None = None) -> ProviderResponse:
    members = {"error": error, "error_description": description}
    body = json.dumps({name: value for name, value in members.items() if value is not None})
    return ProviderResponse(status, "application/json", body.encode())


GRANT, CLIENT = said(400, "invalid_grant"), said(401, "invalid_client")


async def ask(
    folder: Path, ours: ProviderResponse, control: Callable[[], ProviderResponse], **keys: Any
) -> tuple[Finding, list[ProviderRequest]]:
    """Let the token endpoint answer us like this, and every other client like that."""
    sent: list[ProviderRequest] = []

    async def send(request: ProviderRequest) -> ProviderResponse:
        sent.append(request)
        return ours if len(sent) == 1 else control()

    section = {"client_secret": SECRET, **keys}
    path = folder / "broker.yaml"
    path.write_text(yaml.safe_dump(settings_on_loopback(FakeProvider(ISSUER, time.time), **section)), encoding="utf-8")
    provider = wire_provider(load_settings(path, {}), "idp", send=send)
    return await check_client_authentication(provider, METADATA, []), sent


@pytest.mark.parametrize(
    ("ours", "control", "status", "message"),
    [
        pytest.param(GRANT, CLIENT, "ok", ACCEPTED, id="the client first"),
        pytest.param(GRANT, said(400, "invalid_client"), "ok", ACCEPTED, id="the client first, with 400"),
        pytest.param(GRANT, said(400, "unauthorized_client"), "ok", ACCEPTED, id="unauthorized_client"),
        pytest.param(
            GRANT, said(400, "invalid_request", "no such client_id"), "ok", ACCEPTED, id="words about a client"
        ),
        pytest.param(GRANT, GRANT, "unknown", CODE_FIRST, id="the code first"),
        pytest.param(GRANT, said(400, "invalid_grant", "other"), "unknown", CODE_FIRST, id="likewise, in other words"),
        pytest.param(GRANT, said(400, "invalid_code"), "unknown", CODE_FIRST, id="likewise, by another error"),
        pytest.param(GRANT, said(503), "unknown", OTHERWISE, id="the provider fails then"),
        pytest.param(GRANT, said(429), "unknown", OTHERWISE, id="the provider wants us to wait"),
        pytest.param(GRANT, said(404), "unknown", OTHERWISE, id="no OAuth error"),
        pytest.param(GRANT, said(400, "invalid_request"), "unknown", OTHERWISE, id="refused without a reason"),
        pytest.param(GRANT, said(200), "unknown", OTHERWISE, id="an empty document"),
        pytest.param(said(400, "invalid_code"), CLIENT, "ok", ACCEPTED, id="invalid_code"),
        pytest.param(said(400, "invalid_grant_type"), CLIENT, "ok", ACCEPTED, id="invalid_grant_type"),
        pytest.param(
            said(400, "invalid_request", "code_challenge required"), CLIENT, "ok", ACCEPTED, id="code_challenge"
        ),
        pytest.param(
            said(400, "invalid_request", "code_challenge required"), GRANT, "unknown", CODE_FIRST, id="of both"
        ),
    ],
)
async def test_a_refused_code_counts_only_beside_an_invented_client(
    tmp_path: Path, ours: ProviderResponse, control: ProviderResponse, status: str, message: str
) -> None:
    verdict, sent = await ask(tmp_path, ours, lambda: control)
    assert verdict.status == status
    assert message in verdict.message
    assert len(sent) == 2
    assert status == "ok" or "broker setup-link" in verdict.remedy


@pytest.mark.parametrize(
    ("ours", "status", "message", "remedy"),
    [
        pytest.param(
            CLIENT, "failed", "refuses the client: invalid_client.", "credential is wrong", id="invalid_client"
        ),
        pytest.param(said(401), "failed", "refuses the client: ", "credential is wrong", id="a bare 401"),
        pytest.param(
            said(400, "unsupported_grant_type"), "failed", "unsupported_grant_type", "grant types", id="no code"
        ),
        pytest.param(
            said(400, "unauthorized_client"), "failed", "unauthorized_client", "grant types", id="not this flow"
        ),
        pytest.param(
            said(400, "invalid_request"), "unknown", "an unusual error", "broker setup-link", id="another error"
        ),
        pytest.param(said(400), "unknown", "an unusual error: ", "broker setup-link", id="no error at all"),
        pytest.param(said(200), "unknown", "neither tokens nor an error", "broker setup-link", id="an empty document"),
        pytest.param(said(503), "unknown", "does not tell: 503.", "status page", id="a failing provider"),
    ],
)
async def test_another_answer_needs_no_invented_client(
    tmp_path: Path, ours: ProviderResponse, status: str, message: str, remedy: str
) -> None:
    verdict, sent = await ask(tmp_path, ours, lambda: GRANT)
    assert verdict.status == status
    assert message in verdict.message
    assert remedy in verdict.remedy
    assert len(sent) == 1


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_the_invented_client_is_never_ours_and_comes_in_the_same_way(tmp_path: Path, method: str) -> None:
    _, [ours, control] = await ask(tmp_path, GRANT, lambda: CLIENT, client_authentication=method)
    assert ours.headers.keys() == control.headers.keys()
    form, other = (parse_qs(one.body or "") for one in (ours, control))
    assert form.keys() == other.keys()
    assert all(one not in str((control.headers, control.body)) for one in ("client-1", SECRET, *ours.secrets))
    assert ours.headers.get("Authorization") != control.headers.get("Authorization") or form != other


async def test_a_public_client_is_told_from_one_that_does_not_exist(tmp_path: Path) -> None:
    keys = {"client_authentication": "none", "client_secret": None}
    verdict, [_, control] = await ask(tmp_path, GRANT, lambda: CLIENT, **keys)
    assert (verdict.status, verdict.message) == ("ok", "Client ID accepted (tested with an invalid code).")
    assert parse_qs(control.body or "")["client_id"] != ["client-1"]
    verdict, _ = await ask(tmp_path, GRANT, lambda: GRANT, **keys)
    assert verdict.status == "unknown"


async def test_the_invented_client_has_an_assertion_that_nobody_can_verify(tmp_path: Path) -> None:
    keys = {"client_authentication": "private_key_jwt", "client_secret": None, "private_key": pem_of(rsa_key())}
    verdict, [ours, control] = await ask(tmp_path, GRANT, lambda: CLIENT, **keys)
    assert (verdict.status, verdict.message) == ("ok", "Client ID and key accepted (tested with an invalid code).")
    [real], [invented] = (parse_qs(one.body or "")["client_assertion"] for one in (ours, control))
    claims = json.loads(decode_base64url(invented.split(".")[1]))
    assert claims["iss"] == claims["sub"] == parse_qs(control.body or "")["client_id"][0] != "client-1"
    assert real.split(".")[2] != invented.split(".")[2]


async def test_a_provider_that_does_not_answer_an_invented_client_is_not_blamed(tmp_path: Path) -> None:
    def refuse() -> ProviderResponse:
        raise ProviderUnreachable(expected="an answer", got="none")

    verdict, _ = await ask(tmp_path, GRANT, refuse)
    assert verdict.status == "unknown"
    assert "does not answer an invented client ID" in verdict.message
