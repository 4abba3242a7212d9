"""What the setup pages say to an admin: all can be copied, no word of a provider does harm, no page is a dead end."""

from __future__ import annotations

import base64
import hashlib
import itertools
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from broker.dry_run import Step
from broker.errors import EmailDomainNotAllowed, ProviderRefused, RedirectUrlRefused
from broker.providers import ClaimTrace
from broker.web.request import LastLoginRequest
from broker.web.setup_pages import MAX_CLAIMS
from tests.fakes.clock import START
from tests.registration import sample_pages
from tests.registration.sample_pages import FINDINGS, LINKS, PAGES, REFUSED, dry_run, finding, run_of
from tests.registration.scene import settings, setups

HOSTILE = "</td><script>alert(1)</script>\u202egnp.exe\x00"
VOID = {"meta", "link", "path", "circle"}


class Page(HTMLParser):
    """One page taken apart: tags with attributes, the text inside each kind of tag, and the whole text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self.copied: list[str] = []
        self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))
            self.inside.setdefault(tag, []).append("")
            if tag == "code" and any(of.get("class") == "copy" for _, of in self._open):
                self.copied.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for tag in {tag for tag, _ in self._open}:
            self.inside[tag][-1] += data
        if self._open and self._open[-1][0] not in {"script", "style"}:
            self.text = " ".join(f"{self.text} {data}".split())
        if any(tag == "code" for tag, _ in self._open) and any(of.get("class") == "copy" for _, of in self._open):
            self.copied[-1] += data

    def links(self) -> list[str | None]:
        return [of.get("href") for tag, of in self.tags if tag == "a"]


@pytest.fixture
def overview(tmp_path: Path) -> Page:
    return overview_of(tmp_path, {})


def overview_of(folder: Path, seen: dict[str, LastLoginRequest]) -> Page:
    return Page(sample_pages.overview(folder, seen=seen))


def every_page(folder: Path) -> list[str]:
    return [
        overview_of(folder, {}).html,
        sample_pages.commands(folder),
        PAGES.checks(run_of(FINDINGS), links=LINKS, now=START),
        PAGES.dry_run(dry_run(), links=LINKS),
        PAGES.dry_run(REFUSED, links=LINKS),
    ]


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_every_page_has_one_style_and_at_most_one_script_of_the_hashes_announced(tmp_path: Path) -> None:
    for html in every_page(tmp_path):
        page = Page(html)
        assert [sha256(style) for style in page.inside["style"]] == [PAGES.style_sha256]
        assert {sha256(script) for script in page.inside.get("script", [])} <= {PAGES.script_sha256}
        for tag, attributes in page.tags:
            assert not any(name == "style" or name.startswith("on") for name in attributes)
            assert tag not in {"img", "iframe", "form", "object", "embed", "base"}
            if tag == "script":
                assert attributes == {}
            if tag == "link":
                assert attributes["href"] == "data:,"


def test_every_page_is_in_english_with_headings_in_order(tmp_path: Path) -> None:
    for html in every_page(tmp_path):
        tags = Page(html).tags
        assert ("html", {"lang": "en"}) in tags
        levels = [int(tag[1]) for tag, _ in tags if tag in {"h1", "h2", "h3", "h4"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(levels))


def test_every_page_leads_on(tmp_path: Path) -> None:
    for html in every_page(tmp_path)[1:]:
        assert LINKS.overview in Page(html).links()


def test_pages_stay_small(tmp_path: Path) -> None:
    assert all(len(html.encode()) < 20_000 for html in every_page(tmp_path))


def test_everything_to_be_copied_is_marked_for_the_copy_button(tmp_path: Path, overview: Page) -> None:
    providers, sites = setups(tmp_path, settings())
    values = [one.value for provider in providers.values() for one in provider.values]
    values += [one.value for site in sites for one in site.values]
    assert sorted(overview.copied) == sorted([*values, *(one.compare.text for one in sites)])


def test_every_command_is_on_the_page_of_its_provider_and_can_be_copied(tmp_path: Path, overview: Page) -> None:
    providers, _ = setups(tmp_path, settings())
    for id_, setup in providers.items():
        assert Page(sample_pages.commands(tmp_path, id_)).copied == [one.text for one in setup.commands]
        assert (LINKS.commands(id_) in overview.links()) == bool(setup.commands)


def test_every_place_is_named_beside_its_value(tmp_path: Path, overview: Page) -> None:
    providers, _ = setups(tmp_path, settings())
    for setup in providers.values():
        assert setup.guide in overview.text
        for one in setup.values:
            assert " ".join(one.where.split()) in overview.text


def test_each_provider_has_a_test_sign_in_in_a_tab_that_cannot_reach_back(tmp_path: Path, overview: Page) -> None:
    providers, _ = setups(tmp_path, settings())
    tests = [of for tag, of in overview.tags if tag == "a" and of.get("target")]
    assert [of["href"] for of in tests] == [LINKS.test(id_) for id_ in providers]
    assert {(of["target"], of["rel"]) for of in tests} == {("_blank", "noopener")}


def test_a_provider_that_is_not_enabled_is_marked_and_how_to_enable_it_is_said(overview: Page) -> None:
    assert "Test sign-in: Acme google (not yet offered to agents)" in overview.text
    step = (
        "Remove enabled: false from identity_providers.google and reload or restart the broker. "
        "Then agents can choose the provider."
    )
    assert step in overview.text
    assert overview.text.count("not yet offered to agents") == 2


def test_a_provider_that_no_site_offers_is_called_out(tmp_path: Path) -> None:
    tree = settings()
    for site in tree["sites"].values():
        site["identity_providers"] = ["okta"]
    page = Page(sample_pages.overview(tmp_path, tree=tree))
    assert "No site offers this provider: add entra to identity_providers of a site." in page.text
    assert "add okta to identity_providers" not in page.text


def test_the_page_says_until_when_it_works(overview: Page) -> None:
    assert "until 15 January 2027, 08:42 UTC (42 minutes from now)" in overview.text


def test_what_comm100_sent_is_told_with_the_remedy_of_a_refusal(tmp_path: Path) -> None:
    accepted = LastLoginRequest(
        START - 90_000, "dash11.comm100.io", "/agentconsole", ("queue",), ("redirect_url", "siteId"), "none"
    )
    refused = replace(accepted, at=START - 300, code=RedirectUrlRefused.code)
    text = overview_of(tmp_path, {"main": accepted}).text
    assert "Parameters redirect_url, siteId" in text
    assert "Host in redirect_url dash11.comm100.io" in text
    assert "Outcome accepted" in text
    assert "(25 hours ago)" in text
    assert "Nothing yet since this process started" in text  # of the other site
    assert "(less than a minute ago)" in overview_of(tmp_path, {"main": replace(accepted, at=START - 5)}).text
    text = overview_of(tmp_path, {"main": refused}).text
    assert "(5 minutes ago)" in text
    assert f"Outcome refused: {RedirectUrlRefused.code} To do {RedirectUrlRefused.remedy}" in text
    assert "Line to add redirect_hosts: [dash11.comm100.io] below the site" in text
    for host in (
        "",
        "localhost",
        "a.example:8443",
        "a.example]",
        "1.2.3.4",
        "dash17-comm100.io",
        "dash17.comm100.io.example",
        "x" * 300 + ".example",
    ):
        odd = replace(refused, redirect_url_host=host)
        assert "Line to add" not in overview_of(tmp_path, {"main": odd}).text


def test_hostile_words_of_a_request_are_shown_harmlessly(tmp_path: Path) -> None:
    seen = LastLoginRequest(START, HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,), "none")
    assert_harmless(overview_of(tmp_path, {"main": seen}))


def test_findings_come_by_subject_what_failed_first() -> None:
    page = Page(PAGES.checks(run_of(FINDINGS), links=LINKS, now=START))
    assert page.inside["h1"] == ["Something has to be corrected"]
    assert page.inside["h2"] == ["okta", "main", "settings"]
    assert "1 failed, 1 warning, 2 unknown, 1 ok." in page.text
    assert "failed issuer Another slash. To do: Correct the issuer. More: docs/admin/check.md#issuer" in page.text
    assert "unknown metadata, client authentication Not tried: issuer failed." in page.text


def test_the_setup_page_shows_the_last_result_without_what_a_provider_said(tmp_path: Path) -> None:
    words = finding("okta", "redirect_uri", "failed", "Words of a provider.", "Do it.")
    page = Page(sample_pages.overview(tmp_path, last_check=run_of([words, finding("main", "tls", "warning")])))
    assert "Last check on 15 January 2027, 06:00 UTC (2 hours ago): Something has to be corrected" in page.text
    assert "(1 failed, 1 warning)" in page.text
    assert "failed okta: redirect uri" in page.text
    assert "warning main: tls" in page.text
    assert "Words of a provider" not in page.text, "this page has a script"
    assert LINKS.last_check in page.links()


def test_before_the_first_run_the_setup_page_shows_no_result(overview: Page) -> None:
    assert "Last check" not in overview.text
    assert LINKS.last_check not in overview.links()


def test_checks_without_a_failure_say_so() -> None:
    page = Page(PAGES.checks(run_of([finding("settings", "settings", "ok")]), links=LINKS, now=START))
    assert page.inside["h1"] == ["Nothing failed"]
    assert LINKS.checks in page.links()


def test_checks_that_cannot_tell_whether_sign_ins_work_do_not_say_that_nothing_failed() -> None:
    page = Page(PAGES.checks(run_of([finding("idp", "client_authentication", "unknown")]), links=LINKS, now=START))
    assert page.inside["h1"] == ["Only a test sign-in can tell"]


def test_an_admitted_person_is_named_with_what_comm100_would_get() -> None:
    page = Page(PAGES.dry_run(dry_run(), links=LINKS))
    assert page.inside["h1"] == ["Admitted as ada@acme.example"]
    assert "Nothing was sent to Comm100" in page.text
    assert "E-mail ada@acme.example, from email (ID token)" in page.text
    assert "email (ID token) taken: email_verified is true" in page.text
    assert "exp 1800003600 (15 January 2027, 09:00 UTC)" in page.text
    assert "aud Comm100" in page.text
    assert "passed ID token: signature RS256" in page.text
    assert "not needed Policy" in page.text
    assert "Turn on JWT SSO in Comm100" in page.text


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        pytest.param({"enabled": False}, "Remove enabled: false from identity_providers.okta", id="not_enabled"),
        pytest.param({"previews": {}}, "No site offers this provider: add okta", id="no_site"),
    ],
)
def test_what_stands_between_an_admitted_person_and_comm100_is_said(changed: dict[str, object], step: str) -> None:
    assert step in Page(PAGES.dry_run(replace(dry_run(), **changed))).text  # type: ignore[arg-type]


def test_a_refusal_comes_with_reason_remedy_and_another_try() -> None:
    page = Page(PAGES.dry_run(REFUSED, links=LINKS))
    assert page.inside["h1"] == ["Not admitted"]
    assert "Reason email_domain_not_allowed Expected acme.example Got evil.example" in page.text
    assert EmailDomainNotAllowed.remedy in page.text
    assert "failed E-mail address" in page.text
    assert "not reached Policy" in page.text
    assert LINKS.test("okta") in page.links()


def test_a_test_that_ended_before_any_claim_says_so() -> None:
    early = replace(dry_run(ProviderRefused()), documents={}, considered=())
    assert Page(PAGES.dry_run(early)).text.count("None: the sign-in stopped earlier") == 2


def test_hostile_claims_are_shown_harmlessly() -> None:
    refusal = EmailDomainNotAllowed(expected=[HOSTILE], got=HOSTILE)
    hostile = replace(
        dry_run(refusal, {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}),
        steps=(Step("Answer", "failed", HOSTILE),),
        considered=(ClaimTrace(HOSTILE, HOSTILE),),
    )
    assert_harmless(Page(PAGES.dry_run(hostile, links=LINKS)))


def assert_harmless(page: Page) -> None:
    """Check that hostile text is there to be read, and does nothing."""
    assert "</td><script>alert(1)</script>\\u202egnp.exe\\u0000" in page.html.replace("&lt;", "<").replace("&gt;", ">")
    assert all("alert" not in script for script in page.inside.get("script", []))
    assert page.html.isascii() or all(c.isprintable() or c == "\n" for c in page.html)


def test_what_is_shown_is_bounded() -> None:
    claims: dict[str, object] = {f"claim_{number}": "x" * 1_000_000 for number in range(200)}
    page = Page(PAGES.dry_run(dry_run(claims=claims)))
    assert len(page.html.encode()) < 30_000
    assert f"... {200 - MAX_CLAIMS} more claims are not shown" in page.text
