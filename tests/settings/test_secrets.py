"""A secret is used but never shown, and renewed without a restart."""

import copy
import hashlib
import logging
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.settings import Secret, Settings, secret_files
from broker.settings.secrets import WatchedFile, WatchedKeys, check_shared_secret, parse_secret_keys
from tests.settings.admin import Admin


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_newline_at_the_end_of_a_file_is_no_part_of_the_secret(admin: Admin) -> None:
    secret = admin.secret("shared-secret")
    assert admin.load(admin.settings()).sites["main"].shared_secret.reveal() == secret

    (admin.folder / "shared-secret").write_bytes(secret.encode() + b"\r\n")
    assert admin.load(admin.settings()).sites["main"].shared_secret.reveal() == secret


def test_own_keys_come_newest_first_without_blank_lines(admin: Admin) -> None:
    new, old = admin.secret("new"), admin.secret("old")
    admin.secret("keys", f"{new}\n\n{old}\n")

    assert admin.load(admin.settings()).secret_keys.reveal() == (new, old)


@pytest.mark.parametrize("together", ["\n".join, list], ids=["lines", "list"])
def test_own_keys_may_stand_in_the_settings_file(admin: Admin, together: Callable[[tuple[str, str]], object]) -> None:
    keys = (admin.secret("new"), admin.secret("old"))
    tree = admin.settings(without="secret_keys_file", secret_keys=together(keys))

    assert admin.load(tree).secret_keys.reveal() == keys


def test_a_secret_file_is_looked_for_beside_the_settings_file(
    admin: Admin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = Admin(tmp_path_factory.mktemp("elsewhere"))
    secret = elsewhere.secret("absolute")

    settings = admin.load(admin.settings(sites__main__shared_secret_file=str(elsewhere.folder / "absolute")))

    assert settings.sites["main"].shared_secret.reveal() == secret
    assert settings.identity_providers["okta"].client_secret is not None


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda settings: str(settings.model_dump()), id="dump"),
        pytest.param(lambda settings: settings.model_dump_json(), id="JSON"),
        pytest.param(lambda settings: str(vars(settings)), id="vars"),
        pytest.param(lambda settings: f"{settings.sites['main'].shared_secret}", id="format"),
    ],
)
def test_showing_settings_shows_no_secret(admin: Admin, show: Callable[[Settings], str]) -> None:
    settings = admin.load(admin.settings())
    client_secret = settings.identity_providers["okta"].client_secret
    assert client_secret is not None

    shown = show(settings)

    assert "hidden" in shown
    for secret in (
        *settings.secret_keys.reveal(),
        settings.sites["main"].shared_secret.reveal(),
        client_secret.reveal(),
    ):
        assert secret not in shown


