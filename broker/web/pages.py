"""The words and the look of every page a person sees; a page is one HTML string with one inline style.

Refuses to know requests, responses, headers and cookies. Nothing that came from a request or a provider is ever shown:
callers hand in an error of ours, the trace id, and links they built themselves.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

import jinja2

from broker.errors import BrokerError
from broker.web.languages import ENGLISH


@dataclass(frozen=True, slots=True)
class Choice:
    """One identity provider on the chooser.

    Args:
        label: the text on the button, from the settings.
        href: where the button leads; built by us, with anything from a request percent-encoded.
    """

    label: str
    href: str


@dataclass(frozen=True, slots=True)
class _Advice:
    """What a person can do about an error of one status: the page's title, the next step, and who can fix it."""

    title: str
    now: str
    who: str


_START_AGAIN = _Advice(
    title="This sign-in did not go through",
    now="Start the sign-in again. A bookmarked sign-in page does not work: begin at Comm100.",
    who="You can, by starting again. If it keeps happening, your IT desk can look into it.",
)
_TOO_LARGE = _Advice(
    title="Your browser sent too much",
    now="Clear the cookies of this site in your browser, then start the sign-in again.",
    who="You can, by clearing the cookies. If that does not help, your IT desk can look into it.",
)
_ADVICE: Mapping[int, _Advice] = MappingProxyType(
    {
        400: _START_AGAIN,
        403: _Advice(
            title="Your account was not let in",
            now="Ask your IT desk to give your account access. If you have another account, sign in with that one.",
            who="Your IT desk. Send them the code and the id below.",
        ),
        404: _Advice(
            title="Page not found",
            now="Open Comm100 and start the sign-in there.",
            who="If a link of your organisation brought you here, your IT desk can correct it.",
        ),
        405: _Advice(
            title="This page cannot be opened like this",
            now="Open Comm100 and start the sign-in there.",
            who="If a link of your organisation brought you here, your IT desk can correct it.",
        ),
        413: _TOO_LARGE,
        414: _TOO_LARGE,
        431: _TOO_LARGE,
        502: _Advice(
            title="The sign-in could not be verified",
            now="Try once more in a minute. You did nothing wrong, and nothing was passed on to Comm100.",
            who="Your IT desk. If it happens again, send them the code and the id below.",
        ),
        503: _Advice(
            title="Please try again shortly",
            now="Wait a moment, then start again. You do not have to change anything.",
            who="It mostly passes by itself. If it lasts, your IT desk can look into it.",
        ),
    }
)


def open_templates(language: str, *, site_name: str) -> jinja2.Environment:
    """Return the environment in which `base.html` and what extends it find what they need.

    Args:
        language: a tag of `languages.LANGUAGES`, for the `lang` attribute.
        site_name: what the pages call this site.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("broker.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
    )
    environment.globals |= {"language": language, "site_name": site_name}
    return environment


class Pages:
    """The pages of one broker in one language, compiled once; every method returns a whole HTML document.

    Args:
        language: a tag of `languages.LANGUAGES`.
        support_email: the IT desk's address, offered on error pages; None offers none.
        site_name: what the pages call this site.

    Attributes:
        language: theirs, for Content-Language.
        style_sha256: base64 of the SHA-256 of the inline style, for the Content-Security-Policy; the same for all.
    """

    def __init__(
        self, language: str = ENGLISH, *, support_email: str | None = None, site_name: str = "Comm100 sign-in"
    ) -> None:
        environment = open_templates(language, site_name=site_name)
        self.language = language
        self._support_email = support_email
        self._templates = {name: environment.get_template(name) for name in environment.list_templates()}
        style = self._templates["style.css"].render()
        self.style_sha256 = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    def problem(
        self,
        error: BrokerError,
        *,
        trace_id: str,
        start_again: str | None,
        use_another_account: str | None = None,
        refreshes: bool = False,
    ) -> str:
        """Return the page for an error: what happened, what to do now, who can fix it, code and trace id.

        Args:
            error: what went wrong; only its sentence for the person, its code and its status are used.
            trace_id: the id under which the log has this request.
            start_again: where "Start again" leads; None shows no such link.
            use_another_account: where "Use another account" leads; None shows no such link.
            refreshes: whether the answer carries a Refresh header, which the page then announces.
        """
        return self._templates["problem.html"].render(
            error=error,
            advice=_ADVICE.get(error.status, _START_AGAIN),
            trace_id=trace_id,
            start_again=start_again,
            use_another_account=use_another_account,
            refreshes=refreshes,
            support_email=self._support_email,
            mailto=_mailto(self._support_email, error, trace_id) if self._support_email else None,
        )

    def home(self) -> str:
        """Return the page at `/`: what this is, and nothing a stranger may not know."""
        return self._templates["home.html"].render()

    def signed_out(self, start_url: str | None) -> str:
        """Return the page after signing out.

        Args:
            start_url: where "Sign in again" leads; None shows no such link.
        """
        return self._templates["signed_out.html"].render(start_url=start_url)

    def new_tab(self, href: str) -> str:
        """Return the page that, inside a frame, opens the sign-in in a tab of its own.

        Args:
            href: where the sign-in starts.
        """
        return self._templates["new_tab.html"].render(href=href)

    def choose(self, site_label: str, choices: Sequence[Choice]) -> str:
        """Return the page on which a person picks an identity provider.

        Args:
            site_label: what the person signs in to, as in "Sign in to ...".
            choices: the identity providers, in the order shown.
        """
        return self._templates["choose.html"].render(site_label=site_label, choices=choices)


def _mailto(address: str, error: BrokerError, trace_id: str) -> str:
    """Return a mailto link with code and trace id filled in (RFC 6068, section 2; line breaks: section 5)."""
    subject = f"Sign-in problem: {error.code}"
    body = (
        "Hello,\r\n\r\nI could not sign in to Comm100. The page said:\r\n"
        f"{error.person}\r\n\r\nError code: {error.code}\r\nTrace id: {trace_id}\r\n"
    )
    return f"mailto:{quote(address, safe='@')}?subject={quote(subject, safe='')}&body={quote(body, safe='')}"
