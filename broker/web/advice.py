"""What a person can do about an error: the page's title, the next step, and who can fix it. In English.

Refuses to know pages and translations. An error has the advice of its own class, or else of the nearest class above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from broker import errors


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person reads beside the error's own sentence.

    Args:
        title: the page's heading.
        now: what to do now; one sentence or two.
        who: who can fix it.
    """

    title: str
    now: str
    who: str


_YOU_CAN = "You can, by starting again. If it keeps happening, your IT desk can look into it."
_THE_IT_DESK = "Your IT desk. Send them the code and the id below."
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
    title="Your account was not let in",
    now="If this was not your work account, sign in with that one. If it was, ask your IT desk to admit it.",
    who=_THE_IT_DESK,
)
_LATER = Advice(
    title="Please try again shortly",
    now="Wait a minute, then start again. You do not have to change anything.",
    who="It mostly passes by itself. If it lasts, your IT desk can look into it.",
)
_THE_ACCOUNT_HAS_TO_CHANGE = Advice(
    title="Your account was not let in",
    now="Ask your IT desk to put this right. If you have another work account, sign in with that one.",
    who=_THE_IT_DESK,
)

ADVICE: Mapping[type[errors.BrokerError], Advice] = MappingProxyType(
    {
        errors.BrokerError: _START_AGAIN,
        errors.RequestError: _BEGIN_AT_COMM100,
        errors.NoSuchPage: Advice(title="Page not found", now="Open Comm100 and start the sign-in there.", who=_A_LINK),
        errors.SetupLinkRefused: Advice(
            title="This link is not valid",
            now="Make a new link with the command broker setup-link.",
            who="Whoever runs this service for your organisation.",
        ),
        errors.MethodNotAllowed: _NOT_LIKE_THIS,
        errors.NotANavigation: _NOT_LIKE_THIS,
        errors.RequestTooLarge: Advice(
            title="Your browser sent too much",
            now="Clear the cookies of this site in your browser, then start the sign-in again.",
            who="You can, by clearing the cookies. If that does not help, your IT desk can look into it.",
        ),
        errors.TooManyRejectedCodes: _LATER,
        errors.RedirectUrlRefused: Advice(
            title="This sign-in did not go through",
            now="Open Comm100 and start the sign-in there. If it happens again, write to your IT desk.",
            who=_THE_IT_DESK,
        ),
        errors.SiteNotOffered: Advice(
            title="Signing in is not possible yet",
            now="Ask your IT desk when it will be. Trying again does not help until then.",
            who=_THE_IT_DESK,
        ),
        errors.TransactionError: _START_AGAIN,
        errors.CookieMissing: Advice(
            title="This sign-in did not go through",
            now="Allow cookies for this site, then start the sign-in again and finish it in the same browser.",
            who="You can, by allowing cookies. If that does not help, your IT desk can look into it.",
        ),
        errors.TransactionSpent: Advice(
            title="This sign-in is over",
            now="Look at Comm100: you may be signed in already. If you are not, start the sign-in again.",
            who=_YOU_CAN,
        ),
        errors.ProviderRefused: Advice(
            title="The sign-in was refused",
            now="Try once more. If it is refused again, write to your IT desk.",
            who=_THE_IT_DESK,
        ),
        errors.AccessDenied: Advice(
            title="You were not signed in",
            now="If you cancelled, start again. If you did not, use another account, or ask your IT desk for access.",
            who="You can, if you cancelled. Otherwise your IT desk: send them the code and the id below.",
        ),
        errors.CodeRejected: _START_AGAIN,
        errors.ProviderReportedFailure: _LATER,
        errors.ProviderUnavailable: _LATER,
        errors.ProviderAddressRefused: _TRYING_DOES_NOT_HELP,
        errors.ProviderCertificate: _TRYING_DOES_NOT_HELP,
        errors.ResponseModeUnsupported: _TRYING_DOES_NOT_HELP,
        errors.InvalidProviderResponse: Advice(
            title="The sign-in could not be verified",
            now="Try once more in a minute. You did nothing wrong, and nothing was passed on to Comm100.",
            who="Your IT desk. If it happens again, send them the code and the id below.",
        ),
        errors.ClientRejected: _TRYING_DOES_NOT_HELP,
        errors.TokenRequestRefused: _TRYING_DOES_NOT_HELP,
        errors.EmailContradicts: _THE_ACCOUNT_HAS_TO_CHANGE,
        errors.NotAdmitted: _THE_ACCOUNT_HAS_TO_CHANGE,
        errors.EmailDomainNotAllowed: _THE_WRONG_ACCOUNT,
        errors.GroupNotAllowed: _THE_WRONG_ACCOUNT,
        errors.GuestNotAllowed: _THE_WRONG_ACCOUNT,
        errors.HostedDomainNotAllowed: _THE_WRONG_ACCOUNT,
        errors.TenantNotAllowed: _THE_WRONG_ACCOUNT,
        errors.ServiceError: Advice(
            title="Something went wrong",
            now="Wait a minute, then start again. If it happens again, write to your IT desk.",
            who=_THE_IT_DESK,
        ),
        errors.Overloaded: Advice(
            title="Please try again shortly",
            now="Wait a few seconds, then start again. You do not have to change anything.",
            who="It mostly passes by itself. If it lasts, your IT desk can look into it.",
        ),
    }
)


def advice_for(error: errors.BrokerError) -> Advice:
    """Return the advice for an error.

    Args:
        error: what went wrong.
    """
    return next(ADVICE[kind] for kind in type(error).__mro__ if kind in ADVICE)
