"""The two trips of the browser: what we ask for, and which answers are taken."""

from __future__ import annotations

import base64
import hashlib
from contextlib import nullcontext
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import (
    AccessDenied,
    BrokerError,
    CallbackIssuer,
    CodeMissing,
    InteractionRequired,
    ParametersContradict,
    ProviderError,
    ProviderReportedFailure,
)
from broker.oidc.authorization import OWN_CHARACTERS, build_authorization_url, build_common_address, check_callback
from tests.oidc.samples import ISSUER, METADATA, registration

ANNOUNCING = replace(METADATA, authorization_response_iss_parameter_supported=True)


def build(**changes: object) -> str:
    return build_authorization_url(
        METADATA, registration(**changes), state="state-1", nonce="nonce-1", code_verifier="v" * 43
    )


@pytest.mark.requirement("S-01")
def test_each_parameter_is_sent_once() -> None:
    url = urlsplit(build())
    assert f"{url.scheme}://{url.netloc}{url.path}" == METADATA.authorization_endpoint
    digest = hashlib.sha256(b"v" * 43).digest()
    assert sorted(parse_qsl(url.query)) == sorted(
        {
            "response_type": "code",
            "client_id": "client-1",
            "redirect_uri": "https://sso.acme.example/callback/idp",
            "scope": "openid email profile",
            "state": "state-1",
            "nonce": "nonce-1",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }.items()
    )


def test_the_verifier_itself_does_not_travel() -> None:
    assert "v" * 43 not in build()


@pytest.mark.requirement("S-01")
def test_the_challenge_is_that_of_rfc_7636() -> None:
    """RFC 7636, appendix B."""
    url = build_authorization_url(
        METADATA,
        registration(),
        state="s",
        nonce="n",
        code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )
    assert parse_qs(urlsplit(url).query)["code_challenge"] == ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]


@pytest.mark.requirement("S-01")
def test_the_admins_parameters_are_added_and_replace_none_of_ours() -> None:
    ours = parse_qs(urlsplit(build()).query)
    theirs = dict.fromkeys(ours, "theirs")
    asked = parse_qs(urlsplit(build(authorization_parameters={**theirs, "prompt": "login"})).query)
    assert asked == {**ours, "prompt": ["login"]}


@pytest.mark.parametrize("hints", [{}, {"prompt": "login", "login_hint": "ada+1@acme.example"}], ids=["plain", "hints"])
def test_the_length_of_an_address_is_known_before_its_state(hints: dict[str, str]) -> None:
    whole = build_authorization_url(
        METADATA, registration(), state="s" * 100, nonce="n" * 43, code_verifier="v" * 43, hints=hints
    )
    assert len(build_common_address(METADATA, registration(), hints)) + OWN_CHARACTERS + 100 == len(whole)


def test_hints_replace_the_admins_parameters_and_none_of_ours() -> None:
    asked = parse_qs(
        urlsplit(
            build_authorization_url(
                METADATA,
                registration(authorization_parameters={"prompt": "consent", "domain": "acme"}),
                state="state-1",
                nonce="nonce-1",
                code_verifier="v" * 43,
                hints={"prompt": "login", "state": "theirs", "client_id": "theirs"},
            )
        ).query
    )
    assert asked == {**parse_qs(urlsplit(build()).query), "prompt": ["login"], "domain": ["acme"]}


def test_max_age_is_asked_for_where_it_is_demanded() -> None:
    assert parse_qs(urlsplit(build(max_age=0)).query)["max_age"] == ["0"]
    assert "max_age" not in parse_qs(urlsplit(build()).query)


def test_a_query_of_the_endpoint_stays() -> None:
    """RFC 6749, section 3.1: Azure AD B2C has its policy there."""
    metadata = replace(METADATA, authorization_endpoint=f"{ISSUER}/authorize?p=b2c_1_signin")
    url = build_authorization_url(metadata, registration(), state="s", nonce="n", code_verifier="v" * 43)
    assert parse_qs(urlsplit(url).query)["p"] == ["b2c_1_signin"]
    assert url.startswith(f"{ISSUER}/authorize?p=b2c_1_signin&")


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_value_breaks_out_of_its_parameter(client_id: str, value: str) -> None:
    asked = parse_qs(
        urlsplit(build(client_id=client_id, authorization_parameters={"login_hint": value})).query,
        keep_blank_values=True,
    )
    assert asked["client_id"] == [client_id]
    assert asked["login_hint"] == [value]
    assert len(asked) == 9


