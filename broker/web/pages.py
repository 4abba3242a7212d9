"""Renders the pages that people see, in the language of the browser; a page is one HTML string with one inline style.

A page shows no content of a request or a provider: callers pass an error, the trace id, and links that they built.
"""

from __future__ import annotations

import base64
import gettext
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from importlib.resources import files
from operator import itemgetter
from urllib.parse import quote

import jinja2

from broker.errors import BrokerError

ENGLISH = "en"
LANGUAGES = (ENGLISH, "fr", "de", "es", "pt-BR", "zh-Hans")
"""Language tags (RFC 5646) with different first subtags."""

MAX_CHARACTERS = 1_000  # of Accept-Language; with many languages a browser sends some hundred
MAX_RANGES = 30

_RANGE = re.compile(
    r"[ \t]*(\*|[A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """An identity provider on the page of choices.

    Args:
        href: built by the broker, with anything from a request percent-encoded.
    """

    label: str
    href: str


@lru_cache(maxsize=16)
def open_templates(language: str, *, site_name: str | None = None, logo: str | None = None) -> jinja2.Environment:
    """Return the shared environment for `base.html` and the templates that extend it.

    Args:
        language: from `LANGUAGES`.
        site_name: on every page; None uses the translated default.
        logo: a picture as a data URI; None shows the default.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("broker.web"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    translations = open_translations(language)
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    site_name = site_name or translations.gettext("Comm100 sign-in")
    environment.globals |= {"language": language, "site_name": site_name, "logo": logo}
    return environment


def hash_inline(content: str) -> str:
    """Return the base64 of the SHA-256 of an inline style or script, for the Content-Security-Policy."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


class Pages:
    """The pages in one language; every method returns a whole HTML document. A page is compiled when first shown.

    Args:
        support_email: the IT desk's address on error pages; None offers no address.
    """

    def __init__(
        self,
        language: str = ENGLISH,
        *,
        support_email: str | None = None,
        site_name: str | None = None,
        logo: str | None = None,
    ) -> None:
        self.language = language
        self._gettext = open_translations(language).gettext
        self._support_email = support_email
        self._open_templates = partial(open_templates, language, site_name=site_name, logo=logo)

    @cached_property
    def style_sha256(self) -> str:
        """Base64 of the SHA-256 of the inline style, for the Content-Security-Policy; the same for all."""
        return hash_inline(self._render("style.css"))

    def _render(self, template: str, **values: object) -> str:
        return self._open_templates().get_template(template).render(**values)

    def problem(
        self,
        error: BrokerError,
        *,
        trace_id: str,
        start_again: str | None,
        use_another_account: str | None = None,
        refreshes: bool = False,
        page_lost: bool = False,
    ) -> str:
        """Return the page for an error: what happened, what to do now, who can fix it, code and trace id.

        Args:
            error: the page never shows `expected`, `got` or `remedy`.
            start_again: address of "Start again"; None shows no such link.
            use_another_account: address of "Use another account"; None shows no such link.
            refreshes: the response has a Refresh header, which the page announces.
            page_lost: starting again does not lead to the page the person wanted, which the page says.
        """
        return self._render(
            "problem.html",
            error=error,
            advice=error.advice,
            trace_id=trace_id,
            start_again=start_again,
            use_another_account=use_another_account,
            refreshes=refreshes,
            page_lost=page_lost,
            support_email=self._support_email,
            mailto=self._mailto(self._support_email, error, trace_id) if self._support_email else None,
        )

    def home(self) -> str:
        """Return the page at `/`: what this service is."""
        return self._render("home.html")

    def signed_out(self, start_url: str | None) -> str:
        """Return the page after signing out, with a link "Sign in again" if there is a `start_url`."""
        return self._render("signed_out.html", start_url=start_url)

    def new_tab(self, href: str) -> str:
        """Return the page that opens the sign-in in a new tab, for use inside a frame."""
        return self._render("new_tab.html", href=href)

    def choose(self, site_label: str, choices: Sequence[Choice]) -> str:
        """Return the page on which a person chooses an identity provider, titled "Sign in to ..."."""
        return self._render("choose.html", site_label=site_label, choices=choices)

    def _mailto(self, address: str, error: BrokerError, trace_id: str) -> str:
        """Return a mailto link with code and trace id filled in (RFC 6068, section 2; line breaks: section 5)."""
        gettext = self._gettext
        subject = gettext("Sign-in problem: %(code)s") % {"code": error.code}
        lines = (
            gettext("Hello,"),
            "",
            gettext("I could not sign in to Comm100. The page said:"),
            gettext(error.user_message),
            "",
            gettext("Error code: %(code)s") % {"code": error.code},
            gettext("Trace id: %(trace_id)s") % {"trace_id": trace_id},
            "",
        )
        body = "\r\n".join(lines)
        return f"mailto:{quote(address, safe='@')}?subject={quote(subject, safe='')}&body={quote(body, safe='')}"


def choose_language(accept_language: str) -> str:
    """Return the language of the pages that the browser prefers, English by default.

    Only the first subtag counts: pt-PT gets Brazilian Portuguese, and Chinese of any region and script gets simplified
    Chinese, as in CLDR's language distances. Malformed parts and parts beyond the bounds are ignored.

    Args:
        accept_language: the value of Accept-Language (RFC 9110, section 12.5.4); several headers joined by commas.
    """
    languages = {language.partition("-")[0]: language for language in LANGUAGES}
    ranges = list(_ranges(accept_language))
    named = {subtag for subtag, _ in ranges}
    for subtag, quality in sorted(ranges, key=itemgetter(1), reverse=True):
        if quality == 0:
            break
        if subtag in languages:
            return languages[subtag]
        if subtag == "*" and (others := [language for first, language in languages.items() if first not in named]):
            return others[0]
    return ENGLISH


@lru_cache(maxsize=len(LANGUAGES))
def open_translations(language: str) -> gettext.NullTranslations:
    """Return the translations of every text; the texts themselves are English."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    with files("broker.web").joinpath("locale", f"{catalogue_name(language)}.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def catalogue_name(language: str) -> str:
    """Return the name of a language's catalogue: `.po` is edited, `.mo` is compiled from it."""
    return language.replace("-", "_")


def _ranges(accept_language: str) -> Iterator[tuple[str, float]]:
    for text in accept_language[:MAX_CHARACTERS].split(",")[:MAX_RANGES]:
        if found := _RANGE.fullmatch(text):
            yield found[1].lower(), float(found[2] or 1)
