"""The errors of the broker, grouped by whose fault they are.

    BrokerError                  code, status, sentence and advice for the person, remedy for the admin
      SettingsError              the settings cannot be used; holds every mistake
      ServiceError         503   the broker itself, or its proxy
      RequestError         400   the browser's request cannot be accepted
      TransactionError     400   the sign-in in progress is missing, expired or of another browser
      ProviderRefused      403   the identity provider said no
      ProviderUnavailable  503   the identity provider did not answer; trying again makes sense
      InvalidProviderResponse 502  the identity provider's answer cannot be trusted
      NotAdmitted          403   the person is verified, but may not sign in here

`expected` and `got` are for the log alone: they never hold a code, state, nonce, verifier, token, cookie or secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from broker.text import redact

MAX_LISTED = 20  # of a list that an error names; a log line shows no more


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person reads beside the error's sentence: the heading, what to do now, and who can help."""

    title: str
    now: str
    who: str


_YOU_CAN = "You can, by starting again. If it keeps happening, your IT desk can look into it."
_THE_IT_DESK = "Your IT desk. Send them the error code and the trace id below."
_A_LINK = "If a link of your organisation brought you here, your IT desk can correct it."

_BEGIN_AT_COMM100 = Advice(
    title="This sign-in did not go through",
    now="Open Comm100 and start the sign-in there. A bookmarked sign-in page does not work.",
    who=_YOU_CAN,
)
_START_AGAIN = Advice(
    title="This sign-in did not go through",
    now="Start the sign-in again. If you came here from a bookmark, open Comm100 instead.",
    who=_YOU_CAN,
)
_NOT_LIKE_THIS = Advice(
    title="This page cannot be opened like this", now="Open Comm100 and start the sign-in there.", who=_A_LINK
)
_TRYING_DOES_NOT_HELP = Advice(
    title="Signing in does not work at the moment",
    now="Write to your IT desk: a setting has to be changed first, and trying again does not help until then.",
    who=_THE_IT_DESK,
)
_THE_WRONG_ACCOUNT = Advice(
    title="Your account doesn't have access to Comm100",
    now="If this was not your work account, sign in with your work account. If it was, ask your IT desk for access.",
    who=_THE_IT_DESK,
)
_LATER = Advice(
    title="Please try again shortly",
    now="Wait a minute, then start again. You do not have to change anything.",
    who="This usually passes by itself. If it continues, your IT desk can look into it.",
)
_THE_ACCOUNT_HAS_TO_CHANGE = Advice(
    title="Your account doesn't have access to Comm100",
    now="Ask your IT desk to correct your account. If you have another work account, sign in with that account.",
    who=_THE_IT_DESK,
)


class BrokerError(Exception):
    """What went wrong, for a program (`code`), a person (`user_message`, `advice`) and an admin (`remedy`).

    Args:
        expected: the right value; for the log only.
        got: the actual value; for the log only.
        remedy: for this cause; empty: the remedy of the class.
        retry_after: seconds after which another attempt makes sense; None if the other side did not say.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    user_message: ClassVar[str] = "The sign-in did not work."
    remedy: str = ""
    advice: ClassVar[Advice] = _START_AGAIN

    def __init_subclass__(cls, *, code: str = "", status: int = 0) -> None:
        super().__init_subclass__()
        cls.code = code
        cls.status = status or cls.status

    def __init__(
        self, *, expected: object = None, got: object = None, remedy: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(self.code)
        self.expected = expected
        self.got = got
        self.remedy = remedy or self.remedy
        self.retry_after = retry_after

    def redact(self, secrets: Iterable[str]) -> None:
        """Remove codes, states, nonces, tokens and credentials that a provider repeated."""
        said = [one[:MAX_LISTED] if isinstance(one, list | tuple) else one for one in (self.expected, self.got)]
        self.expected, self.got = redact(said, secrets)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One unusable setting.

    Args:
        path: dotted, such as `identity_providers.okta.client_id`.
        problem: the rest of a sentence that begins with the path; never holds a secret.
        example: a value or a line that is accepted.
    """

    path: str
    problem: str
    example: str


class SettingsError(BrokerError, code="settings_unusable", status=500):
    """The settings cannot be used; `mistakes` holds every one of them, not only the first."""

    remedy = "Correct the settings named."

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__()
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(f"{mistake.path}: {mistake.problem}" for mistake in self.mistakes)


