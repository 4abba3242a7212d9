"""Ours: mistakes in the settings, found at start, all at once; and trouble of the running service."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors.root import BrokerError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One unusable setting: where it is, what is wrong with it, and an example of a right value.

    Args:
        path: the setting's dotted path, as in `identity_providers.okta.client_id`.
        problem: what is wrong, in a sentence that never holds a secret value.
        example: a value, or a line, that would be accepted.
    """

    path: str
    problem: str
    example: str


class SettingsError(BrokerError, code="settings_unusable", status=500, remedy="Correct the settings named."):
    """The settings cannot be used; `mistakes` holds every one of them, not only the first."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__()
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(f"{mistake.path}: {mistake.problem}" for mistake in self.mistakes)


class ServiceError(
    BrokerError,
    status=503,
    user_message="Something went wrong on our side.",
):
    """Trouble of the running service, whoever is asked."""


class Overloaded(
    ServiceError,
    code="overloaded",
    user_message="Many people are signing in at the moment.",
    remedy="Add replicas, or find out why the provider answers slowly.",
):
    """More sign-ins in flight, or requests to the provider, than there are places."""


class OutboundProxyFailed(
    ServiceError,
    code="outbound_proxy_failed",
    remedy="Check outbound_proxy: its address, its user name and password, and that the proxy allows and reaches this "
    "host. For a provider that needs no proxy, set outbound_proxy: none.",
):
    """The proxy of the settings cannot be reached, or does not connect us (RFC 9110, section 9.3.6)."""


class InternalError(
    ServiceError,
    code="unexpected",
    remedy="This is a defect of the broker: report it with the log line, which names the place in the code.",
):
    """An exception nobody foresaw; the last net, so that a person always gets a page."""
