"""What the pages say to people, and that nothing in them needs a script, a second request or good eyesight."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import broker.web
from broker.errors import (
    AccessDenied,
    BrokerError,
    ProviderTimedOut,
    RequestTooLarge,
    SettingsError,
    TransactionExpired,
    every_error,
)
from broker.web.pages import Choice, Pages

PAGES = Pages(support_email="it+desk@acme.example")
STYLE = (Path(broker.web.__file__).parent / "templates" / "style.css").read_text()
CHOICES = [Choice("Acme Okta", "/login?idp=okta"), Choice("Acme <Europe>", "/login?idp=entra&x=1")]
VOID = {"meta", "link", "path", "circle"}


class Page(HTMLParser):
    """One page taken apart: its tags with attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += " ".join(data.split()) + "\n"

    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    def count(self, wanted: str) -> int:
        return sum(tag == wanted for tag, _ in self.tags)


def problem(error: type[BrokerError], pages: Pages = PAGES) -> str:
    return pages.problem(error(), trace_id="7f3a9c21", start_again="/login")


EVERY_PAGE: dict[str, Callable[[], str]] = {
    "home": PAGES.home,
    "signed_out": lambda: PAGES.signed_out("https://comm100.example/"),
    "choose": lambda: PAGES.choose("Acme support", CHOICES),
    "problem": lambda: problem(AccessDenied),
    "problem_that_refreshes": lambda: PAGES.problem(
        TransactionExpired(), trace_id="7f3a9c21", start_again="/login", use_another_account="/login?x", refreshes=True
    ),
}
ERRORS = [error for error in every_error() if not issubclass(error, SettingsError)]
on_every_page = pytest.mark.parametrize("render", EVERY_PAGE.values(), ids=EVERY_PAGE.keys())
with_every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)


@on_every_page
def test_a_page_is_english_with_one_title_one_main_and_one_heading(render: Callable[[], str]) -> None:
    html = render()
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.open == []
    assert page.tags[0] == ("html", {"lang": "en"})
    assert [page.count(tag) for tag in ("title", "main", "h1")] == [1, 1, 1]
    heading = re.search("<h1>(.+)</h1>", html)
    assert heading
    assert f"{heading[1]} - Comm100 sign-in</title>" in html


@pytest.mark.requirement("S-53")
@on_every_page
def test_a_page_has_no_script_no_form_no_style_attribute_and_loads_nothing(render: Callable[[], str]) -> None:
    page = Page(render())
    assert not {"script", "form", "img", "iframe", "base"} & {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name in {"style", "src", "srcset"} or name.startswith("on")}
    assert [attributes["href"] for tag, attributes in page.tags if tag == "link"] == ["data:,"]
    assert not re.search(r"url\(|@import", STYLE)


@pytest.mark.requirement("S-53")
@on_every_page
def test_a_page_has_the_one_style_the_hash_allows(render: Callable[[], str]) -> None:
    (style,) = re.findall("<style>(.*?)</style>", render(), re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() == PAGES.style_sha256


@on_every_page
def test_a_page_is_smaller_than_20_kb(render: Callable[[], str]) -> None:
    assert len(render().encode()) < 20_000


@with_every_error
def test_every_error_has_a_page_with_its_sentence_its_code_and_the_trace_id(error: type[BrokerError]) -> None:
    page = Page(problem(error))
    assert error.person in page.text
    assert error.code in page.text
    assert "7f3a9c21" in page.text
    assert "What to do now" in page.text
    assert "Who can fix it" in page.text
    assert "/login" in page.links()


@with_every_error
def test_no_page_shows_what_is_for_the_log_or_for_the_admin(error: type[BrokerError]) -> None:
    html = PAGES.problem(
        error(expected="log-only-1", got="log-only-2", retry_after=987654), trace_id="7f3a9c21", start_again=None
    )
    assert "log-only" not in html
    assert "987654" not in html
    assert not error.remedy or error.remedy not in Page(html).text


@pytest.mark.parametrize(
    ("error", "title", "advice"),
    [
        pytest.param(TransactionExpired, "This sign-in did not go through", "Start the sign-in again.", id="400"),
        pytest.param(AccessDenied, "Your account was not let in", "Ask your IT desk", id="403"),
        pytest.param(RequestTooLarge, "Your browser sent too much", "Clear the cookies", id="431"),
        pytest.param(ProviderTimedOut, "Please try again shortly", "Wait a moment", id="503"),
    ],
)
def test_the_advice_fits_what_went_wrong(error: type[BrokerError], title: str, advice: str) -> None:
    html = problem(error)
    assert f"<title>Error: {title} - Comm100 sign-in</title>" in html
    assert f"<h1>{title}</h1>" in html
    assert advice in html


def test_a_problem_without_a_way_back_offers_no_link() -> None:
    assert Page(Pages().problem(AccessDenied(), trace_id="7f3a9c21", start_again=None)).links() == []


def test_another_account_is_offered_before_starting_again() -> None:
    html = Pages().problem(AccessDenied(), trace_id="7f3a9c21", start_again="/login", use_another_account="/login?a&b")
    assert Page(html).links() == ["/login?a&b", "/login"]


def test_a_page_that_refreshes_says_so() -> None:
    sentence = "You will be taken back to the sign-in"
    assert sentence in EVERY_PAGE["problem_that_refreshes"]()
    assert sentence not in EVERY_PAGE["problem"]()


def test_the_mail_to_the_it_desk_carries_sentence_code_and_trace_id() -> None:
    (mailto,) = [link for link in Page(problem(AccessDenied)).links() if link and link.startswith("mailto:")]
    assert " " not in mailto
    parts = urlsplit(mailto)
    fields = parse_qs(parts.query, strict_parsing=True)
    assert parts.path == "it%2Bdesk@acme.example"
    assert fields["subject"] == ["Sign-in problem: access_denied"]
    assert AccessDenied.person in fields["body"][0]
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
