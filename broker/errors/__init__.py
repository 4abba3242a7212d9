"""Every way a sign-in can end badly, sorted by whose fault it is.

This package owns the stable code of each error, the sentence a person reads, and the remedy an admin needs. It knows
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

from broker.errors.admission import (
    EmailDomainNotAllowed,
    EmailMalformed,
    EmailMissing,
    EmailUnverified,
    GroupNotAllowed,
    NotAdmitted,
)
from broker.errors.answers import (
    AccessDenied,
    CodeRejected,
    InteractionRequired,
    Overloaded,
    ProviderAddressRefused,
    ProviderError,
    ProviderFailing,
    ProviderRefused,
    ProviderTimedOut,
    ProviderUnavailable,
    ProviderUnreachable,
)
from broker.errors.browser import (
    CookieMissing,
    MethodNotAllowed,
    NoSuchPage,
    NotANavigation,
    ParameterRepeated,
    ParametersContradict,
    RedirectUrlRefused,
    RequestError,
    RequestTooLarge,
    StateInvalid,
    StateMissing,
    StateOfAnotherProvider,
    TransactionError,
    TransactionExpired,
    TransactionSpent,
)
from broker.errors.mistrust import (
    AnswerTooLarge,
    AnswerUnexpected,
    AnswerUnreadable,
    CallbackIssuer,
    ClientRejected,
    CodeMissing,
    EmailContradicts,
    IdTokenAccessTokenHash,
    IdTokenAlgorithm,
    IdTokenAudience,
    IdTokenAuthTime,
    IdTokenIssuer,
    IdTokenKeyUnknown,
    IdTokenMalformed,
    IdTokenNonce,
    IdTokenSignature,
    IdTokenSubject,
    IdTokenTime,
    KeysInvalid,
    MetadataInvalid,
    MetadataIssuer,
    ProviderMistrusted,
    TokenRequestRefused,
    TokenResponseInvalid,
    UserinfoInvalid,
    UserinfoSubject,
)
from broker.errors.root import BrokerError, every_error
from broker.errors.start import Mistake, SettingsError, Unexpected

__all__ = [
    "AccessDenied",
    "AnswerTooLarge",
    "AnswerUnexpected",
    "AnswerUnreadable",
    "BrokerError",
    "CallbackIssuer",
    "ClientRejected",
    "CodeMissing",
    "CodeRejected",
    "CookieMissing",
    "EmailContradicts",
    "EmailDomainNotAllowed",
    "EmailMalformed",
    "EmailMissing",
    "EmailUnverified",
    "GroupNotAllowed",
    "IdTokenAccessTokenHash",
    "IdTokenAlgorithm",
    "IdTokenAudience",
    "IdTokenAuthTime",
    "IdTokenIssuer",
    "IdTokenKeyUnknown",
    "IdTokenMalformed",
    "IdTokenNonce",
    "IdTokenSignature",
    "IdTokenSubject",
    "IdTokenTime",
    "InteractionRequired",
    "KeysInvalid",
    "MetadataInvalid",
    "MetadataIssuer",
    "MethodNotAllowed",
    "Mistake",
    "NoSuchPage",
    "NotANavigation",
    "NotAdmitted",
    "Overloaded",
    "ParameterRepeated",
    "ParametersContradict",
    "ProviderAddressRefused",
    "ProviderError",
    "ProviderFailing",
    "ProviderMistrusted",
    "ProviderRefused",
    "ProviderTimedOut",
    "ProviderUnavailable",
    "ProviderUnreachable",
    "RedirectUrlRefused",
    "RequestError",
    "RequestTooLarge",
    "SettingsError",
    "StateInvalid",
    "StateMissing",
    "StateOfAnotherProvider",
    "TokenRequestRefused",
    "TokenResponseInvalid",
    "TransactionError",
    "TransactionExpired",
    "TransactionSpent",
    "Unexpected",
    "UserinfoInvalid",
    "UserinfoSubject",
    "every_error",
]
