"""Every way a sign-in can end badly, sorted by whose fault it is.

This file owns the stable code of each error, the sentence a person reads, and the remedy an admin needs. It knows
nothing of HTTP messages, templates or logs: `web.problems` renders an error, `telemetry` records it.

    BrokerError                 code, status, a sentence for the person, a remedy for the admin
      SettingsError             ours, at start: carries every mistake found
      RequestError        400   the browser's request cannot be taken
      TransactionError    400   the sign-in under way is missing, expired or not this browser's: start again
      ProviderRefused     403   the identity provider said no
      ProviderUnavailable 503   the identity provider did not answer: worth trying again
      ProviderMistrusted  502   the identity provider's answer must not be believed
      NotAdmitted         403   the person is genuine, but may not enter

`expected` and `got` are for the log alone: they never hold a code, state, nonce, verifier, token, cookie or secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar


class BrokerError(Exception):
    """What went wrong, for three readers: a program (`code`), a person (`person`) and an admin (`remedy`).

    Args:
        expected: what a right value would have been; for the log only.
        got: what came instead; for the log only.
        retry_after: seconds after which trying again makes sense, where the other side said so.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    person: ClassVar[str] = "The sign-in did not work."
    remedy: ClassVar[str] = ""

    def __init_subclass__(cls, *, code: str = "", status: int = 0, person: str = "", remedy: str = "") -> None:
        super().__init_subclass__()
        cls.code = code
        cls.status = status or cls.status
        cls.person = person or cls.person
        cls.remedy = remedy or cls.remedy

    def __init__(self, *, expected: object = None, got: object = None, retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.expected = expected
        self.got = got
        self.retry_after = retry_after


def every_error() -> Iterator[type[BrokerError]]:
    """Yield each error class that has a code, in the order of this file: the closed list of reasons."""
    waiting = list(BrokerError.__subclasses__())
    while waiting:
        error = waiting.pop(0)
        if error.code:
            yield error
        waiting[:0] = error.__subclasses__()


# --- ours, at start -------------------------------------------------------------------------------------------------


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


# --- the browser's request ------------------------------------------------------------------------------------------


class RequestError(
    BrokerError,
    status=400,
    person="The link that brought you here cannot be used. Go back to Comm100 and start the sign-in again.",
):
    """The browser's request cannot be taken."""


class NoSuchPage(
    RequestError,
    code="no_such_page",
    status=404,
    person="There is no page here.",
    remedy="Compare the address with the ones in docs/settings.md: /login, /callback/{provider id}, /logout.",
):
    """No route, site or identity provider of that name."""


class MethodNotAllowed(
    RequestError,
    code="method_not_allowed",
    status=405,
    person="This address is for opening in a browser only.",
    remedy="Only GET is answered here. A link checker or a preview may have called; nothing was started.",
):
    """Another method than GET: nothing is started or consumed."""


class NotANavigation(
    RequestError,
    code="not_a_navigation",
    person="This address is for opening in a browser tab only.",
    remedy="A prefetch or a script called; nothing was started. Link to the address, do not fetch it.",
):
    """A prefetch or a script's fetch, which must start and consume nothing."""


class RequestTooLarge(
    RequestError,
    code="request_too_large",
    status=431,
    person="Your browser sent more than this page accepts. Clear the cookies of this site and start again.",
    remedy="The address, the headers or the body exceed the bounds named in docs/operations.md.",
):
    """An address, header block or body beyond the bounds."""


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
    person="The page you were to return to is not a known Comm100 page. Open Comm100 and start the sign-in there.",
    remedy="Add the host of redirect_url to the site's redirect_hosts if it is one of your Comm100 hosts.",
):
    """A redirect_url that is no address of this site's Comm100."""


# --- the sign-in under way ------------------------------------------------------------------------------------------