class ServiceError(BrokerError, status=503):
    """The running service has a problem of its own."""

    user_message = "Something went wrong on our side."
    advice = Advice(
        title="Something went wrong",
        now="Wait a minute, then start again. If it happens again, write to your IT desk.",
        who=_THE_IT_DESK,
    )


class Overloaded(ServiceError, code="overloaded"):
    """The process has more work than it can do in time: no place became free, or answers were read too late."""

    user_message = "We are busy: many people are signing in at the moment."
    remedy = "Add replicas, or give the process more CPU."
    advice = Advice(
        title="Please try again shortly",
        now="Wait a few seconds, then start again. You do not have to change anything.",
        who="This usually passes by itself. If it continues, your IT desk can look into it.",
    )


class OverloadedByProvider(Overloaded, code="overloaded_by_provider"):
    """No place became free, because the sign-ins at work wait for the provider's answers."""

    user_message = (
        "Your organisation's sign-in service answers slowly at the moment, and many people are waiting for it."
    )
    remedy = "The provider answers slowly, so its sign-ins hold all places. Check its status page and the way there."
    advice = _LATER


class OutboundProxyFailed(ServiceError, code="outbound_proxy_failed"):
    """The outbound proxy cannot be reached, or refuses to connect (RFC 9110, section 9.3.6)."""

    remedy = (
        "Check outbound_proxy: its address, its user name and password, and that the proxy allows and reaches this "
        "host. For a provider that needs no proxy, set outbound_proxy: none."
    )


class InternalError(ServiceError, code="unexpected"):
    """An unexpected exception; a person gets a page even then."""

    remedy = "This is a defect of the broker: report it with the log line, which names the place in the code."


class RequestError(BrokerError, status=400):
    """The browser's request cannot be accepted."""

    user_message = "The link that brought you here cannot be used."
    advice = _BEGIN_AT_COMM100


class NoSuchPage(RequestError, code="no_such_page", status=404):
    """No route, site or identity provider of that name."""

    user_message = "There is no page here."
    remedy = (
        "The addresses are /login, /callback/{provider id}, /initiate/{provider id} and /logout; compare the ids "
        "with those in the settings."
    )
    advice = Advice(title="Page not found", now="Open Comm100 and start the sign-in there.", who=_A_LINK)


class SetupLinkRefused(RequestError, code="setup_link_refused", status=404):
    """The link to the setup page is missing, expired, altered, for another broker, or for another host."""

    user_message = "The link has expired, or was not copied completely."
    remedy = (
        "Make a new link: broker setup-link. If the link is new: the command needs the public_url and secret_keys "
        "of the service, and the proxy must pass Host on as the browser sent it."
    )
    advice = Advice(
        title="This link is not valid",
        now="Make a new link with the command broker setup-link.",
        who="The administrator who runs this service for your organisation.",
    )


class MethodNotAllowed(RequestError, code="method_not_allowed", status=405):
    """Another method than GET: nothing is started or consumed."""

    user_message = "This address is for opening in a browser only."
    remedy = "Only GET is answered here. A link checker or a preview may have called; nothing was started."
    advice = _NOT_LIKE_THIS


class ResponseModeUnsupported(RequestError, code="response_mode_unsupported", status=405):
    """A POST at the callback: the provider's answer as a form, whose body is never read."""

    user_message = "Your organisation's sign-in service answered in a form that this site does not accept."
    remedy = (
        "The provider posts its answer as a form. Take response_mode out of authorization_parameters, or set the "
        "response mode of the client at the provider to query."
    )
    advice = _TRYING_DOES_NOT_HELP


class NotANavigation(RequestError, code="not_a_navigation"):
    """A prefetch or a script's fetch, which starts and consumes nothing."""

    user_message = "This address is for opening in a browser tab only."
    remedy = "A prefetch or a script called; nothing was started. Link to the address, do not fetch it."
    advice = _NOT_LIKE_THIS


class RequestTooLarge(RequestError, code="request_too_large", status=431):
    """An address, header block or body beyond the bounds."""

    user_message = "Your browser sent more than this page accepts."
    remedy = "The address, the headers or the body exceed the bounds named in docs/admin/operations.md."
    advice = Advice(
        title="Your browser sent too much",
        now="Clear the cookies of this site in your browser, then start the sign-in again.",
        who="You can, by clearing the cookies. If that does not help, your IT desk can look into it.",
    )


