"""What the pages say to people, and that nothing in them needs a script, a second request or good eyesight."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import broker.web
from broker.errors import (
    AccessDenied,
    BrokerError,
    ClientRejected,
    CookieMissing,
    EmailUnverified,
    HostedDomainNotAllowed,
    IdTokenSignature,
    InternalError,
    NoSuchPage,
    ProviderError,
    ProviderTimedOut,
    RequestTooLarge,
    SiteNotOffered,
    TransactionExpired,
)
from broker.settings.values import MAX_LOGO_BYTES
from broker.web.pages import ENGLISH, LANGUAGES, Pages
from tests.catalogues import every_text, open_catalogue
from tests.web.page import Page
from tests.web.sample_pages import CHOICES, ERRORS, EVERY_PAGE, SUPPORT, TRACE_ID, problem

NO_ACCESS = "Your account doesn't have access to Comm100"
PAGES = Pages(support_email=SUPPORT)
STYLE = (Path(broker.web.__file__).parent / "templates" / "style.css").read_text()
with_every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
in_every_language = pytest.mark.parametrize("language", LANGUAGES)
on_every_page = pytest.mark.parametrize("render", EVERY_PAGE.values(), ids=EVERY_PAGE.keys())


def written(language: str) -> list[str]:
    """Return patterns of all texts there are in a language."""
    catalogue = every_text() if language == ENGLISH else open_catalogue(language)
    texts = [message.id if language == ENGLISH else message.string for message in catalogue]
    plain = [" ".join(text.split()) for text in texts if isinstance(text, str) and text]
    return [re.sub(r"%\\\(\w+\\\)s", ".+", re.escape(text)) for text in plain]


LARGEST_LOGO = f"data:image/png;base64,{'A' * (MAX_LOGO_BYTES // 3 * 4)}"


@in_every_language
@on_every_page
def test_a_page_has_a_language_one_title_one_main_and_one_heading(
    render: Callable[[Pages], str], language: str
) -> None:
    html = render(Pages(language, site_name="Acme"))
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.open == []
    assert page.tags[0] == ("html", {"lang": language})
    assert [page.count(tag) for tag in ("title", "main", "h1")] == [1, 1, 1]
    heading = re.search("<h1>(.+)</h1>", html)
    assert heading
    assert f"{heading[1]} - Acme</title>" in html


@in_every_language
@on_every_page
def test_a_page_says_nothing_but_texts_of_its_language(render: Callable[[Pages], str], language: str) -> None:
    site_name = "Acme - sign-in"
    page = Page(render(Pages(language, support_email=SUPPORT, site_name=site_name)))
    no_text = {"", site_name, TRACE_ID, *(error.code for error in ERRORS), *(choice.label for choice in CHOICES)}
    texts = "|".join(written(language))
    foreign = [
        line
        for line in page.text.splitlines()
        if line not in no_text and not re.fullmatch(texts, line.removesuffix(f" - {site_name}"))
    ]
    assert foreign == []


@pytest.mark.requirement("S-53")
@on_every_page
def test_a_page_has_no_script_no_form_no_style_attribute_and_loads_nothing(render: Callable[[Pages], str]) -> None:
    page = Page(render(Pages(logo=LARGEST_LOGO)))
    assert not {"script", "form", "iframe", "base"} & {tag for tag, _ in page.tags}
    names = {name for tag, attributes in page.tags if tag != "img" for name in attributes}
    assert not {name for name in names if name in {"style", "src", "srcset"} or name.startswith("on")}
    assert [attributes for tag, attributes in page.tags if tag == "img"] == [{"src": LARGEST_LOGO, "alt": ""}]
    assert [attributes["href"] for tag, attributes in page.tags if tag == "link"] == ["data:,"]
    assert not re.search(r"url\(|@import", STYLE)


@pytest.mark.requirement("S-53")
@in_every_language
@on_every_page
def test_a_page_has_the_one_style_the_hash_allows(render: Callable[[Pages], str], language: str) -> None:
    (style,) = re.findall("<style>(.*?)</style>", render(Pages(language)), re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() == PAGES.style_sha256


@with_every_error
def test_every_error_has_a_page_with_its_sentence_its_code_and_the_trace_id(error: type[BrokerError]) -> None:
    page = Page(problem(error, PAGES))
    assert error.user_message in page.text
    assert error.code in page.text
    assert TRACE_ID in page.text
    assert "What to do now" in page.text
    assert "Who can fix it" in page.text
    assert "/login" in page.links()


@in_every_language
@on_every_page
def test_a_page_is_smaller_than_20_kb(render: Callable[[Pages], str], language: str) -> None:
    pages = Pages(language, support_email=f"{'x' * 60}@acme.example", site_name="\u4e2d" * 60, logo=LARGEST_LOGO)
    assert len(render(pages).encode()) < 17_000  # and 3,000 for what Comm100 and the settings put into links


def test_the_sites_name_and_logo_are_the_admins() -> None:
    pages = Pages("de", site_name="Acme <& Co>", logo="data:image/png;base64,AAAA")
    html = pages.home()
    assert "<span>Acme &lt;&amp; Co&gt;</span>" in html
    assert '<img src="data:image/png;base64,AAAA" alt="">\n<span>' in html
    assert "<svg" not in html
    assert "Comm100-Anmeldung" not in html
    assert '<meta name="application-name" content="comm100-sso-broker">' in html


@with_every_error
def test_every_error_is_explained_in_every_language(error: type[BrokerError]) -> None:
    said = {error.user_message}
    for language in LANGUAGES[1:]:
        html = problem(error, Pages(language, support_email=SUPPORT))
        page = Page(html)
        assert error.code in page.text
        assert TRACE_ID in page.text
        assert error.user_message not in page.text
        assert error.user_message not in unquote(html)
        said.add(page.text.partition("</h1>")[0])
    assert len(said) == len(LANGUAGES)


@with_every_error
def test_no_page_shows_what_is_for_the_log_or_for_the_admin(error: type[BrokerError]) -> None:
    html = PAGES.problem(
        error(expected="log-only-1", got="log-only-2", retry_after=98765432), trace_id=TRACE_ID, start_again=None
    )
    assert "log-only" not in html
    assert "98765432" not in html
    assert not error.remedy or error.remedy not in Page(html).text


@pytest.mark.parametrize(
    ("error", "title", "advice"),
    [
        pytest.param(NoSuchPage, "Page not found", "Open Comm100", id="an address that is none"),
        pytest.param(RequestTooLarge, "Your browser sent too much", "Clear the cookies", id="cookies"),
        pytest.param(SiteNotOffered, "Signing in is not possible yet", "Ask your IT desk", id="switched off"),
        pytest.param(TransactionExpired, "This sign-in did not go through", "Start the sign-in again.", id="too late"),
        pytest.param(CookieMissing, "This sign-in did not go through", "Allow cookies", id="without cookies"),
        pytest.param(AccessDenied, "You were not signed in", "If you cancelled, start again.", id="cancelled"),
        pytest.param(ProviderError, "The sign-in was refused", "Try once more.", id="refused"),
        pytest.param(ProviderTimedOut, "Please try again shortly", "Wait a minute", id="no answer"),
        pytest.param(ClientRejected, "Signing in does not work at the moment", "has to be changed", id="our secret"),
        pytest.param(IdTokenSignature, "The sign-in could not be verified", "nothing was passed on", id="mistrusted"),
        pytest.param(HostedDomainNotAllowed, NO_ACCESS, "If this was not your work", id="personal"),
        pytest.param(EmailUnverified, NO_ACCESS, "Ask your IT desk to correct", id="not verified"),
        pytest.param(InternalError, "Something went wrong", "Wait a minute", id="a defect"),
    ],
)
def test_the_advice_fits_what_went_wrong(error: type[BrokerError], title: str, advice: str) -> None:
    html = problem(error, PAGES)
    assert f"<title>Error: {title} - Comm100 sign-in</title>" in html
    assert f"<h1>{title}</h1>" in html
    assert advice in html


def test_a_problem_without_a_way_back_offers_no_link() -> None:
    assert Page(Pages().problem(AccessDenied(), trace_id=TRACE_ID, start_again=None)).links() == []


def test_another_account_is_offered_before_starting_again() -> None:
    html = Pages().problem(AccessDenied(), trace_id=TRACE_ID, start_again="/login", use_another_account="/login?a&b")
    assert Page(html).links() == ["/login?a&b", "/login"]


def test_a_page_that_refreshes_says_so() -> None:
    sentence = "You will be taken back to the sign-in"
    assert sentence in EVERY_PAGE["problem_that_refreshes"](PAGES)
    assert sentence not in EVERY_PAGE["problem"](PAGES)


def test_the_mail_to_the_it_desk_carries_sentence_code_and_trace_id() -> None:
    (mailto,) = [link for link in Page(problem(AccessDenied, PAGES)).links() if link and link.startswith("mailto:")]
    assert " " not in mailto
    parts = urlsplit(mailto)
    fields = parse_qs(parts.query, strict_parsing=True)
    assert parts.path == "it%2Bdesk@acme.example"
    assert fields["subject"] == ["Sign-in problem: access_denied"]
    assert AccessDenied.user_message in fields["body"][0]
    assert "Error code: access_denied\r\nTrace id: 7f3a9c21\r\n" in fields["body"][0]


def test_without_a_support_address_no_mail_is_offered() -> None:
    assert "mailto:" not in problem(AccessDenied, Pages())


def test_the_chooser_shows_the_providers_in_order_as_escaped_links() -> None:
    html = PAGES.choose("Acme & Sons", CHOICES)
    assert Page(html).links() == [choice.href for choice in CHOICES]
    assert "Acme &lt;Europe&gt;" in html
    assert "Sign in to Acme &amp; Sons" in html


def test_the_signed_out_page_leads_back_only_where_an_address_is_known() -> None:
    assert Page(PAGES.signed_out("https://comm100.example/?a=1&b=2")).links() == ["https://comm100.example/?a=1&b=2"]
    assert Page(PAGES.signed_out(None)).links() == []


def test_the_home_page_gives_no_address_away() -> None:
    page = Page(PAGES.home())
    assert page.links() == []
    assert "@" not in page.text


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    pairs = [digit * 2 for digit in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
    parts = [int(pair, 16) / 255 for pair in pairs]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{([^}]*)\}", STYLE))


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "ground", "at_least"),
    [
        pytest.param("ink", "ground", 4.5, id="product_name"),
        pytest.param("ink", "sheet", 4.5, id="text"),
        pytest.param("soft", "sheet", 4.5, id="labels"),
        pytest.param("ink", "tint", 4.5, id="note"),
        pytest.param("accent", "sheet", 4.5, id="links"),
        pytest.param("on-accent", "accent", 4.5, id="buttons"),
        pytest.param("accent", "ground", 3, id="mark"),
        pytest.param("ink", "sheet", 3, id="focus"),
        pytest.param("warn", "ground", 3, id="problem_bar"),
    ],
)
def test_contrast_is_enough(colours: dict[str, str], front: str, ground: str, at_least: float) -> None:
    assert contrast(colours[front], colours[ground]) >= at_least
