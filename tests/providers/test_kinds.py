"""Every kind of provider is complete, and fits what the settings, `broker init` and the chart assume of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.providers import KINDS, ClaimRules, ProviderKind
from broker.settings.credential import CREDENTIALS
from broker.settings.findings import known_keys
from broker.settings.provider import DEFAULT_PRESET, ProviderSettings
from tests.oidc.samples import registration

ROOT = Path(__file__).parents[2]
EACH_KIND = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


@EACH_KIND
def test_a_kind_is_listed_by_its_name_and_has_a_guide(kind: ProviderKind) -> None:
    assert KINDS[kind.name] is kind
    assert kind.title
    assert kind.registration_note
    assert (ROOT / kind.guide).exists()


def test_no_two_kinds_answer_to_the_same_name() -> None:
    names = [name for kind in KINDS.values() for name in (kind.name, kind.title, *kind.aliases)]
    assert len(set(names)) == len(names)


def test_the_default_kind_takes_any_product() -> None:
    assert KINDS[DEFAULT_PRESET].any_product


@EACH_KIND
def test_what_a_kind_needs_and_takes_for_granted_are_settings(kind: ProviderKind) -> None:
    assert {*kind.needs, *kind.defaults} <= set(known_keys(ProviderSettings))
    assert not set(kind.needs) & set(kind.defaults)


@EACH_KIND
def test_a_kind_uses_a_client_secret_unless_the_settings_say_otherwise(kind: ProviderKind) -> None:
    # helm/templates/_settings.tpl relies on it.
    assert CREDENTIALS[str(kind.defaults["client_authentication"])] == "client_secret"


@EACH_KIND
def test_every_answer_that_locates_a_provider_has_a_place_in_the_console(kind: ProviderKind) -> None:
    if kind.located_by:
        assert getattr(kind.console_paths(""), kind.located_by)


@EACH_KIND
def test_the_configured_issuer_may_answer_at_the_callback(kind: ProviderKind) -> None:
    one = registration(issuer="https://id.acme.example", metadata_issuer="https://id.acme.example")
    assert kind.callback_issuers(one, ClaimRules())["https://id.acme.example"] == "https://id.acme.example"
    assert "https://id.acme.example" in kind.portal_issuers(one)


@EACH_KIND
def test_a_kind_has_no_state(kind: ProviderKind) -> None:
    assert not hasattr(kind, "__dict__")