class TooManyRejectedCodes(RequestError, code="too_many_rejected_codes", status=429):
    """Codes from one address were rejected too often: the provider is not asked (RFC 6585, section 4)."""

    user_message = "Too many sign-ins from your network failed just now."
    remedy = (
        "The provider rejected many codes from this address; the log lines before say why. If the address is a "
        "proxy's, name the proxy in trusted_proxies: then each browser is counted separately."
    )
    advice = _LATER


class ParameterRepeated(RequestError, code="parameter_repeated"):
    """A parameter came more than once (RFC 6749, section 3.1)."""

    remedy = "A parameter came twice, which RFC 6749, 3.1 forbids. A proxy or a link on the way may have added it."


class ParametersContradict(RequestError, code="parameters_contradict"):
    """An authorization response that is both a success and an error."""

    remedy = "The provider's answer has both a code and an error; something on the way altered it."


class RedirectUrlRefused(RequestError, code="redirect_url_refused"):
    """A redirect_url that is no address of this site's Comm100."""

    user_message = "The page you were to return to is not a known Comm100 page."
    remedy = (
        "Compare endpoint with the JWT SSO endpoint in Comm100's Control Panel. If it is right, and the host of "
        "redirect_url is one of your Comm100 hosts, add that host to the site's redirect_hosts."
    )
    advice = Advice(
        title="This sign-in did not go through",
        now="Open Comm100 and start the sign-in there. If it happens again, write to your IT desk.",
        who=_THE_IT_DESK,
    )


class InitiationRefused(RequestError, code="initiation_refused"):
    """A third-party initiated sign-in of another issuer (OpenID Connect Core, section 4)."""

    remedy = (
        "A portal started the sign-in with another issuer than the provider's, or with an odd login_hint. Compare "
        "issuer with the address the tile sends as iss."
    )


class SiteNotOffered(RequestError, code="site_not_offered", status=503):
    """A site whose identity providers are all switched off."""

    user_message = "Your organisation has not switched on signing in here yet."
    remedy = "No identity provider of this site is enabled: set enabled: true once the test sign-in works."
    advice = Advice(
        title="Signing in is not possible yet",
        now="Ask your IT desk when it will be. Trying again does not help until then.",
        who=_THE_IT_DESK,
    )


class TransactionError(BrokerError, status=400):
    """The sign-in in progress cannot be distinguished from a forged sign-in."""

    user_message = "This sign-in could not be recognised."
    advice = _START_AGAIN


class StateMissing(TransactionError, code="state_missing"):
    """The callback has no state (RFC 6749, section 10.12)."""

    remedy = "The provider came back without state. Check that the redirect URI is not used as a start address."


class StateInvalid(TransactionError, code="state_invalid"):
    """The state was altered, or no key of the broker signed it."""

    remedy = "The broker did not sign the state, or its key left secret_keys. All replicas need the same keys."


class StateOfAnotherProvider(TransactionError, code="state_of_another_provider"):
    """A state issued for one provider at another provider's callback (RFC 9700, section 4.4)."""

    remedy = "The sign-in began at another provider. Give each provider its own redirect URI, /callback/{provider id}."


class TransactionExpired(TransactionError, code="transaction_expired"):
    """The sign-in began more than ten minutes ago, by the clock of the broker."""

    user_message = "This sign-in took longer than ten minutes."
    remedy = "If this happens rarely, do nothing. If it happens often, compare the clocks of the replicas."


class CookieMissing(TransactionError, code="cookie_missing"):
    """The callback came without the cookie that binds the sign-in to this browser."""

    user_message = "Your browser did not send back the cookie that belongs to this sign-in."
    remedy = "Another browser finished the sign-in, cookies are blocked, or public_url is not the address people use."
    advice = Advice(
        title="This sign-in did not go through",
        now="Allow cookies for this site, then start the sign-in again and finish it in the same browser.",
        who="You can, by allowing cookies. If that does not help, your IT desk can look into it.",
    )


