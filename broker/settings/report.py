"""What is said about settings: the mistakes for people, and the insecure options for the log and a metric.

It owns the layout of `broker serve`'s complaint, and of `broker init`'s. It reads nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping

from broker.errors import Mistake, SettingsError
from broker.settings.model import Settings
from broker.settings.secret import PrivateKey, Secret, SecretKeys

_WIDTH = 80


def describe(error: SettingsError) -> str:
    """Write every mistake down for a terminal of 80 columns."""
    count = len(error.mistakes)
    return list_mistakes(f"The settings cannot be used: {count} mistake{'' if count == 1 else 's'}.", error.mistakes)


def list_mistakes(head: str, mistakes: Iterable[Mistake]) -> str:
    """Write mistakes down below a line of their own, for a terminal of 80 columns.

    Args:
        head: the line.
        mistakes: each with its place and an example.
    """
    lines = [head]
    for mistake in mistakes:
        lines += ["", f"  {mistake.path}", *_wrapped(mistake.problem), *_wrapped(f"for example: {mistake.example}")]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    indent = " " * 4
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def secret_files(settings: Settings) -> Mapping[str, Callable[[], bool]]:
    """Return for each secret that is in a file, by its path in the settings, what tells if the file is rejected now."""
    secrets: dict[str, Secret | SecretKeys | PrivateKey | None] = {"secret_keys": settings.secret_keys}
    secrets["outbound_proxy"] = settings.outbound_proxy
    secrets |= {f"sites.{id_}.shared_secret": site.shared_secret for id_, site in settings.sites.items()}
    for id_, provider in settings.identity_providers.items():
        for key in provider.secret_keys_of_section:
            secrets[f"identity_providers.{id_}.{key}"] = getattr(provider, key)
    return {path: secret.is_rejected for path, secret in secrets.items() if secret is not None and secret.is_in_file}


def insecure_options(settings: Settings) -> tuple[str, ...]:
    """Name every protection that is switched off, as `option` or `option:path`, in the order of the settings."""
    return tuple(_insecure_options(settings))


def _insecure_options(settings: Settings) -> Iterator[str]:
    if settings.public_url.startswith("http://"):
        yield "public_url_without_tls"
    if settings.shared_email_domains:
        yield "shared_email_domains"
    if settings.log_email == "plain":
        yield "log_email_plain"
    secrets = [site.shared_secret.reveal() for site in settings.sites.values()]
    for identifier, site in settings.sites.items():
        if secrets.count(site.shared_secret.reveal()) > 1:
            yield f"same_shared_secret_for_several_sites:sites.{identifier}"
    for identifier, provider in settings.identity_providers.items():
        if provider.allow_private_network:
            yield f"allow_private_network:identity_providers.{identifier}"
        if provider.groups_claim is not None and provider.allowed_groups is None:
            yield f"groups_claim_without_allowed_groups:identity_providers.{identifier}"
        if provider.trust_unverified_email:
            yield f"trust_unverified_email:identity_providers.{identifier}"