@pytest.mark.parametrize("write", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_secret_is_not_written_down(write: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        write(Secret(lambda: "a secret"))


def test_settings_do_not_change(admin: Admin) -> None:
    settings = admin.load(admin.settings())

    with pytest.raises(ValueError, match="frozen"):
        settings.public_url = "https://other.example"
    with pytest.raises(TypeError, match="does not support item assignment"):
        settings.sites["main"] = settings.sites["main"]  # type: ignore[index]


def test_settings_are_made_by_load_settings_only(admin: Admin) -> None:
    with pytest.raises(TypeError, match="load_settings only"):
        Settings(**admin.settings())


def test_a_changed_file_is_read_again_at_most_once_a_second(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    old = admin.secret("file")
    watched = WatchedFile(admin.folder / "file", check_shared_secret, clock)
    new = admin.secret("file")
    caplog.set_level(logging.INFO, "broker.settings")

    clock.now = 0.9
    assert watched() == old
    clock.now = 1.0
    assert watched() == new
    assert watched() == new
    assert [record.getMessage() for record in caplog.records] == [
        f"{admin.folder / 'file'} changed; the new value is in use"
    ]
    assert new not in caplog.text


def test_settings_that_are_loaded_renew_their_secrets(admin: Admin) -> None:
    settings = admin.load(admin.settings())
    shared, own = admin.secret("shared-secret"), admin.secret("keys")

    deadline = time.monotonic() + 10
    while settings.sites["main"].shared_secret.reveal() != shared or settings.secret_keys.reveal() != (own,):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_secret_is_renewed_by_a_link_put_in_place_of_another(admin: Admin) -> None:
    clock = Clock()
    new = admin.secret("..new")
    admin.secret("..old")
    link = admin.folder / "file"
    link.symlink_to("..old")
    watched = WatchedFile(link, check_shared_secret, clock)

    (admin.folder / "..next").symlink_to("..new")
    (admin.folder / "..next").rename(link)
    clock.now = 2.0

    assert watched() == new


def test_a_file_is_looked_at_at_once_if_asked(admin: Admin) -> None:
    old = admin.secret("client-secret")
    secret = admin.load(admin.settings()).identity_providers["okta"].client_secret
    assert secret is not None
    assert secret.reveal() == old
    new = admin.secret("client-secret")
    assert secret.reveal() == old, "it was looked at less than a second ago"
    assert secret.reread() == new == secret.reveal()


OLD, NEW, NEWEST = (hashlib.sha256(word).hexdigest() for word in (b"old", b"new", b"newest"))


def keys_in(file: Path, clock: Clock, *keys: str) -> None:
    """Replace the keys in the file, and let the next look be due."""
    file.write_text("".join(f"{key}\n" for key in keys))
    clock.now += 1


def test_a_new_key_verifies_at_once_and_signs_two_minutes_later(admin: Admin) -> None:
    """Meanwhile a replica that has not seen the new key verifies whatever this one signs."""
    file, clock = admin.folder / "keys", Clock()
    keys_in(file, clock, OLD)
    watched = WatchedKeys(file, parse_secret_keys, clock)
    assert watched() == (OLD,), "at the start the first key signs"
    keys_in(file, clock, NEW, OLD)
    assert watched() == (OLD, NEW)
    clock.now += 60
    keys_in(file, clock, NEW, OLD, NEWEST)
    assert watched() == (OLD, NEW, NEWEST), "another change does not begin the wait anew"
    clock.now += 58
    assert watched()[0] == OLD
    clock.now += 1
    assert watched() == (NEW, OLD, NEWEST)


def test_a_key_that_left_the_file_is_not_used_again(admin: Admin) -> None:
    file, clock = admin.folder / "keys", Clock()
    keys_in(file, clock, OLD)
    watched = WatchedKeys(file, parse_secret_keys, clock)
    keys_in(file, clock, NEW, OLD)
    assert watched() == (OLD, NEW)
    keys_in(file, clock, NEW)
    assert watched() == (NEW,)
    keys_in(file, clock, OLD, NEW)
    assert watched() == (NEW, OLD), "the previous key waits, too, if it comes back"
    keys_in(file, clock, NEW, OLD)
    assert watched() == (NEW, OLD)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda file: file.unlink(), "cannot be read", id="gone"),
        pytest.param(lambda file: file.write_text("unfit-but-still-a-secret"), "shorter than 32 bytes", id="short"),
        pytest.param(lambda file: file.write_text(""), "is empty", id="empty"),
        pytest.param(lambda file: file.write_bytes(b"\xff" * 40), "not UTF-8", id="no text"),
    ],
)
def test_the_last_good_secret_stays_when_the_new_one_is_not(
    admin: Admin, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], words: str
) -> None:
    clock = Clock()
    good = admin.secret("file")
    watched = WatchedFile(admin.folder / "file", check_shared_secret, clock)

    spoil(admin.folder / "file")
    for clock.now in (1.0, 2.0, 3.0):
        assert watched() == good

    (record,) = caplog.records  # once, not at every look
    assert (record.name, record.levelname) == ("broker.settings", "ERROR")
    assert words in record.getMessage()
    assert "unfit" not in caplog.text
    assert watched.is_rejected()
    better = admin.secret("file")
    clock.now = 4.0
    assert watched() == better
    assert not watched.is_rejected()