@pytest.mark.parametrize(
    ("parameters", "announced"),
    [
        pytest.param({"code": "c1"}, False, id="iss not announced and absent"),
        pytest.param({"code": "c1", "iss": ISSUER}, False, id="iss not announced and right"),
        pytest.param({"code": "c1", "iss": ISSUER}, True, id="iss announced and right"),
        pytest.param({"code": "c1", "session_state": "x", "redirect_url": "https://evil.example"}, False, id="more"),
    ],
)
def test_a_code_of_the_provider_expected_is_taken(parameters: dict[str, str], announced: bool) -> None:
    assert check_callback(parameters, ANNOUNCING if announced else METADATA) == "c1"


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize(
    ("parameters", "announced"),
    [
        pytest.param({"code": "c1"}, True, id="absent although announced"),
        pytest.param({"code": "c1", "iss": "https://evil.example"}, True, id="another, announced"),
        pytest.param({"code": "c1", "iss": "https://evil.example"}, False, id="another, not announced"),
        pytest.param({"code": "c1", "iss": ""}, True, id="empty although announced"),
        pytest.param({"code": "c1", "iss": f"{ISSUER}/"}, False, id="a slash more"),
        pytest.param({"code": "c1", "iss": ISSUER.upper()}, False, id="another case"),
        pytest.param({"error": "access_denied", "iss": "https://evil.example"}, False, id="with an error"),
        pytest.param({"error": "access_denied"}, True, id="absent with an error"),
    ],
)
def test_an_answer_of_another_issuer_is_refused(parameters: dict[str, str], announced: bool) -> None:
    """RFC 9207, section 2.4."""
    with pytest.raises(CallbackIssuer):
        check_callback(parameters, ANNOUNCING if announced else METADATA)


@pytest.mark.requirement("S-05")
@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        pytest.param({"code": "c1", "error": "access_denied"}, ParametersContradict, id="both"),
        pytest.param({"code": "", "error": "access_denied"}, AccessDenied, id="an empty code"),
        pytest.param({"code": "", "error": "access_denied", "iss": ""}, AccessDenied, id="and an empty issuer"),
        pytest.param({"code": "", "error": ""}, CodeMissing, id="both empty"),
        pytest.param({"code": "c1", "error": "", "iss": ""}, None, id="an empty error and an empty issuer"),
    ],
)
def test_a_code_and_an_error_at_once_are_refused_and_empty_ones_are_absent(
    parameters: dict[str, str], error: type[BrokerError] | None
) -> None:
    """RFC 6749, section 3.1."""
    with pytest.raises(error) if error else nullcontext():
        assert check_callback(parameters, METADATA) == "c1"


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize(
    ("code", "got"),
    [
        pytest.param("a\0b", "code: U+0000 as character 2", id="NUL, which databases refuse with a 500"),
        pytest.param("a\n", "code: U+000A as character 2", id="a line end"),
        pytest.param("\x7f", "code: U+007F as character 1", id="DEL"),
        pytest.param("caf\xe9", "code: U+00E9 as character 4", id="beyond ASCII"),
        pytest.param("\ufffd", "code: U+FFFD as character 1", id="what was no UTF-8"),
    ],
)
def test_a_code_that_no_provider_may_send_is_not_passed_on(code: str, got: str) -> None:
    """RFC 6749, appendix A.11."""
    with pytest.raises(CodeMissing) as refusal:
        check_callback({"code": code}, METADATA)
    assert refusal.value.got == got


def test_a_code_of_any_printable_characters_is_passed_on() -> None:
    code = "".join(map(chr, range(0x20, 0x7F)))
    assert check_callback({"code": code}, METADATA) == code


@pytest.mark.parametrize("parameters", [pytest.param({}, id="nothing"), pytest.param({"code": ""}, id="an empty code")])
def test_neither_code_nor_error_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(CodeMissing):
        check_callback(parameters, METADATA)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param("access_denied", AccessDenied, id="access_denied"),
        pytest.param("login_required", InteractionRequired, id="login_required"),
        pytest.param("interaction_required", InteractionRequired, id="interaction_required"),
        pytest.param("account_selection_required", InteractionRequired, id="account_selection_required"),
        pytest.param("consent_required", InteractionRequired, id="consent_required"),
        pytest.param("temporarily_unavailable", ProviderReportedFailure, id="temporarily_unavailable"),
        pytest.param("server_error", ProviderReportedFailure, id="server_error"),
        pytest.param("invalid_request", ProviderError, id="invalid_request"),
        pytest.param("unauthorized_client", ProviderError, id="unauthorized_client"),
        pytest.param("unsupported_response_type", ProviderError, id="unsupported_response_type"),
        pytest.param("invalid_scope", ProviderError, id="invalid_scope"),
        pytest.param("something_of_their_own", ProviderError, id="an unknown error"),
        pytest.param("ACCESS_DENIED", ProviderError, id="another case"),
    ],
)
def test_the_providers_error_decides_the_reason(error: str, expected: type[BrokerError]) -> None:
    """RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6."""
    with pytest.raises(expected) as refusal:
        check_callback({"error": error, "error_description": "AADSTS50105: not assigned"}, METADATA)
    assert type(refusal.value) is expected
    assert "AADSTS50105" in str(refusal.value.got)
