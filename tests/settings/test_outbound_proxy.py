"""The outbound proxy: at the top, at a provider, in a file; and its password, which is never shown."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.app import create_app
from broker.errors import SettingsError
from broker.oidc.client import NetworkPolicy
from broker.settings import Settings, describe, load_settings, secret_files
from broker.settings.schema import settings_schema
from broker.settings.secrets import WatchedFile
from broker.settings.values import InvalidValue, check_proxy
from broker.wiring import network_policy_of, network_policy_of_browsers
from tests.settings.admin import Admin

PROXY = "http://proxy.acme.example:3128"
SECRET = "http://acme%5Cme:s3cret%40@proxy.acme.example:3128"
OKTA = "identity_providers__okta__"


def told(proxy: Callable[[], str] | None) -> str | None:
    return proxy and proxy()


def by_provider(settings: Settings) -> dict[str, str | None]:
    return {
        id_: told(network_policy_of(settings, one).outbound_proxy) for id_, one in settings.identity_providers.items()
    }


def two_providers(admin: Admin, **eu: Any) -> dict[str, Any]:
    okta = admin.settings()["identity_providers"]["okta"]
    return {"okta": okta, "eu": {**okta, "email_domains": ["acme-eu.example"], **eu}}


@pytest.mark.parametrize(
    ("top", "own", "reached_by"),
    [
        pytest.param({}, {}, {"okta": None, "eu": None}, id="none anywhere"),
        pytest.param({"outbound_proxy": PROXY}, {}, {"okta": PROXY, "eu": PROXY}, id="at the top"),
        pytest.param({"outbound_proxy": SECRET}, {}, {"okta": SECRET, "eu": SECRET}, id="with a password"),
        pytest.param(
            {"outbound_proxy": PROXY}, {"outbound_proxy": "none"}, {"okta": PROXY, "eu": None}, id="none at one"
        ),
        pytest.param({}, {"outbound_proxy": "none"}, {"okta": None, "eu": None}, id="none, and none at the top"),
        pytest.param({}, {"outbound_proxy": SECRET}, {"okta": None, "eu": SECRET}, id="at one alone"),
        pytest.param(
            {"outbound_proxy_file": "top"}, {"outbound_proxy_file": "own"}, {"okta": SECRET, "eu": PROXY}, id="files"
        ),
        pytest.param({"outbound_proxy": None}, {"outbound_proxy": None}, {"okta": None, "eu": None}, id="null"),
    ],
)
def test_each_provider_has_the_proxy_nearest_to_it(
    admin: Admin, top: dict[str, Any], own: dict[str, Any], reached_by: dict[str, str | None]
) -> None:
    admin.secret("top", SECRET)
    admin.secret("own", PROXY)

    settings = admin.load(admin.settings(identity_providers=two_providers(admin, **own), **top))

    assert by_provider(settings) == reached_by
    assert told(network_policy_of_browsers(settings).outbound_proxy) == reached_by["okta"]


def test_the_environment_gives_a_proxy_too(admin: Admin) -> None:
    settings = admin.load(
        admin.settings(outbound_proxy=PROXY),
        BROKER_OUTBOUND_PROXY=SECRET,
        BROKER_IDENTITY_PROVIDERS__OKTA__OUTBOUND_PROXY="none",
    )
    assert (told(network_policy_of_browsers(settings).outbound_proxy), by_provider(settings)) == (
        SECRET,
        {"okta": None},
    )


def test_providers_behind_the_same_proxy_share_one_client(admin: Admin) -> None:
    settings = admin.load(admin.settings(identity_providers=two_providers(admin), outbound_proxy=SECRET))
    assert len({network_policy_of(settings, one) for one in settings.identity_providers.values()}) == 1


@pytest.mark.parametrize("section", ["", OKTA], ids=["top", "provider"])
def test_a_proxy_and_its_file_at_once_are_a_mistake(admin: Admin, section: str) -> None:
    admin.secret("proxy", SECRET)
    tree = admin.settings(**{f"{section}outbound_proxy": PROXY, f"{section}outbound_proxy_file": "proxy"})

    (mistake,) = admin.refused(tree)

    assert mistake.path == f"{section}outbound_proxy".replace("__", ".")
    assert "given twice" in mistake.problem
    assert mistake.example == f"outbound_proxy: {PROXY}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "complete URL", id="nothing"),
        pytest.param("none", "complete URL", id="none: a file that changes must not take the address check away"),
        pytest.param("http://me:s3cret@proxy", "scheme, host and port", id="no port"),
        pytest.param("http://me:s3@cret@proxy:1", "percent-encoded", id="an @ in the password"),
        pytest.param(f"{SECRET}\n{PROXY}", "complete URL", id="two lines"),
    ],
)
@pytest.mark.parametrize("section", ["", OKTA], ids=["top", "provider"])
def test_a_file_without_a_proxy_is_named_and_not_shown(admin: Admin, section: str, text: str, words: str) -> None:
    admin.secret("proxy", text)

    (mistake,) = admin.refused(admin.settings(**{f"{section}outbound_proxy_file": "proxy"}))

    assert mistake.path == f"{section}outbound_proxy_file".replace("__", ".")
    assert words in mistake.problem
    assert "s3" not in f"{mistake.problem} {mistake.example}"
    assert mistake.example == "outbound_proxy_file: /run/secrets/outbound_proxy"


def test_a_file_that_changes_is_read_again_and_a_bad_one_is_not_taken(tmp_path: Path) -> None:
    now = [0.0]
    file = tmp_path / "proxy"
    file.write_text(SECRET)

    watched = WatchedFile(file, check_proxy, clock=lambda: now[0])
    for text, told_then in ((f"{PROXY}\n", PROXY), ("none\n", PROXY), (f"{SECRET}\n", SECRET)):
        file.write_text(text)
        now[0] += 2
        assert watched() == told_then
    with pytest.raises(InvalidValue):
        check_proxy("none")


def test_files_of_proxies_are_watched_and_measured(admin: Admin) -> None:
    admin.secret("proxy", SECRET)
    settings = admin.load(admin.settings(**{"outbound_proxy_file": "proxy", f"{OKTA}outbound_proxy_file": "proxy"}))
    assert {"outbound_proxy", "identity_providers.okta.outbound_proxy"} <= set(secret_files(settings))


async def test_the_password_is_nowhere_to_be_seen(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = admin.load(admin.settings(**{"outbound_proxy": SECRET, f"{OKTA}outbound_proxy": SECRET}))
    async with create_app(settings):
        pass
    network = network_policy_of(settings, settings.identity_providers["okta"])
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(network), str(network), caplog.text]
    shown += [str(record.__dict__) for record in caplog.records]
    assert isinstance(network, NetworkPolicy)
    assert [text for text in shown if "s3cret" in text or "%5C" in text] == []


def test_mistakes_beside_it_do_not_show_it(admin: Admin) -> None:

    with pytest.raises(SettingsError) as refusal:
        load_settings(admin.write(admin.settings(outbound_proxy=f"{SECRET}/x", site_name=5)), {})
    assert "s3cret" not in describe(refusal.value)


def test_the_schema_shows_the_usual_form() -> None:
    schema = settings_schema()
    for properties in (schema["properties"], schema["$defs"]["ProviderSettings"]["properties"]):
        assert properties["outbound_proxy"]["examples"] == [PROXY]
        assert json.dumps(properties["outbound_proxy_file"]["examples"]) == '["/run/secrets/outbound_proxy"]'
