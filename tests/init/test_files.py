"""The files that `broker init` writes: readable by their owner alone, and all or none."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from broker.init import NotWritten, Request, set_up
from broker.init.files import Place, staged
from broker.init.questions import Answers
from broker.init.template import settings_text as rendered
from broker.settings import load_settings
from broker.settings.model import Settings, SiteSettings
from broker.settings.provider import ProviderSettings
from tests.init.answering import CLIENT_SECRET, ENDPOINT, GIVEN, SHARED_SECRET, TENANT, document, looking

FILES = ["broker.yaml", "secrets/broker-keys", "secrets/client-secret", "secrets/comm100-shared-secret"]
SECRETS = {"broker-keys": "new " * 9, "comm100-shared-secret": "new", "client-secret": "new"}


def set_up_in(folder: Path, **changed: str) -> Settings:
    request = Request(folder / "broker.yaml", {**GIVEN, **changed}, overwrite=True)
    return load_settings(set_up(request, None).files[-1], {})


def names(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if not one.is_dir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_each_settings_file_has_its_own_secrets(tmp_path: Path) -> None:
    first = set_up_in(tmp_path)
    request = Request(tmp_path / "other.yaml", {**GIVEN, "client_secret": "another-secret"}, overwrite=True)
    other = load_settings(set_up(request, None).files[-1], {})
    assert first.secret_keys.reveal() == load_settings(tmp_path / "broker.yaml", {}).secret_keys.reveal()
    assert first.secret_keys.reveal() != other.secret_keys.reveal()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "broker.yaml",
        "other.yaml",
        "other.yaml.secrets",
        "secrets",
    ]


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("again", [False, True], ids=["the first time", "over older files that everybody could read"])
def test_files_are_for_their_owner_alone(tmp_path: Path, again: bool) -> None:
    if again:
        (tmp_path / "secrets").mkdir(mode=0o755)
        for name in FILES:
            (tmp_path / name).write_text("old", encoding="utf-8")
    settings = set_up_in(tmp_path)
    assert names(tmp_path) == FILES
    assert {mode(tmp_path / name) for name in FILES} == {0o600}
    assert mode(tmp_path / "secrets") == (0o755 if again else 0o700)
    assert settings.sites["main"].shared_secret.reveal() == SHARED_SECRET
    [key] = settings.secret_keys.reveal()
    assert len(key) >= 64


def test_the_brokers_own_keys_are_new_each_time(tmp_path: Path) -> None:
    assert set_up_in(tmp_path).secret_keys.reveal() != set_up_in(tmp_path).secret_keys.reveal()


@pytest.mark.parametrize("name", FILES)
def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched", encoding="utf-8")
    folder = tmp_path / "broker"
    (folder / "secrets").mkdir(parents=True, mode=0o700)
    (folder / name).symlink_to(victim)
    set_up_in(folder)
    assert victim.read_text(encoding="utf-8") == "untouched"
    assert not (folder / name).is_symlink()
    assert names(folder) == FILES


@pytest.mark.parametrize(
    ("in_the_way", "said"),
    [
        pytest.param(
            lambda folder: (folder / "secrets").symlink_to(folder), "is not a folder, or is a link", id="a link"
        ),
        pytest.param(lambda folder: (folder / "secrets").touch(), "is not a folder, or is a link", id="a file"),
        pytest.param(lambda folder: os.mkfifo(folder / "secrets"), "is not a folder, or is a link", id="a pipe"),
        pytest.param(lambda folder: _open_folder(folder / "secrets"), "Others can write to", id="everybody's folder"),
        pytest.param(lambda folder: folder.chmod(0o777), "Everybody can write to", id="in everybody's folder"),
        pytest.param(lambda folder: (folder / "broker.yaml").mkdir(), "is a folder", id="a folder for a file"),
        pytest.param(lambda folder: folder.rmdir(), "does not exist", id="nothing"),
    ],
)
def test_a_place_that_cannot_be_trusted_is_refused_before_anything_is_asked(
    tmp_path: Path, in_the_way: object, said: str
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    assert callable(in_the_way)
    in_the_way(folder)
    before = names(tmp_path)
    with pytest.raises(NotWritten, match=said):
        set_up_in(folder)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        pytest.param(lambda folder: (folder / "broker.yaml").write_text("theirs"), "exist already", id="a file"),
        pytest.param(lambda folder: (folder / "secrets").symlink_to(folder.parent), "is not a folder", id="a link"),
        pytest.param(lambda folder: _open_folder(folder / "secrets"), "Others can write to", id="everybody's folder"),
    ],
)
def test_what_comes_into_the_way_while_questions_are_answered_is_neither_replaced_nor_followed(
    tmp_path: Path, meanwhile: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    answered = document("https://idp.example")

    def discovery() -> httpx.Response:
        meanwhile(folder)
        return answered()

    probe = looking(pages={"https://idp.example/.well-known/openid-configuration": discovery})
    with pytest.raises(NotWritten, match=said):
        set_up(Request(folder / "broker.yaml", GIVEN), probe)
    assert names(tmp_path) in ([], ["broker/broker.yaml"], ["broker/secrets"])
    assert [one.name for one in folder.iterdir()] in (["broker.yaml"], ["secrets"])


@pytest.mark.parametrize("with_folder", [False, True], ids=["without a folder of secrets", "over older files"])
def test_a_failure_midway_leaves_everything_as_it_was(tmp_path: Path, with_folder: bool) -> None:
    if with_folder:
        (tmp_path / "secrets").mkdir(mode=0o700)
        for name in FILES:
            (tmp_path / name).write_text(f"old {name}", encoding="utf-8")
    before = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names(tmp_path)}
    with (
        pytest.raises(FileNotFoundError),  # the last of the moves finds nothing to move
        staged(Place(tmp_path / "broker.yaml"), "new", SECRETS) as made,
    ):
        made.unlink()
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in names(tmp_path)} == before
    assert [one.name for one in tmp_path.iterdir()] == sorted({name.partition("/")[0] for name in before}, reverse=True)


def test_settings_that_cannot_be_used_are_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged(Place(tmp_path / "broker.yaml"), "new", SECRETS):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def answers_for(kind: str, **changed: object) -> Answers:
    place = {"tenant": TENANT} if kind == "entra" else {} if kind == "google" else {"issuer": "https://i.example"}
    return Answers(
        **{
            "public_url": "https://sso.acme.example",
            "preset": kind,
            "id": kind,
            "client_id": "client-1",
            "client_secret": CLIENT_SECRET,
            "email_domains": ("acme.example", "acme.co.uk"),
            "endpoint": ENDPOINT,
            "shared_secret": SHARED_SECRET,
            **place,
            **changed,
        }  # type: ignore[arg-type]
    )


def settings_text(answers: Answers) -> str:
    return rendered(answers, "secrets")


def loaded(folder: Path, text: str) -> Settings:
    with staged(Place(folder / "broker.yaml"), text, dict.fromkeys(SECRETS, SHARED_SECRET)):
        pass
    return load_settings(folder / "broker.yaml", {})


@pytest.mark.parametrize("kind", ["okta", "entra", "google", "oidc"])
def test_each_key_that_is_shown_in_a_comment_can_be_used(tmp_path: Path, kind: str) -> None:
    shown = re.compile(r"^( *)# (?=[a-z_]+: )", re.MULTILINE)
    text = settings_text(answers_for(kind))
    keys = set(re.findall(r"^ *# ([a-z_]+): ", text, re.MULTILINE))
    assert len(keys) >= 8
    assert keys <= {key for section in (Settings, SiteSettings, ProviderSettings) for key in section.known_keys()}
    without_authority = re.sub(r"^# trusted_ca_file.*\n", "", text, flags=re.MULTILINE)
    settings = loaded(tmp_path, shown.sub(r"\1", without_authority))
    assert settings.support_email == "it-desk@acme.example"
    assert settings.identity_providers[kind].enabled is False


@pytest.mark.parametrize(
    "client_id",
    [
        "0123",
        "1e5",
        "12:30:45",
        "true",
        "null",
        'a "quoted" \\ one',
        "x: y # z",
        "übergang",
        "2027-01-01",
        "\U0001f511",
    ],
)
def test_a_client_id_is_written_so_that_it_is_read_as_text(tmp_path: Path, client_id: str) -> None:
    settings = loaded(tmp_path, settings_text(answers_for("oidc", client_id=client_id)))
    assert settings.identity_providers["oidc"].client_id == client_id


@pytest.mark.parametrize("identifier", ["1", "0x1f", "123_4", "null", "true", "yes", "acme_eu"])
def test_an_id_is_written_so_that_it_is_read_as_text(tmp_path: Path, identifier: str) -> None:
    settings = loaded(tmp_path, settings_text(answers_for("oidc", id=identifier)))
    assert list(settings.identity_providers) == [identifier]


@pytest.mark.parametrize(
    ("public_url", "listen", "operations"),
    [
        pytest.param("https://sso.acme.example", "127.0.0.1:8000", "127.0.0.1:9000", id="a proxy in front"),
        pytest.param("http://127.0.0.1:8765", "127.0.0.1:8765", "127.0.0.1:9000", id="to try it out"),
        pytest.param("http://localhost:9000", "127.0.0.1:9000", "127.0.0.1:9001", id="on the other port"),
        pytest.param("https://localhost:8443", "127.0.0.1:8000", "127.0.0.1:9000", id="a proxy on loopback"),
    ],
)
def test_the_broker_listens_where_browsers_or_the_proxy_will_ask(
    tmp_path: Path, public_url: str, listen: str, operations: str
) -> None:
    settings = loaded(tmp_path, settings_text(answers_for("oidc", public_url=public_url)))
    assert (str(settings.listen), str(settings.operations_listen)) == (listen, operations)


def _open_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def test_an_address_that_was_typed_with_a_slash_at_its_end_is_written_without(tmp_path: Path) -> None:
    text = settings_text(answers_for("oidc", public_url="https://sso.acme.example/"))
    assert loaded(tmp_path, text).public_url == "https://sso.acme.example"
    assert "redirect URI: https://sso.acme.example/callback/" in text
    assert re.search(r"[^:]//", text) is None
