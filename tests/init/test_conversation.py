"""`broker init` asks a person: wrong answers, suggestions, and what the provider says meanwhile."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import httpx
import pytest

from broker.init import Probe, Request, next_steps
from broker.init.questions import Answers
from broker.settings import Settings
from tests.fakes.lies import Lies, with_
from tests.fakes.provider import FakeProvider
from tests.init.answering import (
    CLIENT_SECRET,
    ENDPOINT,
    GIVEN,
    SHARED_SECRET,
    TENANT,
    document,
    looking,
    talk,
)

APPLICATION = "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9"
MICROSOFT = "https://login.microsoftonline.com"


def given_but(*left_out: str, **changed: str) -> dict[str, str]:
    """Return the given answers without some and with others changed; another kind of provider has its own id."""
    if changed.get("preset") == "entra":
        changed = {"client_secret_expires": "2027-03-31", **changed}
    without = {*left_out, *(["id"] if "preset" in changed else [])}
    return {key: text for key, text in {**GIVEN, **changed}.items() if key not in without}


def asked(
    folder: Path, given: dict[str, str], answers: list[tuple[str, str]], probe: Probe | None = None
) -> tuple[Settings, str]:
    """Let a person answer; return what was written and everything that was said."""
    ended = talk(Request(folder / "broker.yaml", given), answers, probe)
    return ended.settings, ended.words


@pytest.mark.parametrize(
    ("key", "question", "wrong", "said"),
    [
        pytest.param("public_url", "Public URL", "nonsense here", "must be a complete URL", id="no address"),
        pytest.param("public_url", "Public URL", "", "Public URL is required.", id="nothing at all"),
        pytest.param("issuer", "Issuer", "ftp://idp.example", "must be a complete URL", id="no web address"),
        pytest.param(
            "email_domains",
            "E-mail domains",
            "acme.example, gmail.com",
            "E-mail domains must not name gmail.com",
            id="anyone's",
        ),
        pytest.param("endpoint", "JWT SSO endpoint", "https://", "must be a complete URL", id="an address begun"),
        pytest.param("client_secret", "Client secret", "a\tb", "control character", id="a secret with a tab"),
        pytest.param("shared_secret", "Shared secret", "short", "is shorter than 32 bytes", id="a secret cut short"),
        pytest.param("preset", "Provider", "", "Provider is required: okta", id="no kind of provider"),
    ],
)
def test_what_the_settings_refuse_is_explained_with_an_example_and_asked_again(
    tmp_path: Path, key: str, question: str, wrong: str, said: str
) -> None:
    settings, words = asked(tmp_path, given_but(key), [(question, wrong), (question, GIVEN[key])])
    assert said in words
    assert ("Copy it once more." if "secret" in key else "For example: ") in words
    assert settings.public_url == GIVEN["public_url"]


@pytest.mark.parametrize(
    ("key", "question", "pasted", "meant"),
    [
        pytest.param("public_url", "Public URL", "SSO.acme.example/login", "https://sso.acme.example", id="bare host"),
        pytest.param("public_url", "Public URL", "http://sso.acme.example", "https://sso.acme.example", id="http"),
        pytest.param(
            "issuer",
            "Issuer",
            "https://idp.example/.well-known/openid-configuration",
            "https://idp.example",
            id="the discovery document",
        ),
        pytest.param("issuer", "Issuer", "https://u:p@idp.example", "https://idp.example", id="a password"),
        pytest.param("email_domains", "E-mail domains", "Ada@Acme.example", "acme.example", id="an address"),
        pytest.param("email_domains", "E-mail domains", "*.acme.example", "acme.example", id="a wildcard"),
        pytest.param("endpoint", "JWT SSO endpoint", ENDPOINT.replace("https", "http") + "?x=1", ENDPOINT, id="query"),
    ],
)
def test_what_was_probably_meant_is_offered(tmp_path: Path, key: str, question: str, pasted: str, meant: str) -> None:
    settings, words = asked(tmp_path, given_but(key), [(question, pasted), (question, "")])
    provider, site = settings.identity_providers["oidc"], settings.sites["main"]
    assert f"Press Enter to accept this suggestion: {meant}" in words
    assert meant in (settings.public_url, provider.issuer, *provider.email_domains, site.endpoint)


def test_what_was_meant_otherwise_is_typed_in_place_of_the_offer(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [("Public URL", "sso.acme"), ("Public URL", "https://sso.acme.example")]
    settings, words = asked(tmp_path, given_but("public_url"), answers)
    assert "Public URL [https://sso.acme]: " in words
    assert settings.public_url == "https://sso.acme.example"


def test_the_address_of_oktas_admin_console_is_offered_without_admin(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [
        ("Issuer", "acme-admin.okta.com/admin/dashboard"),
        ("Issuer", ""),
    ]
    settings, _ = asked(tmp_path, given_but("issuer", preset="okta"), answers)
    assert settings.identity_providers["okta"].issuer == "https://acme.okta.com"


def test_white_space_around_a_secret_is_dropped(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [("Shared secret", f"\ufeff {SHARED_SECRET}\u200b \t")]
    settings, words = asked(tmp_path, given_but("shared_secret"), answers)
    assert settings.sites["main"].shared_secret.reveal() == SHARED_SECRET
    assert "48 bytes, fingerprint 9b98f2d2" in words


@pytest.mark.parametrize(
    ("key", "question", "doubtful", "said"),
    [
        pytest.param("client_secret", "Client secret", TENANT, "looks like the Secret ID", id="the id of a secret"),
        pytest.param("client_secret", "Client secret", GIVEN["client_id"], "This is the client ID", id="the client id"),
        pytest.param("client_id", "Client ID", "comm100", "A client ID of Entra", id="a name"),
        pytest.param("client_id", "Client ID", TENANT, "This is the tenant ID", id="the tenant's id"),
        pytest.param(
            "shared_secret", "Shared secret", "578d96c4-2552-4c1a-94f4-0a7d922d5f17", "decoded", id="a decoded secret"
        ),
        pytest.param("shared_secret", "Shared secret", SHARED_SECRET[:40], "end were missing", id="a cut secret"),
        pytest.param(
            "endpoint", "JWT SSO endpoint", "https://acme.comm100.com/", "This address has no path", id="no endpoint"
        ),
    ],
)
@pytest.mark.parametrize("keeps", [True, False])
def test_what_looks_wrong_is_named_and_may_be_kept(
    tmp_path: Path, key: str, question: str, doubtful: str, said: str, keeps: bool
) -> None:
    right = {"client_id": APPLICATION}
    given = given_but("issuer", preset="entra", tenant=TENANT, **({} if "of Entra" in said else right))
    if doubtful == GIVEN["client_id"]:
        given["client_id"], doubtful = right["client_id"], right["client_id"]
    del given[key]
    answers: list[tuple[str, str]] = [(question, doubtful), ("Keep it anyway?", "y" if keeps else "n")]
    if not keeps:
        answers.append((question, {**GIVEN, **right}[key]))
    _, words = asked(tmp_path, given, answers)
    assert said in words


def test_an_entra_tenant_is_looked_up_by_its_domain(tmp_path: Path) -> None:
    found = document(f"{MICROSOFT}/{TENANT}/v2.0")
    unknown = httpx.Response(400, json={"error": "invalid_tenant"})
    probe = looking(
        pages={
            f"{MICROSOFT}/acme.example/v2.0/.well-known/openid-configuration": found,
            f"{MICROSOFT}/{TENANT}/v2.0/.well-known/openid-configuration": found,
            f"{MICROSOFT}/down.example/v2.0/.well-known/openid-configuration": lambda: httpx.Response(
                503, stream=httpx.ByteStream(b"")
            ),
            f"{MICROSOFT}/typo.example/v2.0/.well-known/openid-configuration": lambda: httpx.Response(
                400, headers=unknown.headers, stream=httpx.ByteStream(unknown.content)
            ),
        }
    )
    given = given_but("issuer", "email_domains", preset="entra", client_id=APPLICATION)
    answers: list[tuple[str, str]] = [
        ("Tenant ID", "typo.example"),
        ("Tenant ID", "down.example"),
        ("Tenant ID", "Acme.example"),
        ("E-mail domains", ""),
    ]
    settings, words = asked(tmp_path, given, answers, probe)
    assert "Microsoft Entra ID knows no tenant with the domain typo.example." in words
    assert "The tenant of down.example cannot be looked up now (status 503)." in words
    assert f"The tenant of acme.example is {TENANT}." in words
    assert settings.identity_providers["entra"].tenant == TENANT
    assert settings.identity_providers["entra"].email_domains == ("acme.example",)


def test_a_tenant_is_taken_out_of_an_issuer_that_was_pasted(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [
        ("Tenant ID", f"https://sts.windows.net/{TENANT.upper()}/"),
        ("Tenant ID", ""),
        ("Keep it anyway?", "y"),  # client-1 is no id of Entra's
    ]
    settings, _ = asked(tmp_path, given_but("issuer", preset="entra"), answers)
    assert settings.identity_providers["entra"].tenant == TENANT


def test_the_day_an_entra_secret_expires_is_written(tmp_path: Path) -> None:
    given = given_but("issuer", "client_secret_expires", preset="entra", tenant=TENANT, client_id=APPLICATION)
    answers: list[tuple[str, str]] = [("Expires on", "31/03/2027"), ("Expires on", "2027-03-31")]
    settings, words = asked(tmp_path, given, answers)
    assert "Expires on must be a date: year-month-day." in words
    assert settings.identity_providers["entra"].client_secret_expires == date(2027, 3, 31)


@pytest.mark.parametrize("pasted", ["https://idp.example/", "https://idp.example"])
def test_the_issuer_is_compared_with_the_providers_own_word(tmp_path: Path, pasted: str) -> None:
    own = "https://idp.example" if pasted.endswith("/") else "https://idp.example/"
    probe = looking(
        pages={
            "https://idp.example/.well-known/openid-configuration": document(own),
            f"{own}/token": lambda: httpx.Response(404, stream=httpx.ByteStream(b"")),
        }
    )
    answers: list[tuple[str, str]] = [("Issuer", pasted), ("Issuer", "")]
    settings, words = asked(tmp_path, given_but("issuer"), answers, probe)
    assert "Only the slash differs" in words
    assert "Only a test sign-in can tell now" in words  # its token endpoint is a 404
    assert settings.identity_providers["oidc"].issuer == own


def test_a_provider_that_cannot_be_reached_is_a_warning_and_no_dead_end(tmp_path: Path) -> None:
    given = given_but("issuer")
    nowhere = "https://nowhere.invalid"
    answers: list[tuple[str, str]] = [("Issuer", nowhere), ("Keep it anyway?", "y")]
    settings, words = asked(tmp_path, given, answers, looking())
    assert "No connection to nowhere.invalid, port 443" in words
    assert settings.identity_providers["oidc"].issuer == nowhere


def test_a_secret_the_provider_does_not_take_is_asked_for_again_with_the_client_id(tmp_path: Path) -> None:
    provider = FakeProvider("https://idp.example", time.time, client_secret=CLIENT_SECRET)
    answers: list[tuple[str, str]] = [
        ("Enter both again?", "y"),
        ("Client ID", ""),
        ("Client secret", CLIENT_SECRET),
    ]
    settings, words = asked(tmp_path, given_but(client_secret="another-secret"), answers, looking(provider))
    assert "The token endpoint refuses the client" in words
    assert words.count("Client ID and secret accepted (tested with an invalid code).") == 1
    assert "another-secret" not in words
    assert CLIENT_SECRET not in words
    secret = settings.identity_providers["oidc"].client_secret
    assert secret is not None
    assert secret.reveal() == CLIENT_SECRET


def test_a_provider_that_looks_at_the_code_first_is_never_said_to_accept_the_secret(tmp_path: Path) -> None:
    provider = FakeProvider("https://idp.example", time.time, client_secret=CLIENT_SECRET)
    provider.lies = Lies(answers={"/token": lambda _: httpx.Response(400, json={"error": "invalid_grant"})})
    _, words = asked(tmp_path, given_but(client_secret="another-secret"), [], looking(provider))
    assert "looks at the code first, so only a test sign-in tells" in words
    assert "accepted" not in words


def test_what_a_providers_document_asks_for_is_set(tmp_path: Path) -> None:
    provider = FakeProvider("https://idp.example", time.time, client_secret=CLIENT_SECRET, algorithm="ES256")
    methods = ["client_secret_post", "private_key_jwt"]
    provider.lies = Lies(discovery=with_(token_endpoint_auth_methods_supported=methods))
    settings, words = asked(tmp_path, given_but(), [], looking(provider))
    found = settings.identity_providers["oidc"]
    assert (found.client_authentication, found.signing_algorithms) == ("client_secret_post", ("ES256",))
    assert "It requires signing_algorithms: ES256, which is set." in words


@pytest.mark.parametrize(
    ("kind", "typed"), [("okta", "1"), ("entra", "Entra"), ("google", "3"), ("oidc", "other"), ("oidc", "Keycloak")]
)
def test_what_to_register_is_told_before_the_client_id_is_asked_for(tmp_path: Path, kind: str, typed: str) -> None:
    place: list[tuple[str, str]] = {
        "okta": [("Issuer", "https://acme.okta.com")],
        "entra": [("Tenant ID", TENANT)],
        "google": [],
        "oidc": [("Issuer", "https://id.acme.co.uk"), ("Short name", "oidc")],
    }[kind]
    client = {"entra": APPLICATION, "google": "1-a.apps.googleusercontent.com"}
    answers = [
        ("Public URL", "https://sso.acme.example"),
        ("Provider", typed),
        *place,
        ("Client ID", client.get(kind, "client-1")),
        ("Client secret", CLIENT_SECRET),
        *([("Expires on", "")] if kind == "entra" else []),
        ("E-mail domains", ""),
        ("JWT SSO endpoint", ENDPOINT),
        ("Shared secret", SHARED_SECRET),
    ]
    settings, words = asked(tmp_path, {}, answers)
    told = words.index(f"https://sso.acme.example/callback/{kind}")
    assert told < words.index("Client ID: ")
    assert "E-mail domains [acme.example]: " in words
    assert ("Short name [acme]: " in words) == (kind == "oidc")
    assert settings.identity_providers[kind].email_domains == ("acme.example",)
    assert CLIENT_SECRET not in words
    assert SHARED_SECRET not in words


@pytest.mark.parametrize(
    ("typed", "hosts"), [("https://dash17.comm100.io/agentconsole", ("dash17.comm100.io",)), ("", ())]
)
def test_on_the_newer_platform_the_host_of_the_agents_pages_is_asked_for(
    tmp_path: Path, typed: str, hosts: tuple[str, ...]
) -> None:
    given = {**GIVEN, "endpoint": "https://secure.comm100.io/sso"}
    settings, words = asked(tmp_path, given, [("Address in the address bar", typed)])
    assert settings.sites["main"].redirect_hosts == hosts
    assert "dash11.comm100.io, dash12.comm100.io" in words


def test_files_that_are_there_are_replaced_only_if_the_person_agrees(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_text("mine", encoding="utf-8")
    kept = talk(Request(tmp_path / "broker.yaml", GIVEN), [("Replace them at the end?", "")])
    assert "Nothing was written" in kept.words
    assert (tmp_path / "broker.yaml").read_text(encoding="utf-8") == "mine"
    assert [one.name for one in tmp_path.iterdir()] == ["broker.yaml"]
    settings, _ = asked(tmp_path, dict(GIVEN), [("Replace them at the end?", "y")])
    assert settings.public_url == GIVEN["public_url"]


def test_a_file_that_comes_while_the_person_answers_is_asked_about_before_anything_is_made(tmp_path: Path) -> None:
    answered = document("https://idp.example")

    def discovery() -> httpx.Response:
        (tmp_path / "broker.yaml").write_text("a colleague's", encoding="utf-8")
        return answered()

    probe = looking(pages={"https://idp.example/.well-known/openid-configuration": discovery})
    given = {key: text for key, text in GIVEN.items() if key != "issuer"}
    answers = [("Issuer", "https://idp.example"), ("Replace them at the end?", "")]
    kept = talk(Request(tmp_path / "broker.yaml", given), answers, probe)
    assert "Nothing was written" in kept.words
    assert (tmp_path / "broker.yaml").read_text(encoding="utf-8") == "a colleague's"
    assert [one.name for one in tmp_path.iterdir()] == ["broker.yaml"]


def test_the_end_names_both_addresses_for_comm100_and_the_next_commands(tmp_path: Path) -> None:
    file = tmp_path / "my settings.yaml"
    written = talk(Request(file, GIVEN), []).written
    assert written is not None
    told = next_steps(written.answers, file, registered=True, all_good=False)
    for line in (
        "Remote Login URL   https://sso.acme.example/login",
        "Remote Logout URL  https://sso.acme.example/logout",
        f"broker check --config '{file}'",
        f"broker serve --config '{file}'",
        f"broker setup-link --config '{file}'",
    ):
        assert f"     {line}\n" in f"{told}\n"
    assert "broker check" not in next_steps(written.answers, file, registered=True, all_good=True)
    assert SHARED_SECRET not in repr(written) + repr(Answers(shared_secret=SHARED_SECRET))