class TransactionError(
    BrokerError,
    status=400,
    person="This sign-in cannot be completed. Start it again.",
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
    """The state was not sealed by one of our keys, or not a byte of it may differ."""


class StateOfAnotherProvider(
    TransactionError,
    code="state_of_another_provider",
    remedy="The sign-in began at another provider. Give each provider its own redirect URI, /callback/{provider id}.",
):
    """A state issued for one provider at another provider's callback (RFC 9700, section 4.4)."""


class TransactionExpired(
    TransactionError,
    code="transaction_expired",
    person="This sign-in took longer than ten minutes. It has to be started again.",
    remedy="Nothing to do when it happens now and then. If often: compare the clocks of the replicas.",
):
    """The sign-in began more than ten minutes ago, by our own clock."""


class CookieMissing(
    TransactionError,
    code="cookie_missing",
    person="Your browser did not bring back the cookie of this sign-in. Allow cookies for this site and start again.",
    remedy="Another browser finished the sign-in, cookies are blocked, or public_url is not the address people use.",
):
    """The callback came without the cookie that binds the sign-in to this browser."""


class TransactionSpent(
    TransactionError,
    code="transaction_spent",
    person="This sign-in was already completed. If you are not signed in, start again.",
    remedy="The same callback was opened twice: a reload or the back button. Nothing to do.",
):
    """The same callback a second time."""


# --- the identity provider said no ----------------------------------------------------------------------------------


class ProviderRefused(
    BrokerError,
    status=403,
    person="Your organisation's sign-in service did not let you in. Your IT desk can tell why.",
):
    """The identity provider answered with an error (RFC 6749, section 4.1.2.1)."""


class AccessDenied(
    ProviderRefused,
    code="access_denied",
    person="The sign-in was cancelled, or your account is not allowed to use it. Try again, or ask your IT desk.",
    remedy="Assign the person or their group to the application at the provider, and grant consent there.",
):
    """The person cancelled, or the provider's policy denies (`access_denied`)."""


class InteractionRequired(
    ProviderRefused,
    code="interaction_required",
    remedy="The provider wanted to show a page and was told not to. Remove prompt from authorization_parameters.",
):
    """The provider needs to show a page (OpenID Connect Core, section 3.1.2.6)."""


class ProviderError(
    ProviderRefused,
    code="provider_error",
    remedy="Look up the provider's error in the log line; most often the application's registration there is at fault.",
):
    """Any other error the provider sent to the callback."""


class CodeRejected(
    ProviderRefused,
    code="code_rejected",
    status=400,
    person="The sign-in took too long or was completed already. Start it again.",
    remedy="Now and then: nothing. Always: the redirect URI registered differs, or codes are consumed by a scanner.",
):
    """The token endpoint does not take the code (`invalid_grant`; RFC 6749, section 5.2)."""


# --- the identity provider did not answer ---------------------------------------------------------------------------


class ProviderUnavailable(
    BrokerError,
    status=503,
    person="Your organisation's sign-in service does not answer at the moment. Try again in a minute.",
):
    """No usable answer came: worth trying again."""


class ProviderUnreachable(
    ProviderUnavailable,
    code="provider_unreachable",
    remedy="Check DNS, the firewall and the provider's status page; `broker check` names the step that fails.",
):
    """No connection, a dropped connection, or TLS failed."""


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
    """A 5xx, a 429, or `temporarily_unavailable` / `server_error`."""


class ProviderAddressRefused(
    ProviderUnavailable,
    code="provider_address_refused",
    remedy="The provider's name resolves to a private address. If that is meant, set allow_private_network: true.",
):
    """The provider's host resolves to a private, loopback or link-local address."""


class Overloaded(
    ProviderUnavailable,
    code="overloaded",
    person="Many people are signing in at the moment. Try again in a few seconds.",
    remedy="Add replicas, or find out why the provider answers slowly.",
):
    """More sign-ins in flight than connections to the provider."""


# --- the identity provider's answer must not be believed ------------------------------------------------------------


class ProviderMistrusted(
    BrokerError,
    status=502,
    person="The answer of your organisation's sign-in service could not be verified. Your IT desk has to look into it.",
):
    """An answer that must not be believed: nothing in it was used."""


class AnswerUnreadable(
    ProviderMistrusted,
    code="answer_unreadable",
    remedy="The provider's answer is no JSON object within bounds. A proxy may have answered in its place.",
):
    """Not a JSON object: broken, nested too deep, with repeated members, not UTF-8."""


class AnswerTooLarge(
    ProviderMistrusted,
    code="answer_too_large",
    remedy="The provider's answer exceeds the bounds, or is compressed although that was declined.",
):
    """More bytes than the bound for this kind of message, or a content encoding we declined."""


class AnswerUnexpected(
    ProviderMistrusted,
    code="answer_unexpected",
    remedy="The provider answered with a status or type this step does not know. Check the issuer and a proxy between.",
):
    """A redirect, an unknown status or another media type."""


class MetadataInvalid(
    ProviderMistrusted,
    code="metadata_invalid",
    remedy="Open the provider's /.well-known/openid-configuration: the member named is missing or not usable.",
):
    """A member of the discovery document is missing, of the wrong type, or no usable URL."""


class MetadataIssuer(
    ProviderMistrusted,
    code="metadata_issuer",
    remedy="Set issuer to exactly what the provider's discovery document says, slash by slash.",
):
    """The discovery document names another issuer (OpenID Connect Discovery, section 4.3)."""


class CallbackIssuer(
    ProviderMistrusted,
    code="callback_issuer",
    status=400,
    remedy="The authorization response came from another issuer. Give each provider its own redirect URI.",
):
    """`iss` at the callback is wrong, or missing although announced (RFC 9207, section 2.4)."""


class CodeMissing(
    ProviderMistrusted,
    code="code_missing",
    status=400,
    remedy="The provider came back with neither code nor error. Allow the authorization code flow for the application.",
):
    """Neither `code` nor `error` at the callback."""


class ClientRejected(
    ProviderMistrusted,
    code="client_rejected",
    remedy="The client secret is wrong or expired, or client_authentication is not what the provider expects.",
):
    """The token endpoint does not take our credentials (`invalid_client`; RFC 6749, section 5.2)."""


class TokenResponseInvalid(
    ProviderMistrusted,
    code="token_response_invalid",
    remedy="The token endpoint's answer lacks a member or has one of the wrong type; openid must be in scopes.",
):
    """The token response is not as OpenID Connect Core, section 3.1.3.3 demands."""


class TokenRequestRefused(
    ProviderMistrusted,
    code="token_request_refused",
    remedy="The token endpoint refused the request; its error is in the log line. Check grant types and redirect URI.",
):
    """Any other error of the token endpoint (RFC 6749, section 5.2)."""


class KeysInvalid(
    ProviderMistrusted,
    code="keys_invalid",
    remedy="The provider's jwks_uri holds no usable public signing key.",
):
    """No usable key in the provider's JWK Set (RFC 7517, section 5)."""


class IdTokenMalformed(
    ProviderMistrusted,
    code="id_token_malformed",
    remedy="The ID token is no signed JWT of the expected form. Encrypted ID tokens are not supported.",
):
    """Not a signed, compact JWT with a header we accept (RFC 7515; RFC 8725, section 3)."""


class IdTokenAlgorithm(
    ProviderMistrusted,
    code="id_token_algorithm",
    remedy="Set signing_algorithms to what the provider is known to sign with, or change it there. None is never one.",
):
    """`alg` is not one of the configured algorithms (RFC 8725, section 3.1)."""


class IdTokenKeyUnknown(
    ProviderMistrusted,
    code="id_token_key_unknown",
    remedy="No key of the provider fits the token. If it lasts, the provider's jwks_uri is out of date.",
):
    """No published key fits `kid` and `alg`."""


class IdTokenSignature(
    ProviderMistrusted,
    code="id_token_signature",
    remedy="The signature is wrong: someone altered the token, or the provider publishes the wrong keys.",
):
    """The signature does not verify."""


class IdTokenIssuer(
    ProviderMistrusted,
    code="id_token_issuer",
    remedy="The token is of another issuer than the one configured. Compare issuer, tenant and authorization server.",
):
    """`iss` is not the configured issuer (OpenID Connect Core, section 3.1.3.7, 2)."""


class IdTokenAudience(
    ProviderMistrusted,
    code="id_token_audience",
    remedy="The token was made for another client. Compare client_id with the application at the provider.",
):
    """`aud` or `azp` is not us alone (OpenID Connect Core, section 3.1.3.7, 3 to 5)."""


class IdTokenTime(
    ProviderMistrusted,
    code="id_token_time",
    remedy="The token is expired or not yet valid. Compare the clocks of this machine and of the provider.",
):
    """`exp`, `iat` or `nbf` missing, of the wrong type, or outside the leeway."""


class IdTokenNonce(
    ProviderMistrusted,
    code="id_token_nonce",
    remedy="The token does not belong to this sign-in. If it lasts, the provider drops nonce.",
):
    """`nonce` missing or of another sign-in (OpenID Connect Core, section 3.1.3.7, 11)."""


class IdTokenSubject(
    ProviderMistrusted,
    code="id_token_subject",
    remedy="The token has no usable sub; the provider is at fault.",
):
    """`sub` missing, empty, or longer than 255 ASCII characters (OpenID Connect Core, section 2)."""


class IdTokenAccessTokenHash(
    ProviderMistrusted,
    code="id_token_access_token_hash",
    remedy="The access token was exchanged on the way; the provider or a proxy is at fault.",
):
    """`at_hash` does not fit the access token (OpenID Connect Core, section 3.1.3.8)."""


class IdTokenAuthTime(
    ProviderMistrusted,
    code="id_token_auth_time",
    remedy="The provider did not ask for a fresh sign-in although max_age demands it. Raise or remove max_age.",
):
    """`auth_time` missing or too old under `max_age` (OpenID Connect Core, section 3.1.3.7, 13)."""


class UserinfoInvalid(
    ProviderMistrusted,
    code="userinfo_invalid",
    remedy="The userinfo endpoint refused or answered something else than a JSON object.",
):
    """The userinfo response is not as OpenID Connect Core, section 5.3.2 demands."""


class UserinfoSubject(
    ProviderMistrusted,
    code="userinfo_subject",
    remedy="Userinfo speaks of another person than the ID token; the provider is at fault.",
):
    """`sub` of userinfo missing or not the ID token's (OpenID Connect Core, section 5.3.2)."""


class EmailContradicts(
    ProviderMistrusted,
    code="email_contradicts",
    remedy="ID token and userinfo name different addresses. Set userinfo: never, or correct the claim mapping there.",
):
    """ID token and userinfo name different e-mail addresses."""


# --- genuine, but may not enter -------------------------------------------------------------------------------------


class NotAdmitted(
    BrokerError,
    status=403,
    person="You are signed in at your organisation, but your account may not enter here. Ask your IT desk.",
):
    """The person is genuine, but may not enter."""


class EmailMissing(
    NotAdmitted,
    code="email_missing",
    person="Your account has no e-mail address that could be used here. Ask your IT desk to add it.",
    remedy="Give the person an e-mail address at the provider, add the email scope, or set email_claim.",
):
    """Neither the ID token nor userinfo carries an e-mail address."""


class EmailMalformed(
    NotAdmitted,
    code="email_malformed",
    person="The e-mail address of your account cannot be used here. Ask your IT desk to correct it.",
    remedy="The address is no plain ASCII mailbox. It is refused as it stands, never repaired.",
):
    """The e-mail address is not a plain ASCII mailbox of at most 254 characters."""


class EmailUnverified(
    NotAdmitted,
    code="email_unverified",
    person="The e-mail address of your account is not verified. Verify it, or ask your IT desk.",
    remedy="The provider must send email_verified: true. trust_unverified_email is for directories only IT can edit.",
):
    """`email_verified` is not JSON `true` where that is demanded."""


class EmailDomainNotAllowed(
    NotAdmitted,
    code="email_domain_not_allowed",
    person="Your e-mail address does not belong to an organisation that may sign in here.",
    remedy="Add the domain to the provider's email_domains if its people may become agents. Subdomains do not follow.",
):
    """The address's domain is not one this provider may assert."""


class GroupNotAllowed(
    NotAdmitted,
    code="group_not_allowed",
    remedy="Add the person to one of allowed_groups, or have the provider send the groups claim.",
):
    """The person is in none of the groups allowed, or the provider did not send the groups."""