class TransactionSpent(TransactionError, code="transaction_spent"):
    """The same callback came a second time."""

    user_message = "This sign-in was already completed."
    remedy = "The same callback was opened twice: a reload or the back button. No action is needed."
    advice = Advice(
        title="This sign-in is over",
        now="Look at Comm100: you may be signed in already. If you are not, start the sign-in again.",
        who=_YOU_CAN,
    )


class ProviderRefused(BrokerError, status=403):
    """The identity provider answered with an error (RFC 6749, section 4.1.2.1)."""

    user_message = "Your organisation's sign-in service refused this sign-in."
    advice = Advice(
        title="The sign-in was refused",
        now="Try once more. If it is refused again, write to your IT desk.",
        who=_THE_IT_DESK,
    )


class ProviderReported(ProviderRefused):
    """An error that the browser brought to the callback: the provider or a stranger wrote it."""


class AccessDenied(ProviderReported, code="access_denied"):
    """The person cancelled, or the provider's policy denies (`access_denied`)."""

    user_message = "The sign-in was cancelled, or your account is not allowed to use it."
    remedy = "Assign the person or their group to the application at the provider, and grant consent there."
    advice = Advice(
        title="You were not signed in",
        now="If you cancelled, start again. If you did not, use another account, or ask your IT desk for access.",
        who="You can, if you cancelled. Otherwise your IT desk: send them the error code and the trace id below.",
    )


class InteractionRequired(ProviderReported, code="interaction_required"):
    """The provider needs to show a page (OpenID Connect Core, section 3.1.2.6)."""

    remedy = "The provider had to show a page, but prompt forbids it. Remove prompt from authorization_parameters."


class ProviderError(ProviderReported, code="provider_error"):
    """Any other error that the provider sent to the callback."""

    remedy = "Look up the provider's error in the log line. Most often the registration of the application is wrong."


class ProviderReportedFailure(ProviderReported, code="provider_reported_failure"):
    """`temporarily_unavailable` or `server_error` at the callback (RFC 6749, section 4.1.2.1)."""

    user_message = "Your organisation's sign-in service does not answer at the moment."
    remedy = "Check the provider's status page."
    advice = _LATER


class CodeRejected(ProviderRefused, code="code_rejected", status=400):
    """The token endpoint refuses the code (`invalid_grant`; RFC 6749, section 5.2)."""

    user_message = "This sign-in took too long, or it was already completed."
    remedy = (
        "If this happens rarely, do nothing. If it always happens, the registered redirect URI differs, or a "
        "scanner consumes the codes."
    )
    advice = _START_AGAIN


class ProviderUnavailable(BrokerError, status=503):
    """No usable answer came: worth trying again.

    Args:
        phase: how far the request got: `resolving`, `connecting`, `waiting`, `reading`; empty if it is not known.

    Attributes:
        setting: a setting that may be missing; empty if no setting is.
    """

    user_message = "Your organisation's sign-in service does not answer at the moment."
    advice = _LATER
    setting: str = ""

    def __init__(
        self,
        *,
        expected: object = None,
        got: object = None,
        retry_after: int | None = None,
        remedy: str = "",
        phase: str = "",
    ) -> None:
        super().__init__(expected=expected, got=got, retry_after=retry_after, remedy=remedy)
        self.phase = phase


class ProviderUnreachable(ProviderUnavailable, code="provider_unreachable"):
    """No connection, a dropped connection, or a TLS handshake that failed, but for the certificate."""

    remedy = "Check DNS, the firewall between the broker and the provider, and the provider's status page."


class ProviderCertificate(ProviderUnavailable, code="provider_certificate"):
    """The provider's certificate is not trusted; each error has the remedy of its cause."""

    user_message = "Your organisation's sign-in service cannot be reached from here."
    remedy = "Have the provider's certificate corrected, or its authority put into trusted_ca_file."
    advice = _TRYING_DOES_NOT_HELP


class ProviderTimedOut(ProviderUnavailable, code="provider_timed_out"):
    """The provider's answer did not arrive within the time allowed, and the event loop was not the cause."""

    remedy = "The provider took too long. Check its status page and the way there."


class ProviderFailing(ProviderUnavailable, code="provider_failing"):
    """A 5xx, a 429, or `temporarily_unavailable` / `server_error` from the token endpoint."""

    remedy = "The provider answered with a server error or asked to wait. Check its status page."


