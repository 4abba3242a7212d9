"""What the browser brought: a request that cannot be taken, or a sign-in that is not under way here."""

from __future__ import annotations

from broker.errors.root import BrokerError


class RequestError(
    BrokerError,
    status=400,
    user_message="The link that brought you here cannot be used.",
):
    """The browser's request cannot be taken."""


class NoSuchPage(
    RequestError,
    code="no_such_page",
    status=404,
    user_message="There is no page here.",
    remedy="The addresses are /login, /callback/{provider id}, /initiate/{provider id} and /logout; compare the ids "
    "with those in the settings.",
):
    """No route, site or identity provider of that name."""


class SetupLinkRefused(
    RequestError,
    code="setup_link_refused",
    status=404,
    user_message="This page opens with a valid link only.",
    remedy="Make a new link: broker setup-link. If the link is new: the command needs the public_url and secret_keys "
    "of the service, and the proxy must pass Host on as the browser sent it.",
):
    """The setup page without a link, or with one that is expired, altered, another broker's, or at another host."""


class MethodNotAllowed(
    RequestError,
    code="method_not_allowed",
    status=405,
    user_message="This address is for opening in a browser only.",
    remedy="Only GET is answered here. A link checker or a preview may have called; nothing was started.",
):
    """Another method than GET: nothing is started or consumed."""


class ResponseModeUnsupported(
    RequestError,
    code="response_mode_unsupported",
    status=405,
    user_message="This address is for opening in a browser only.",
    remedy="The provider posts its answer as a form. Take response_mode out of authorization_parameters, or set the "
    "response mode of the client at the provider to query.",
):
    """A POST at the callback: the provider's answer as a form, whose body is never read."""


class NotANavigation(
    RequestError,
    code="not_a_navigation",
    user_message="This address is for opening in a browser tab only.",
    remedy="A prefetch or a script called; nothing was started. Link to the address, do not fetch it.",
):
    """A prefetch or a script's fetch, which must start and consume nothing."""


class RequestTooLarge(
    RequestError,
    code="request_too_large",
    status=431,
    user_message="Your browser sent more than this page accepts.",
    remedy="The address, the headers or the body exceed the bounds named in docs/operations.md.",
):
    """An address, header block or body beyond the bounds."""


class TooManyRejectedCodes(
    RequestError,
    code="too_many_rejected_codes",
    status=429,
    user_message="Too many sign-ins from your network failed just now.",
    remedy="The provider rejected many codes from this address; the log lines before say why. If the address is a "
    "proxy's, name the proxy in trusted_proxies: then each browser is counted separately.",
):
    """Codes from one address were rejected too often: the provider is not asked (RFC 6585, section 4)."""


class ParameterRepeated(
    RequestError,
    code="parameter_repeated",
    remedy="A parameter came twice. A proxy or a link on the way may have added it; RFC 6749, 3.1 forbids it.",
):
    """A parameter that must come once came more often (RFC 6749, section 3.1)."""


class ParametersContradict(
    RequestError,
    code="parameters_contradict",
    remedy="The provider's answer held both a code and an error; something on the way altered it.",
):
    """An authorization response that is both a success and an error."""


class RedirectUrlRefused(
    RequestError,
    code="redirect_url_refused",
    user_message="The page you were to return to is not a known Comm100 page.",
    remedy="Compare endpoint with the JWT SSO endpoint in Comm100's Control Panel. If it is right, and the host of "
    "redirect_url is one of your Comm100 hosts, add that host to the site's redirect_hosts.",
):
    """A redirect_url that is no address of this site's Comm100."""


class InitiationRefused(
    RequestError,
    code="initiation_refused",
    remedy="A portal started the sign-in with another issuer than the provider's, or with an odd login_hint. Compare "
    "issuer with the address the tile sends as iss.",
):
    """A third-party initiated sign-in that is not this provider's (OpenID Connect Core, section 4)."""


class SiteNotOffered(
    RequestError,
    code="site_not_offered",
    status=503,
    user_message="Your organisation has not switched on signing in here yet.",
    remedy="No identity provider of this site is enabled: set enabled: true once the test sign-in works.",
):
    """A site whose identity providers are all switched off."""


class TransactionError(
    BrokerError,
    status=400,
    user_message="This sign-in could not be recognised.",
):
    """The sign-in under way cannot be told from a forged one: start again."""


class StateMissing(
    TransactionError,
    code="state_missing",
    remedy="The provider came back without state. Check that the redirect URI is not used as a start address.",
):
    """The callback has no state (RFC 6749, section 10.12)."""


class StateInvalid(
    TransactionError,
    code="state_invalid",
    remedy="The state is not one of ours, or its key is no longer in secret_keys. All replicas need the same keys.",
):
    """The state was not signed by one of our keys, or not a byte of it may differ."""


class StateOfAnotherProvider(
    TransactionError,
    code="state_of_another_provider",
    remedy="The sign-in began at another provider. Give each provider its own redirect URI, /callback/{provider id}.",
):
    """A state issued for one provider at another provider's callback (RFC 9700, section 4.4)."""


class TransactionExpired(
    TransactionError,
    code="transaction_expired",
    user_message="This sign-in took longer than ten minutes.",
    remedy="Nothing to do when it happens now and then. If often: compare the clocks of the replicas.",
):
    """The sign-in began more than ten minutes ago, by our own clock."""


class CookieMissing(
    TransactionError,
    code="cookie_missing",
    user_message="Your browser did not send back the cookie that belongs to this sign-in.",
    remedy="Another browser finished the sign-in, cookies are blocked, or public_url is not the address people use.",
):
    """The callback came without the cookie that binds the sign-in to this browser."""


class TransactionSpent(
    TransactionError,
    code="transaction_spent",
    user_message="This sign-in was already completed.",
    remedy="The same callback was opened twice: a reload or the back button. Nothing to do.",
):
    """The same callback a second time."""
