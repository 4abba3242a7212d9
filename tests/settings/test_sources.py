"""Settings come from a file and from the environment; what cannot be read is a mistake, never a guess."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from broker.errors import SettingsError
from broker.settings import load_settings
from broker.settings.values import UnreadableFile, read_bytes
from tests.settings.admin import Admin

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
)


def test_a_file_with_the_required_keys_is_enough(admin: Admin) -> None:
    settings = admin.load(admin.settings())

    assert settings.public_url == "https://sso.acme.example"
    assert (settings.listen.host, settings.listen.port) == ("0.0.0.0", 8000)
    assert (settings.operations_listen.host, settings.operations_listen.port) == ("127.0.0.1", 9000)
    assert settings.log_email == "hashed"
    site = settings.sites["main"]
    assert (site.delivery, site.token_lifetime, site.identity_providers) == ("endpoint", 60, None)
    assert site.claims == {"iss": "jwt server", "aud": "Comm100", "sub": "comm100"}
    provider = settings.identity_providers["okta"]
    assert provider.scopes == ("openid", "email", "profile")
    assert provider.signing_algorithms == ("RS256",)
    assert (provider.client_authentication, provider.userinfo) == ("client_secret_basic", "always")
    assert (provider.label, provider.enabled) == ("Okta", True)


def test_the_environment_alone_is_enough(admin: Admin) -> None:
    shared, own = admin.secret("a"), admin.secret("b")

    settings = load_settings(
        None,
        {
            "PATH": "/bin",
            "BROKER_CONFIG": "elsewhere.yaml",
            "BROKER_PUBLIC_URL": "https://sso.acme.example",
            "BROKER_SECRET_KEYS": own,
            "BROKER_LISTEN": "[::]:8000",
            "BROKER_SITES__MAIN__ENDPOINT": "https://acme.comm100.com/sso",
            "BROKER_SITES__MAIN__SHARED_SECRET": shared,
            "BROKER_SITES__MAIN__TOKEN_LIFETIME": "120",
            "BROKER_IDENTITY_PROVIDERS__ACME_EU__ISSUER": "https://id.acme.example",
            "BROKER_IDENTITY_PROVIDERS__ACME_EU__CLIENT_ID": "abc",
            "BROKER_IDENTITY_PROVIDERS__ACME_EU__CLIENT_AUTHENTICATION": "none",
            "BROKER_IDENTITY_PROVIDERS__ACME_EU__EMAIL_DOMAINS": "[acme.example]",
        },
    )

    assert settings.listen.host == "::"
    assert settings.secret_keys.reveal() == (own,)
    assert settings.sites["main"].shared_secret.reveal() == shared
    assert settings.sites["main"].token_lifetime == 120
    assert settings.identity_providers["acme_eu"].label == "Acme Eu"
    assert settings.identity_providers["acme_eu"].client_secret is None


def test_the_environment_wins_key_by_key_and_leaves_the_rest(admin: Admin) -> None:
    settings = admin.load(
        admin.settings(sites__main__claims={"iss": "acme", "dept": "support"}),
        BROKER_SITES__MAIN__CLAIMS__ISS="other",
        BROKER_IDENTITY_PROVIDERS="{okta: {label: Acme Okta}}",
        BROKER_IDENTITY_PROVIDERS__OKTA__CLIENT_ID="xyz",
    )

    assert settings.sites["main"].claims == {"iss": "other", "aud": "Comm100", "sub": "comm100", "dept": "support"}
    provider = settings.identity_providers["okta"]
    assert (provider.label, provider.client_id, provider.issuer) == ("Acme Okta", "xyz", "https://acme.okta.com")


def test_an_empty_variable_takes_a_key_of_the_file_away(admin: Admin) -> None:
    secret = admin.secret("other")

    settings = admin.load(
        admin.settings(support_email="it@acme.example"),
        BROKER_SUPPORT_EMAIL="",
        BROKER_SITES__MAIN__SHARED_SECRET_FILE="",
        BROKER_SITES__MAIN__SHARED_SECRET=secret,
    )

    assert settings.support_email is None
    assert settings.sites["main"].shared_secret.reveal() == secret


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param("0123456789012345678901234567890123456789", None, id="digits"),
        pytest.param("kT9 #vQ2:aaaaBBBBccccDDDDeeeeFFFFgggg", None, id="comment and colon"),
        pytest.param("@kT9vQ2aaaaBBBBccccDDDDeeeeFFFFgggghhhh", None, id="no YAML"),
        pytest.param(
            '"kT9 vQ2aaaaBBBBccccDDDDeeeeFFFFgggghhhh"', "kT9 vQ2aaaaBBBBccccDDDDeeeeFFFFgggghhhh", id="quoted"
        ),
    ],
)
def test_a_secret_in_the_environment_is_taken_as_it_stands(admin: Admin, text: str, secret: str | None) -> None:
    tree = admin.settings(without="sites__main__shared_secret_file")

    settings = admin.load(tree, BROKER_SITES__MAIN__SHARED_SECRET=text)

    assert settings.sites["main"].shared_secret.reveal() == (secret or text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("BROKER_PUBLIC_ULR", "did you mean public_url", id="near miss"),
        pytest.param("BROKER_SITES__MAIN__ENDPONT", "did you mean endpoint", id="near miss in a section"),
        pytest.param("BROKER_SITES__main__ENDPOINT", "is no setting", id="lower case"),
        pytest.param("BROKER_SITES___MAIN", "is no setting", id="three underscores"),
        pytest.param("BROKER_", "is no setting", id="no name"),
        pytest.param("BROKER_SERVICE_HOST", "Kubernetes", id="service link"),
        pytest.param("BROKER_COMM100_SSO_BROKER_PORT_8000_TCP_ADDR", "Kubernetes", id="service link of a release"),
    ],
)
def test_an_unknown_variable_is_refused_by_its_name(admin: Admin, name: str, words: str) -> None:
    (mistake,) = admin.refused(admin.settings(), **{name: "https://elsewhere.example"})

    assert words in mistake.problem
    assert name in mistake.path + mistake.problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param(
            "BROKER_IDENTITY_PROVIDERS_ACME_EU_CLIENT_ID", "BROKER_IDENTITY_PROVIDERS__ACME_EU__CLIENT_ID", id="none"
        ),
        pytest.param("BROKER_SITES_MAIN__ENDPOINT", "BROKER_SITES__MAIN__ENDPOINT", id="the second"),
        pytest.param("BROKER_SITES__EU_SHARED_SECRET_FILE", "BROKER_SITES__EU__SHARED_SECRET_FILE", id="the first"),
    ],
)
def test_a_variable_with_too_few_underscores_is_answered_with_the_right_name(
    admin: Admin, name: str, meant: str
) -> None:
    (mistake,) = admin.refused(admin.settings(), **{name: "x"})

    assert "joined by two underscores" in mistake.problem
    assert mistake.example == meant


@pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param("public_url", "BROKER_PUBLIC_URL", id="value"),
        pytest.param("secret_keys_file", "BROKER_SECRET_KEYS_FILE", id="file of a secret"),
        pytest.param("secret_keys_file", "BROKER_SECRET_KEYS", id="secret"),
        pytest.param("sites__main__endpoint", "BROKER_SITES__MAIN__ENDPOINT", id="value of a section"),
    ],
)
def test_an_empty_variable_is_named_where_its_value_is_required(admin: Admin, key: str, name: str) -> None:
    (mistake,) = admin.refused(admin.settings(without=key), **{name: ""})

    assert mistake.problem.startswith("is required")
    assert mistake.problem.endswith(f"({name} is empty)")


def test_a_variable_below_a_single_value_is_refused(admin: Admin) -> None:
    mistakes = admin.refused(admin.settings(), BROKER_LISTEN="0.0.0.0:80", BROKER_LISTEN__PORT="80")

    assert [mistake.path for mistake in mistakes] == ["BROKER_LISTEN__PORT"]


def test_a_variable_that_stands_for_too_many_values_is_refused(admin: Admin) -> None:
    (mistake,) = admin.refused(admin.settings(), BROKER_TRUSTED_PROXIES="&a [*a]")

    assert mistake.path == "BROKER_TRUSTED_PROXIES"
    assert "stands for more than" in mistake.problem


def test_a_mistake_in_a_variable_names_the_variable(admin: Admin) -> None:
    (mistake,) = admin.refused(admin.settings(), BROKER_SITES__MAIN__DELIVERY="pigeon")

    assert mistake.path == "sites.main.delivery"
    assert "(given by BROKER_SITES__MAIN__DELIVERY)" in mistake.problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("- a\n- b\n", "must be keys with values, not a list", id="list"),
        pytest.param("just text", "must be keys with values, not a single value", id="text"),
        pytest.param("sites:\n\tmain: 1\n", "line 2 begins with a tab; indent with spaces", id="tab"),
        pytest.param("sites:\n  main:\n  \ta: 1\n", "line 3 begins with a tab", id="tab behind spaces"),
        pytest.param("\ufeffsites:\n\tmain: 1\n", "line 2 begins with a tab", id="tab in a file with a mark"),
        pytest.param("a: [", "not YAML near line", id="broken"),
        pytest.param("a: *nothing", "not YAML near line 1", id="unknown alias"),
        pytest.param("a: !!python/object/apply:os.getcwd []", "not YAML near line 1", id="python object"),
        pytest.param("a: 1\n---\nb: 2\n", "not YAML near line 2", id="two documents"),
        pytest.param("a: 2026-02-31", "date that does not exist", id="no such date"),
        pytest.param("{a: 1}: 2", "key that is not text in line 1", id="mapping as key"),
        pytest.param("[" * 100_000, "nested too deep", id="deep"),
        pytest.param("#" * 300_000, "larger than", id="large"),
        pytest.param(BOMB, "stands for more than", id="alias bomb"),
        pytest.param("a: &a [*a]", "stands for more than", id="alias to itself"),
    ],
)
def test_a_file_that_is_no_settings_file_is_one_mistake(admin: Admin, text: str, words: str) -> None:
    began = time.process_time()

    (mistake,) = admin.refused(text)

    assert mistake.path.endswith("broker.yaml")
    assert words in mistake.problem
    assert time.process_time() - began < 10


def test_merge_keys_are_refused_without_being_merged(admin: Admin) -> None:
    (mistake,) = admin.refused(MERGE_BOMB)

    assert "stands for more than" in mistake.problem
    assert any(mistake.path == "<<" for mistake in admin.refused("<<: {listen: '0.0.0.0:80'}"))


def test_an_alias_means_what_it_stands_for_in_each_place(admin: Admin) -> None:
    tree = admin.settings()
    tree["identity_providers"]["entra"] = tree["identity_providers"]["okta"] | {"email_domains": ["acme-eu.example"]}
    tree["identity_providers"]["okta"]["scopes"] = tree["identity_providers"]["entra"]["scopes"] = ["openid", "email"]

    settings = admin.load(tree, BROKER_IDENTITY_PROVIDERS__OKTA__SCOPES="[openid]")

    assert "*id001" in (admin.folder / "broker.yaml").read_text()
    assert settings.identity_providers["okta"].scopes == ("openid",)
    assert settings.identity_providers["entra"].scopes == ("openid", "email")


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0.yaml"], ids=["missing", "folder", "no path"])
def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(tmp_path / name, {})

    (mistake,) = refusal.value.mistakes
    assert "cannot be read" in mistake.problem


def test_a_file_that_is_not_utf_8_is_one_mistake(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_bytes(b"label: \xff\xfe\n")

    with pytest.raises(SettingsError) as refusal:
        load_settings(tmp_path / "broker.yaml", {})

    assert "not YAML" in refusal.value.mistakes[0].problem


def test_a_key_given_twice_is_refused_with_both_lines(admin: Admin) -> None:
    file = admin.write(admin.settings())
    file.write_text(file.read_text() + "public_url: https://other.example\n")

    with pytest.raises(SettingsError) as refusal:
        load_settings(file, {})

    (mistake,) = refusal.value.mistakes
    assert mistake.path == "public_url"
    assert "twice, in line 1 and in line" in mistake.problem


def test_an_empty_file_lacks_everything_required(admin: Admin) -> None:
    assert [mistake.path for mistake in admin.refused("")] == [
        "public_url",
        "secret_keys_file",
        "sites",
        "identity_providers",
    ]


def test_without_a_file_it_is_said_where_one_was_looked_for() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(None, {"BROKER_PUBLIC_URL": "https://sso.acme.example"})

    first, *others = refusal.value.mistakes
    assert first.path == "settings file"
    assert f"{Path.cwd()} has no broker.yaml, and neither --config nor BROKER_CONFIG names one" in first.problem
    assert [mistake.path for mistake in others] == ["secret_keys_file", "sites", "identity_providers"]


def test_where_nothing_is_set_at_all_the_only_mistake_is_that() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(None, {"PATH": "/bin"})

    [mistake] = refusal.value.mistakes
    assert (mistake.path, mistake.example) == ("settings file", "broker init")


def test_a_mistake_in_an_environment_that_gives_everything_is_told_without_asking_for_a_file(admin: Admin) -> None:
    environ = {f"BROKER_{key.upper()}": json.dumps(value) for key, value in admin.settings().items()}

    with pytest.raises(SettingsError) as refusal:
        load_settings(None, environ | {"BROKER_LOG_EMAIL": "full"})

    assert "settings file" not in [mistake.path for mistake in refusal.value.mistakes]


def test_a_null_counts_as_not_given(admin: Admin) -> None:
    settings = admin.load(admin.settings(listen=None, identity_providers__okta__scopes=None, trusted_ca_file=None))

    assert settings.listen.port == 8000
    assert settings.identity_providers["okta"].scopes == ("openid", "email", "profile")


def test_the_first_site_of_the_file_stays_the_first(admin: Admin) -> None:
    site = admin.settings()["sites"]["main"]

    settings = admin.load(admin.settings(sites={"zulu": site, "alpha": site}))

    assert list(settings.sites) == ["zulu", "alpha"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("!!bool abc", id="a tag of another type"),
        pytest.param('!!int ""', id="an empty number"),
        pytest.param("!!timestamp abc", id="no date"),
        pytest.param('"\\UFFFFFFFF"', id="a character beyond Unicode"),
        pytest.param(":".join(["1"] + ["59"] * 600) + ".5", id="a number beyond bounds"),
    ],
)
def test_a_value_that_the_library_cannot_make_is_one_mistake(admin: Admin, value: str) -> None:
    file = admin.write(admin.settings())
    file.write_text(f"{file.read_text()}support_email: {value}\n")

    with pytest.raises(SettingsError) as refusal:
        load_settings(file, {})

    (mistake,) = refusal.value.mistakes
    assert mistake.path == str(file)
    assert "is not YAML" in mistake.problem


def test_a_pipe_is_read_until_its_end(admin: Admin, tmp_path: Path) -> None:
    text, pipe = admin.write(admin.settings()).read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(text + b"#" * 200_000,))
    writing.start()
    assert len(read_bytes(pipe, 300_000)) == len(text) + 200_000
    writing.join(5)


@pytest.mark.parametrize("is_open", [False, True], ids=["nobody opens it", "nobody writes"])
def test_a_pipe_that_nobody_writes_hangs_nothing(tmp_path: Path, is_open: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR) if is_open else None
    with pytest.raises(UnreadableFile) as refusal:
        read_bytes(tmp_path / "pipe", 1000, pipe_seconds=0.1)
    assert refusal.value.problem == "cannot be read (a pipe that no program writes and closes)"
    if writer is not None:
        os.close(writer)