class ProviderAddressRefused(ProviderUnavailable, code="provider_address_refused"):
    """The provider's host resolves to a private, loopback or link-local address."""

    setting = "allow_private_network"
    user_message = "Your organisation's sign-in service cannot be reached from here."
    remedy = "The provider's name resolves to a private address. If that is meant, set allow_private_network: true."
    advice = _TRYING_DOES_NOT_HELP


class InvalidProviderResponse(BrokerError, status=502):
    """The answer cannot be trusted; the broker used no part of it."""

    user_message = "The answer of your organisation's sign-in service could not be verified."
    advice = Advice(
        title="The sign-in could not be verified",
        now="Try once more in a minute. You did nothing wrong, and nothing was passed on to Comm100.",
        who="Your IT desk. If it happens again, send them the error code and the trace id below.",
    )


class AnswerUnreadable(InvalidProviderResponse, code="answer_unreadable"):
    """Not a JSON object: broken, nested too deep, with repeated members, not UTF-8."""

    remedy = "The provider's answer is not a valid JSON object. A proxy may have answered instead."


class AnswerTooLarge(InvalidProviderResponse, code="answer_too_large"):
    """The answer is larger than the limit of its kind, or has a content encoding that the broker declined."""

    remedy = "Have the provider, or the proxy in between, send a smaller answer without Content-Encoding."


class AnswerUnexpected(InvalidProviderResponse, code="answer_unexpected"):
    """A redirect, an unknown status or another media type."""

    remedy = "The provider answered with an unexpected status or media type. Check issuer, and any proxy in between."


class MetadataInvalid(InvalidProviderResponse, code="metadata_invalid"):
    """A member of the discovery document is missing, of the wrong type, or no usable URL."""

    remedy = "Open the provider's /.well-known/openid-configuration: the member named is missing or not usable."


class MetadataIssuer(InvalidProviderResponse, code="metadata_issuer"):
    """The discovery document names another issuer (OpenID Connect Discovery, section 4.3)."""

    remedy = (
        "Set issuer to exactly the issuer in the provider's discovery document, including a slash at its end. If the "
        "document is not below that address, set metadata_url to the address of the document."
    )


class CallbackIssuer(InvalidProviderResponse, code="callback_issuer", status=400):
    """`iss` at the callback is wrong, or missing although announced (RFC 9207, section 2.4)."""

    remedy = (
        "The answer has to name the provider in iss. Give each provider its own redirect URI, and let no proxy drop "
        "parameters."
    )


class CodeMissing(InvalidProviderResponse, code="code_missing", status=400):
    """Neither `code` nor `error` at the callback."""

    remedy = (
        "The provider came back with neither code nor error. Allow the authorization code flow for the application."
    )


class ClientRejected(InvalidProviderResponse, code="client_rejected"):
    """The token endpoint refuses the broker's credentials (`invalid_client`; RFC 6749, section 5.2)."""

    user_message = "Your organisation's sign-in service does not accept requests from here."
    remedy = "Client ID or credential is wrong or expired, or client_authentication is not what the provider expects."
    advice = _TRYING_DOES_NOT_HELP


class TokenResponseInvalid(InvalidProviderResponse, code="token_response_invalid"):
    """The token response is not as OpenID Connect Core, section 3.1.3.3 demands."""

    remedy = "The provider has to correct the member named. If it is id_token, openid must be in scopes, and granted."


class TokenRequestRefused(InvalidProviderResponse, code="token_request_refused"):
    """Any other error of the token endpoint (RFC 6749, section 5.2)."""

    user_message = "Your organisation's sign-in service does not accept requests from here."
    remedy = "The token endpoint refused the request: got says why. Check grant types, redirect URI and client secret."
    advice = _TRYING_DOES_NOT_HELP


class KeysInvalid(InvalidProviderResponse, code="keys_invalid"):
    """No usable key in the provider's JWK Set (RFC 7517, section 5)."""

    remedy = "The provider has to publish a signing key at its jwks_uri: RSA of 2048 bits or more, or EC."


class IdTokenMalformed(InvalidProviderResponse, code="id_token_malformed"):
    """The ID token is not a signed, compact JWT with an acceptable header (RFC 7515; RFC 8725, section 3)."""

    remedy = "The provider has to correct what got names. Switch encryption of ID tokens off: it is not supported."


