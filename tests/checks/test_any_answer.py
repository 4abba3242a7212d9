"""Whatever a provider answers, each check has a finding: printable, of a bounded length, and without our secret."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.checks.finding import Finding
from broker.checks.provider import check_clock, check_documents, check_metadata, check_provider_keys
from broker.checks.registration import check_client_authentication, check_redirect_uri, check_sign_out_uri
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.providers import KINDS, Provider
from broker.settings import load_settings
from broker.wiring import wire_provider
from tests.checks.diagnosis import REDIRECT_URI, settings_on_loopback
from tests.fakes.kinds import TENANT
from tests.fakes.provider import FakeProvider

CLASS_NAME = re.compile(r"[a-z](Error|Exception)\b")
EMPTY = re.compile(r"[:;,] *\.$|^\.?$")
ISSUER = "http://127.0.0.1:1"
CLIENT_SECRET = "client-secret-of-nobody-4711"
HONEST = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}
NAMES = [
    *HONEST, "keys", "kty", "use", "error", "error_description", "access_token", "token_type", "id_token",
    "id_token_signing_alg_values_supported", "token_endpoint_auth_methods_supported",
]  # fmt: skip
WORDS = st.sampled_from(
    [
        "invalid_client",
        "invalid_grant",
        "redirect_uri",
        "AADSTS50011",
        "AADSTS",
        CLIENT_SECRET,
        "\x1b[31m",
        "RSA",
        "sig",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
BODIES = st.one_of(
    st.binary(max_size=60),
    DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    DOCUMENTS.map(lambda document: json.dumps({**document, **HONEST}).encode()),
    st.lists(WORDS, max_size=400).map(lambda words: " ".join(words).encode()),
)
LOCATIONS = st.none() | st.builds(
    "{}{}".format,
    st.sampled_from([REDIRECT_URI, "https://[", "", "https://accounts.google.com/error"]),
    st.sampled_from(["", "?error=", "?authError=", "#error=invalid_scope&error_description="]) | st.text(max_size=20),
)
ANSWERS = st.builds(
    ProviderResponse,
    status=st.sampled_from([200, 302, 303, 400, 401, 403, 404, 429, 500, 503]),
    media_type=st.just("application/json"),
    body=BODIES,
    date=st.none() | st.floats(-1e12, 1e12),
    location=LOCATIONS,
)


@pytest.fixture(scope="module", params=list(KINDS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a settings file with a provider of each kind."""
    keys = {"preset": request.param, "client_secret": CLIENT_SECRET, "signing_algorithms": ["RS256"]}
    if request.param == "entra":
        keys["tenant"] = TENANT
    path: Path = tmp_path_factory.mktemp(request.param) / "broker.yaml"
    path.write_text(yaml.safe_dump(settings_on_loopback(FakeProvider(ISSUER, time.time), **keys)), encoding="utf-8")
    return path


@settings(deadline=None, max_examples=120)
@given(discovery=ANSWERS, answer=ANSWERS)
async def test_there_is_always_a_finding(written: Path, discovery: ProviderResponse, answer: ProviderResponse) -> None:
    async def send(request: ProviderRequest) -> ProviderResponse:
        return discovery if request.url.endswith("/openid-configuration") else answer

    provider = wire_provider(load_settings(written, {}), "idp", send=send)
    after_the_secret_was_sent = await _findings_on_registration(provider)
    assert CLIENT_SECRET not in str(after_the_secret_was_sent)
    documents = await check_documents(provider)
    for finding in [
        check_clock(provider, discovery, time.time),
        *documents.findings,
        *after_the_secret_was_sent,
    ]:
        assert finding.message.isprintable()
        assert len(finding.message) < 1500
        assert finding.status == "ok" or finding.remedy.endswith(".")
        assert not EMPTY.search(finding.message)
        assert not CLASS_NAME.search(f"{finding.message} {finding.remedy}")


async def _findings_on_registration(provider: Provider) -> list[Finding]:
    metadata, _ = check_metadata(provider, ProviderResponse(200, "application/json", json.dumps(HONEST).encode()))
    assert metadata is not None
    return [
        await check_provider_keys(provider, metadata),
        await check_client_authentication(provider, metadata, ["client_secret_post"]),
        (await check_redirect_uri(provider, metadata))[1],
        await check_sign_out_uri(provider, f"{ISSUER}/logout"),
    ]
