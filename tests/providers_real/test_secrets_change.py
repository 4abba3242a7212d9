"""Secrets changed in their files while the broker runs, between two sign-ins and in the middle of one: none fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from broker.errors import ClientRejected, StateInvalid
from tests.providers_real import person, programs, vendors
from tests.providers_real.scene import (
    CLIENT_SECRET,
    SECRET_KEY,
    SHARED_SECRET,
    Scene,
    assert_refused,
    claims_for_comm100,
    started,
)

ACCOUNTS = {"ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}}
NEW_CLIENT_SECRET = "another secret, with % and : in it"
NEW_SHARED_SECRET = "TmV3LXNlY3JldC1vZi1jb21tMTAwLXNpdGUtMjAyNi0xMS0yMg=="
NEW_KEY = "n" * 20 + "fedcba9876543210fedcba9876543210"
LOOK_SECONDS = 1.1  # a file is looked at once a second at most


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    accepted = tmp_path / "accepted-secrets"
    accepted.write_text(CLIENT_SECRET)

    def vendor(origin: str) -> vendors.Vendor:
        return vendors.okta(origin).saying(client_secrets_file=str(accepted))

    with started(tmp_path, vendor, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


def change(scene: Scene, name: str, secret: str) -> None:
    """Write another secret into a file of the broker's, and give it the time to look."""
    programs.secret_file(scene.folder / name, secret)
    time.sleep(LOOK_SECONDS)


def accept(scene: Scene, *secrets: str) -> None:
    """What the provider accepts from now on."""
    (scene.folder / "accepted-secrets").write_text("\n".join(secrets))


def signed_in(scene: Scene, browser: httpx.Client, shared_secret: str = SHARED_SECRET) -> bool:
    claims = claims_for_comm100(scene.come_back(browser, "ada"), scene, shared_secret)
    return bool(claims["email"] == "ada@acme.example")


def under_way(scene: Scene, browser: httpx.Client) -> str:
    """A sign-in that is about to come back from the provider."""
    return person.sign_in_at_the_provider(browser, scene.begin(browser, redirect_url=scene.wanted_page), login="ada")


def test_a_client_secret_is_renewed_and_no_sign_in_fails(scene: Scene, browser: httpx.Client) -> None:
    assert signed_in(scene, browser)
    accept(scene, CLIENT_SECRET, NEW_CLIENT_SECRET)
    assert signed_in(scene, browser)
    callback = under_way(scene, browser)
    change(scene, "client-secret", NEW_CLIENT_SECRET)
    assert claims_for_comm100(browser.get(callback), scene)
    assert signed_in(scene, browser)
    accept(scene, NEW_CLIENT_SECRET)
    assert signed_in(scene, browser)


def test_a_client_secret_that_came_too_late_works_as_soon_as_it_is_there(scene: Scene, browser: httpx.Client) -> None:
    accept(scene, NEW_CLIENT_SECRET)
    assert_refused(scene.come_back(browser, "ada"), scene, ClientRejected, got="invalid_client")
    change(scene, "client-secret", NEW_CLIENT_SECRET)
    assert signed_in(scene, browser)


def test_an_empty_file_leaves_the_last_good_client_secret_in_use(scene: Scene, browser: httpx.Client) -> None:
    change(scene, "client-secret", "")
    assert signed_in(scene, browser)
    [complaint] = [line for line in scene.log_lines() if "the previous value stays in use" in line["event"]]
    assert complaint["level"] == "error"
    assert CLIENT_SECRET not in str(complaint)


def test_comm100s_shared_secret_is_changed_in_the_middle_of_a_sign_in(scene: Scene, browser: httpx.Client) -> None:
    assert signed_in(scene, browser)
    callback = under_way(scene, browser)
    change(scene, "shared-secret", NEW_SHARED_SECRET)
    assert claims_for_comm100(browser.get(callback), scene, NEW_SHARED_SECRET)
    assert signed_in(scene, browser, NEW_SHARED_SECRET)


@pytest.mark.requirement("S-51")
def test_a_key_is_put_before_the_old_one_in_the_middle_of_a_sign_in(scene: Scene, browser: httpx.Client) -> None:
    """The sign-out of who signed in before."""
    callback = under_way(scene, browser)
    change(scene, "secret-keys", f"{NEW_KEY}\n{SECRET_KEY}")
    assert claims_for_comm100(browser.get(callback), scene)
    assert httpx.URL(scene.begin(browser, "/logout")).params["id_token_hint"]
    assert signed_in(scene, browser)


def test_a_key_taken_away_in_the_middle_of_a_sign_in_is_a_sign_in_to_start_again(
    scene: Scene, browser: httpx.Client
) -> None:
    callback = under_way(scene, browser)
    change(scene, "secret-keys", NEW_KEY)
    assert_refused(browser.get(callback), scene, StateInvalid, got="1 that none of them signed")
    assert signed_in(scene, browser)