class IdTokenAlgorithm(InvalidProviderResponse, code="id_token_algorithm"):
    """`alg` is not one of the configured algorithms (RFC 8725, section 3.1)."""

    remedy = "Change the client's ID token algorithm at the provider to RS256. Unsigned ID tokens are never accepted."


class IdTokenKeyUnknown(InvalidProviderResponse, code="id_token_key_unknown"):
    """No published key fits `kid` and `alg`."""

    remedy = "No key of the provider fits the token. If this persists, the provider's jwks_uri is out of date."


class IdTokenSignature(InvalidProviderResponse, code="id_token_signature"):
    """The signature does not verify."""

    remedy = "The signature is wrong: someone altered the token, or the provider publishes the wrong keys."


class IdTokenIssuer(InvalidProviderResponse, code="id_token_issuer"):
    """`iss` is not the configured issuer (OpenID Connect Core, section 3.1.3.7, 2)."""

    remedy = "The token is from another issuer. Compare issuer, tenant and authorization server with the provider."


class IdTokenAudience(InvalidProviderResponse, code="id_token_audience"):
    """`aud` or `azp` names another client (OpenID Connect Core, section 3.1.3.7, 3 to 5)."""

    remedy = "The token was made for another client. Compare client_id with the application at the provider."


class IdTokenTime(InvalidProviderResponse, code="id_token_time"):
    """`exp`, `iat` or `nbf` missing, of the wrong type, or outside the leeway."""

    remedy = "The token is expired or not yet valid. Compare the clocks of this machine and of the provider."


class IdTokenNonce(InvalidProviderResponse, code="id_token_nonce"):
    """`nonce` missing or of another sign-in (OpenID Connect Core, section 3.1.3.7, 11)."""

    remedy = "The token does not belong to this sign-in. If this persists, the provider drops nonce."


class IdTokenSubject(InvalidProviderResponse, code="id_token_subject"):
    """`sub` missing, empty, or longer than 255 ASCII characters (OpenID Connect Core, section 2)."""

    remedy = "The provider has to send a usable sub in the ID token: a short, stable identifier in ASCII."


class IdTokenAccessTokenHash(InvalidProviderResponse, code="id_token_access_token_hash"):
    """`at_hash` does not fit the access token (OpenID Connect Core, section 3.1.3.8)."""

    remedy = "The access token was exchanged on the way; the provider or a proxy is at fault."


class IdTokenAuthTime(InvalidProviderResponse, code="id_token_auth_time"):
    """`auth_time` missing or too old under `max_age` (OpenID Connect Core, section 3.1.3.7, 13)."""

    remedy = "The provider did not ask for a fresh sign-in although max_age demands it. Raise or remove max_age."


class UserinfoInvalid(InvalidProviderResponse, code="userinfo_invalid"):
    """The userinfo response is not as OpenID Connect Core, section 5.3.2 demands."""

    remedy = (
        "The userinfo endpoint has to answer with a JSON object: switch signed userinfo off. If the ID token has "
        "e-mail and name, set userinfo: never."
    )


class UserinfoSubject(InvalidProviderResponse, code="userinfo_subject"):
    """`sub` of userinfo missing or not the ID token's (OpenID Connect Core, section 5.3.2)."""

    remedy = (
        "Userinfo is about another person than the ID token: the provider has to send the same sub in both. If the "
        "ID token has everything, set userinfo: never."
    )


class EmailContradicts(InvalidProviderResponse, code="email_contradicts"):
    """ID token and userinfo name different e-mail addresses."""

    user_message = "Your organisation's sign-in service names two different e-mail addresses for you."
    remedy = "ID token and userinfo name different addresses. Set userinfo: never, or correct the claim mapping there."
    advice = _THE_ACCOUNT_HAS_TO_CHANGE


class NotAdmitted(BrokerError, status=403):
    """The person is verified, but may not sign in here.

    Attributes:
        subject: of the verified ID token, to count each person once; empty if no ID token was verified. Never logged.
    """

    subject: str = ""
    user_message = "You are signed in at your organisation, but your account doesn't have access to Comm100."
    advice = _THE_ACCOUNT_HAS_TO_CHANGE