def test_each_secret_in_a_file_tells_whether_the_file_is_rejected(admin: Admin) -> None:
    told = secret_files(admin.load(admin.settings()))
    assert {path: is_rejected() for path, is_rejected in told.items()} == {
        "secret_keys": False,
        "sites.main.shared_secret": False,
        "identity_providers.okta.client_secret": False,
    }


@pytest.mark.requirement("S-30")
@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("kT9vQ2aaBBccDDeeFFggHHiiJJkkLLm", "shorter than 32 bytes", id="31 bytes"),
        pytest.param("changeme-changeme-changeme-changeme", "placeholder", id="changeme"),
        pytest.param("your-comm100-jwt-shared-secret-goes-here", "placeholder", id="goes here"),
        pytest.param("TODO: paste the secret from the Control Panel", "placeholder", id="to do"),
        pytest.param("please-change-me-please-this-is-a-secret", "placeholder", id="change-me"),
        pytest.param("this-is-just-an-example-of-a-secret!", "placeholder", id="example"),
        pytest.param("secretsecretsecretsecretsecretsecre", "short text repeated", id="secret repeated"),
        pytest.param("x" * 40, "short text repeated", id="one character"),
        pytest.param("xxxx-xxxx-xxxx-xxxx-xxxx-xxxx-xxxx-xxxx", "short text repeated", id="xxxx-xxxx"),
        pytest.param("acme-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "placeholder", id="acme-xxxx"),
        pytest.param("<the shared secret of the Control Panel>", "placeholder", id="angle brackets"),
        pytest.param("SHARED_SECRET=kT9vQ2aaBBccDDeeFFggHHiiJJkk", "begins with a name", id="a variable"),
        pytest.param("export COMM100_SECRET='kT9vQ2aaBBccDDeeFFggHHiiJJkk'", "begins with a name", id="a shell's line"),
        pytest.param('"kT9vQ2aaBBccDDeeFFggHHiiJJkkLLmm"', "is in quotes", id="quotes"),
        pytest.param(" kT9vQ2aaBBccDDeeFFggHHiiJJkkLLmmNN", "white space", id="white space"),
        pytest.param("kT9vQ2aaBBccDDeeFFggHHiiJJkkLLmmNN\nkT9v", "control character", id="two lines"),
    ],
)
def test_a_weak_shared_secret_is_refused(admin: Admin, secret: str, words: str) -> None:
    admin.secret("shared-secret", secret)

    (mistake,) = admin.refused(admin.settings())

    assert mistake.path == "sites.main.shared_secret_file"
    assert words in mistake.problem


@pytest.mark.parametrize("piece", ["todo", "TODO", "xXXx", "Demo", "test"])
def test_a_random_secret_is_taken_whatever_short_word_turns_up_in_it(admin: Admin, piece: str) -> None:
    admin.secret("shared-secret", f"kT9vQ2aaBBccDDee{piece}FFggHHiiJJkkLLmmNN")

    assert piece in admin.load(admin.settings()).sites["main"].shared_secret.reveal()


@pytest.mark.requirement("S-51")
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param("", "holds no key", id="none"),
        pytest.param("\n\n", "holds no key", id="blank lines"),
        pytest.param("kT9vQ2aaBBccDDeeFFggHHiiJJkkLLm", "shorter than 32 bytes (key 1 of 1)", id="31 bytes"),
        pytest.param(
            "kT9vQ2aaBBccDDeeFFggHHiiJJkkLLmmNN\nshort", "shorter than 32 bytes (key 2 of 2)", id="old one short"
        ),
        pytest.param("\n".join(["kT9vQ2aaBBccDDeeFFggHHiiJJkkLLmmNN"] * 2), "same key twice", id="repeated"),
        pytest.param("0" * 64, "short text repeated", id="one character"),
    ],
)
def test_weak_own_keys_are_refused(admin: Admin, keys: str, words: str) -> None:
    admin.secret("keys", keys)

    (mistake,) = admin.refused(admin.settings())

    assert mistake.path == "secret_keys_file"
    assert words in mistake.problem


