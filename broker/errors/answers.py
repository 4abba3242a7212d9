"""The identity provider said no, or did not answer at all."""

from __future__ import annotations

from broker.errors.root import BrokerError


class ProviderRefused(
    BrokerError,
    status=403,
    user_message="Your organisation's sign-in service refused this sign-in.",
):
    """The identity provider answered with an error (RFC 6749, section 4.1.2.1)."""


class ProviderReported(ProviderRefused):
    """An error that the browser brought to the callback: the provider or a stranger wrote it."""


class AccessDenied(
    ProviderReported,
    code="access_denied",
    user_message="The sign-in was cancelled, or your account is not allowed to use it.",
    remedy="Assign the person or their group to the application at the provider, and grant consent there.",
):
    """The person cancelled, or the provider's policy denies (`access_denied`)."""


class InteractionRequired(
    ProviderReported,
    code="interaction_required",
    remedy="The provider wanted to show a page and was told not to. Remove prompt from authorization_parameters.",
):
    """The provider needs to show a page (OpenID Connect Core, section 3.1.2.6)."""


class ProviderError(
    ProviderReported,
    code="provider_error",
    remedy="Look up the provider's error in the log line; most often the application's registration there is at fault.",
):
    """Any other error the provider sent to the callback."""


class ProviderReportedFailure(
    ProviderReported,
    code="provider_reported_failure",
    user_message="Your organisation's sign-in service does not answer at the moment.",
    remedy="Check the provider's status page.",
):
    """`temporarily_unavailable` or `server_error` at the callback (RFC 6749, section 4.1.2.1)."""


class CodeRejected(
    ProviderRefused,
    code="code_rejected",
    status=400,
    user_message="This sign-in took too long, or it was already completed.",
    remedy="Now and then: nothing. Always: the redirect URI registered differs, or codes are consumed by a scanner.",
):
    """The token endpoint does not take the code (`invalid_grant`; RFC 6749, section 5.2)."""


class ProviderUnavailable(
    BrokerError,
    status=503,
    user_message="Your organisation's sign-in service does not answer at the moment.",
):
    """No usable answer came: worth trying again."""


class ProviderUnreachable(
    ProviderUnavailable,
    code="provider_unreachable",
    remedy="Check DNS, the firewall between the broker and the provider, and the provider's status page.",
):
    """No connection, a dropped connection, or a TLS handshake that failed, but for the certificate."""


class ProviderCertificate(
    ProviderUnavailable,
    code="provider_certificate",
    user_message="Your organisation's sign-in service cannot be reached from here.",
    remedy="Have the provider's certificate corrected, or its authority put into trusted_ca_file.",
):
    """The provider's certificate is not trusted; the error at hand has the remedy of its cause."""


class ProviderTimedOut(
    ProviderUnavailable,
    code="provider_timed_out",
    remedy="The provider took too long. Check its status page and the way there.",
):
    """The provider's answer did not arrive within the time allowed."""


class ProviderFailing(
    ProviderUnavailable,
    code="provider_failing",
    remedy="The provider answered with a server error or asked to wait. Check its status page.",
):
    """A 5xx, a 429, or `temporarily_unavailable` / `server_error` from the token endpoint."""


class ProviderAddressRefused(
    ProviderUnavailable,
    code="provider_address_refused",
    user_message="Your organisation's sign-in service cannot be reached from here.",
    remedy="The provider's name resolves to a private address. If that is meant, set allow_private_network: true.",
):
    """The provider's host resolves to a private, loopback or link-local address."""