class EmailMissing(NotAdmitted, code="email_missing"):
    """Neither the ID token nor userinfo carries an e-mail address."""

    user_message = "Your account has no e-mail address that could be used here."
    remedy = "Give the person an e-mail address at the provider, add the email scope, or set email_claim."


class EmailMalformed(NotAdmitted, code="email_malformed"):
    """The e-mail address is not a plain ASCII mailbox of at most 254 characters."""

    user_message = "The e-mail address of your account cannot be used here."
    remedy = "Correct the address in the directory: it has to be a plain ASCII mailbox."


class EmailUnverified(NotAdmitted, code="email_unverified"):
    """`email_verified` is not true, although this provider kind requires it."""

    user_message = "Your organisation's sign-in service does not confirm the e-mail address of your account."
    remedy = (
        "The provider must send email_verified: true beside the address. If the ID token does and userinfo says "
        "otherwise, set userinfo: when_needed. trust_unverified_email is for directories that only IT can edit."
    )


class EmailDomainNotAllowed(NotAdmitted, code="email_domain_not_allowed"):
    """The address's domain is not one this provider may assert."""

    user_message = "Your e-mail address does not belong to an organisation that may sign in here."
    remedy = (
        "Compare the spelling in the provider's email_domains. Add the domain only if its people may become agents; "
        "subdomains are not included."
    )
    advice = _THE_WRONG_ACCOUNT


class GroupNotAllowed(NotAdmitted, code="group_not_allowed"):
    """The person is in none of the groups allowed, or the provider did not send the groups."""

    remedy = "Add the person to one of allowed_groups, or have the provider send the groups claim."
    advice = _THE_WRONG_ACCOUNT


class GroupsOverage(NotAdmitted, code="groups_overage"):
    """The provider omitted the groups, because there are too many; the broker never fetches them elsewhere."""

    user_message = "You are in so many groups that your organisation's sign-in service did not name them."
    remedy = (
        "The person is in more groups than the provider writes into a token. Have it send only the groups assigned "
        "to the application, or use application roles in groups_claim."
    )


class GuestNotAllowed(NotAdmitted, code="guest_not_allowed"):
    """A guest of an Entra tenant without a verified address."""

    user_message = "Your account is a guest in this organisation, and guests may not sign in here."
    remedy = (
        "Entra: a guest's user principal name is no address. Add the optional claims email and xms_edov if guests "
        "with a verified address in email_domains should be admitted."
    )
    advice = _THE_WRONG_ACCOUNT


class TenantNotAllowed(NotAdmitted, code="tenant_not_allowed"):
    """The Entra tenant is not listed, or is the tenant of personal accounts."""

    user_message = "Your account belongs to an organisation that may not sign in here."
    remedy = "Entra: add the tenant's id to tenants if its people may become agents."
    advice = _THE_WRONG_ACCOUNT


class AuthenticationTooWeak(NotAdmitted, code="authentication_too_weak"):
    """`acr` or `amr` of the ID token names nothing that `require_acr` or `require_amr` requires (Core, 3.1.3.7, 12)."""

    user_message = "Comm100 needs a stronger sign-in, for example with a second factor."
    remedy = (
        "The ID token has no value of require_acr or require_amr. Require a second factor in the provider's policy for "
        "this application, and compare acr and amr in a test sign-in."
    )
    advice = Advice(
        title="A stronger sign-in is needed",
        now="Sign in again and confirm with your second factor, such as an authenticator app or a security key.",
        who="If you have no second factor, or are not asked for it: your IT desk. Send them the error code and the "
        "trace id below.",
    )


class HostedDomainNotAllowed(NotAdmitted, code="hosted_domain_not_allowed"):
    """The `hd` claim is missing, or is not in `email_domains`."""

    user_message = "You used a Google account that does not belong to your organisation."
    remedy = (
        "Google: the account is not managed by one of email_domains (claim hd). Add the Workspace's primary domain "
        "if it is missing there."
    )
    advice = _THE_WRONG_ACCOUNT


def every_error() -> Iterator[type[BrokerError]]:
    """Yield each error class that has a code, in the order of this file: the closed list of reasons."""
    waiting = list(BrokerError.__subclasses__())
    while waiting:
        error = waiting.pop(0)
        if error.code:
            yield error
        waiting[:0] = error.__subclasses__()