@pytest.mark.parametrize("secret", ["<client secret>", "changeme", "xxxxxxxx", "replace-me", "your-app-secret"])
def test_a_placeholder_is_no_client_secret(admin: Admin, secret: str) -> None:
    admin.secret("client-secret", secret)

    (mistake,) = admin.refused(admin.settings())

    assert "is a placeholder" in mistake.problem


@pytest.mark.parametrize(
    "secret",
    ["mysecret==", "Zm9vc2VjcmV0=", "a'b'", "k<T9>v"],
    ids=["padding", "more of it", "quotes inside", "brackets inside"],
)
def test_a_client_secret_that_only_looks_a_little_odd_is_taken(admin: Admin, secret: str) -> None:
    admin.secret("client-secret", secret)

    client_secret = admin.load(admin.settings()).identity_providers["okta"].client_secret

    assert client_secret is not None
    assert client_secret.reveal() == secret


def test_a_client_secret_may_be_short_for_the_provider_chose_it(admin: Admin) -> None:
    admin.secret("client-secret", "secret")

    client_secret = admin.load(admin.settings()).identity_providers["okta"].client_secret

    assert client_secret is not None
    assert client_secret.reveal() == "secret"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        pytest.param("missing", "cannot be read (No such file or directory)", id="missing"),
        pytest.param(".", "cannot be read (Is a directory)", id="folder"),
        pytest.param("/dev/zero", "larger than", id="endless"),
        pytest.param("nul\0", "cannot be read (no usable path)", id="no path"),
        pytest.param(5, "must be a path", id="number"),
    ],
)
def test_a_secret_file_that_cannot_be_read_is_refused(admin: Admin, file: object, words: str) -> None:
    (mistake,) = admin.refused(admin.settings(sites__main__shared_secret_file=file))

    assert mistake.path == "sites.main.shared_secret_file"
    assert words in mistake.problem


@pytest.mark.parametrize("path", ["sites__main__shared_secret_file", "trusted_ca_file", "logo_file"])
def test_a_file_that_is_not_there_was_looked_for_beside_the_settings_file(admin: Admin, path: str) -> None:
    (relative,) = admin.refused(admin.settings(**{path: "not-there"}))
    (absolute,) = admin.refused(admin.settings(**{path: "/not-there"}))

    assert relative.problem.endswith(f"; relative paths start at {admin.folder}")
    assert "relative" not in absolute.problem
    assert "not-there" not in relative.problem + absolute.problem


def test_a_secret_given_both_ways_is_refused(admin: Admin) -> None:
    (mistake,) = admin.refused(admin.settings(sites__main__shared_secret=admin.secret("other")))

    assert "is given twice" in mistake.problem


def test_a_secret_that_yaml_reads_as_a_number_is_refused(admin: Admin) -> None:
    tree = admin.settings(without="sites__main__shared_secret_file", sites__main__shared_secret=int("7" * 40))

    (mistake,) = admin.refused(tree)

    assert "put it in quotes" in mistake.problem


def test_a_pipe_in_the_place_of_a_secret_does_not_hold_up_the_service(tmp_path: Path) -> None:
    file, clock = tmp_path / "secret", Clock()
    file.write_text("first\n", encoding="utf-8")
    watched = WatchedFile(file, str, clock)
    file.unlink()
    os.mkfifo(file)
    clock.now += 2

    began = time.monotonic()
    assert watched() == "first"
    assert time.monotonic() - began < 1
    assert watched.is_rejected()
