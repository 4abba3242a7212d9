"""The grammar of an address, and a display name fit for display (S-21, S-22, S-26)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import EmailMalformed
from broker.identity import MAX_EMAIL_CHARACTERS, Identity, check_email, clean_name


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize(
    ("written", "taken"),
    [
        pytest.param("ada@acme.example", "ada@acme.example", id="a plain one"),
        pytest.param("CEO@Acme.Example", "ceo@acme.example", id="upper case becomes lower case"),
        pytest.param("ada.lovelace+vip@acme.example", "ada.lovelace+vip@acme.example", id="dots and a plus"),
        pytest.param("a@b.co", "a@b.co", id="the shortest"),
        pytest.param("o'brien@acme.example", "o'brien@acme.example", id="an apostrophe"),
        pytest.param("!#$%&'*+-/=?^_`{|}~@acme.example", "!#$%&'*+-/=?^_`{|}~@acme.example", id="every atom character"),
        pytest.param("1@2.example", "1@2.example", id="digits"),
        pytest.param("ada@x--y.acme-1.example", "ada@x--y.acme-1.example", id="hyphens in a label"),
        pytest.param("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example", id="an encoded domain"),
        pytest.param(f"{'l' * 64}@acme.example", f"{'l' * 64}@acme.example", id="a local part of 64"),
        pytest.param(f"a@{'d' * 63}.example", f"a@{'d' * 63}.example", id="a label of 63"),
    ],
)
def test_a_plain_mailbox_is_taken_in_lower_case(written: str, taken: str) -> None:
    assert check_email(written) == taken


@pytest.mark.requirement("S-21")
def test_the_longest_address_is_taken_and_one_character_more_is_not() -> None:
    """RFC 5321, section 4.5.3.1."""
    address = f"{'l' * 64}@{'d' * 63}.{'d' * 63}.{'d' * 58}.co"
    assert len(address) == MAX_EMAIL_CHARACTERS
    assert check_email(address) == address
    with pytest.raises(EmailMalformed):
        check_email(f"{address}m")


@pytest.mark.requirement("S-21", "S-22")
@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="empty"),
        pytest.param("ada", id="no @"),
        pytest.param("@acme.example", id="no local part"),
        pytest.param("ada@", id="no domain"),
        pytest.param("ada@acme", id="a domain of one label"),
        pytest.param("ada@eve@acme.example", id="two @, CVE-2026-40574"),
        pytest.param("ada@@acme.example", id="@@"),
        pytest.param("eve@evil.example,ada@acme.example", id="a comma, CVE-2026-40574"),
        pytest.param("eve@evil.example;ada@acme.example", id="a semicolon"),
        pytest.param("eve@evil.example ada@acme.example", id="two addresses"),
        pytest.param('"ada"@acme.example', id="quotes"),
        pytest.param('"eve@evil.example"@acme.example', id="an address in quotes, CVE-2026-40574"),
        pytest.param("Ada <ada@acme.example>", id="a display name"),
        pytest.param("<ada@acme.example>", id="angle brackets"),
        pytest.param("mailto:ada@acme.example", id="a scheme"),
        pytest.param("ada(comment)@acme.example", id="a comment"),
        pytest.param("ada\\@evil.example@acme.example", id="a backslash"),
        pytest.param("ada@[127.0.0.1]", id="an address literal"),
        pytest.param(".ada@acme.example", id="a dot first"),
        pytest.param("ada.@acme.example", id="a dot last"),
        pytest.param("a..da@acme.example", id="two dots"),
        pytest.param("ada@.acme.example", id="a domain with a dot first"),
        pytest.param("ada@acme.example.", id="a domain with a dot last"),
        pytest.param("ada@acme..example", id="a domain with two dots"),
        pytest.param("ada@-acme.example", id="a label with a hyphen first"),
        pytest.param("ada@acme-.example", id="a label with a hyphen last"),
        pytest.param("ada@ac_me.example", id="a label with an underscore"),
        pytest.param("ada@acme.example:25", id="a port"),
        pytest.param("ada@acme.example/x", id="a path"),
        pytest.param("ada@acme.example%00", id="an encoded NUL"),
        pytest.param(" ada@acme.example", id="a space first"),
        pytest.param("ada@acme.example ", id="a space last"),
        pytest.param("ada@acme.example\n", id="a line feed last"),
        pytest.param("ada@acme.example\r\nBcc: eve@evil.example", id="a header"),
        pytest.param("ada\t@acme.example", id="a tab"),
        pytest.param("ada\x00@acme.example", id="a NUL"),
        pytest.param("ada@acme.example\x00", id="a NUL last"),
        pytest.param("ada\x7f@acme.example", id="a delete"),
        pytest.param(f"{'l' * 65}@acme.example", id="a local part of 65"),
        pytest.param(f"a@{'d' * 64}.example", id="a label of 64"),
        pytest.param("x" * 1_000_000 + "@acme.example", id="a million characters"),
        pytest.param("ädä@acme.example", id="no ASCII before the @"),
        pytest.param("ada@äcme.example", id="no ASCII after the @"),
        pytest.param("ada@acme\u3002example", id="an ideographic full stop"),
        pytest.param("ada\uff20acme.example", id="a full-width @"),
        pytest.param("\uff41da@acme.example", id="a full-width a"),
        pytest.param("ada@\uff41cme.example", id="a full-width a in the domain, CVE-2019-19844"),
        pytest.param("\u0430da@acme.example", id="a Cyrillic a"),
        pytest.param("\u212aate@acme.example", id="the Kelvin sign, which lower() makes a k, CVE-2019-19844"),
        pytest.param("ada@acme.\u017fite", id="the long s, which NFKC makes an s"),
        pytest.param("ad\u0131@acme.example", id="a dotless i"),
        pytest.param("ADA\u0130@acme.example", id="an I with a dot"),
        pytest.param("\ufb01@acme.example", id="the ligature fi"),
        pytest.param("ada\u200b@acme.example", id="a zero-width space"),
        pytest.param("\u202eada@acme.example", id="a right-to-left override"),
        pytest.param("\ufeffada@acme.example", id="a byte order mark"),
        pytest.param("ada\u00ad@acme.example", id="a soft hyphen"),
        pytest.param("\ud800ada@acme.example", id="a lone surrogate"),
    ],
)
def test_an_address_that_two_systems_could_read_differently_is_refused(address: str) -> None:
    with pytest.raises(EmailMalformed):
        check_email(address)


@pytest.mark.requirement("S-21")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param(True, id="true"),
        pytest.param(7, id="a number"),
        pytest.param(["ada@acme.example"], id="a list"),
        pytest.param({"email": "ada@acme.example"}, id="an object"),
        pytest.param(b"ada@acme.example", id="bytes"),
    ],
)
def test_an_address_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(EmailMalformed):
        check_email(value)


def test_a_refusal_does_not_repeat_the_address() -> None:
    with pytest.raises(EmailMalformed) as refusal:
        check_email("someone@eve@acme.example")
    assert "someone" not in f"{refusal.value} {refusal.value.expected} {refusal.value.got}"


_ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=15)
_LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@settings(deadline=None, max_examples=200)
@given(st.lists(_ATOM, min_size=1, max_size=3), st.lists(_LABEL, min_size=2, max_size=4))
def test_every_dot_atom_at_a_dotted_host_is_taken(atoms: list[str], labels: list[str]) -> None:
    address = f"{'.'.join(atoms)}@{'.'.join(labels)}"
    assert check_email(address) == address.lower()


def test_the_domain_of_an_identity_is_what_follows_the_at() -> None:
    identity = Identity("ada@acme.example", "email", "Ada", "name", "00u-ada", "https://idp.example")
    assert identity.email_domain == "acme.example"


@pytest.mark.requirement("S-26")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param("Ada Lovelace", "Ada Lovelace", id="a plain name"),
        pytest.param("  Ada   Lovelace ", "Ada Lovelace", id="white space"),
        pytest.param("Ada\tLovelace\r\nBcc: x", "Ada Lovelace Bcc: x", id="line breaks become spaces"),
        pytest.param("Ada\u2028Lovelace\u2029\x85", "Ada Lovelace", id="line separators too"),
        pytest.param("Ada\u00a0Lovelace", "Ada Lovelace", id="a space that does not break"),
        pytest.param("Ad\x00a\x07\x1b[31m", "Ada[31m", id="controls go"),
        pytest.param("\u202eecalevoL adA\u202c", "ecalevoL adA", id="direction marks go"),
        pytest.param("A\u200bd\u200da\ufeff\u2060\u00ad", "Ada", id="invisible characters go"),
        pytest.param("Ada\ud800", "Ada", id="a lone surrogate goes"),
        pytest.param("Ada\ue000\U000e0041\uffff", "Ada", id="private, tag and no characters go"),
        pytest.param("Ådå Łøvelace 李 عمر", "Ådå Łøvelace 李 عمر", id="any script stays"),
        pytest.param("Ada 🦉", "Ada 🦉", id="an emoji stays"),
        pytest.param("<script>alert(1)</script>", "<script>alert(1)</script>", id="markup is the page's to escape"),
        pytest.param("x" * 101, "x" * 100, id="cut at 100"),
        pytest.param("x" * 99 + " yz", "x" * 99, id="cut without a space at the end"),
        pytest.param("\u200b" * 50 + "Ada", "Ada", id="what is invisible does not count"),
        pytest.param("Ada \u2764\ufe0f", "Ada \u2764\ufe0f", id="the variation selector of an emoji at the end stays"),
        pytest.param("\u2764\ufe0f Ada", "\u2764\ufe0f Ada", id="and at the beginning"),
        pytest.param("\U0001f469\u200d\U0001f680 Ada", "\U0001f469\U0001f680 Ada", id="joined emoji fall apart"),
        pytest.param("\u3164Ada\u3164 \u2800", "Ada", id="a filler and a blank at the ends go"),
        pytest.param("\u0301Ada", "Ada", id="a mark without a letter goes"),
        pytest.param("Jose\u0301", "Jose\u0301", id="a mark on a letter stays"),
        pytest.param("\u1112\u1161\u11ab", "\u1112\u1161\u11ab", id="Hangul in parts stays"),
        pytest.param("", "", id="empty"),
        pytest.param(" \u200b\x00 ", "", id="nothing visible"),
        pytest.param(None, "", id="null"),
        pytest.param(7, "", id="a number"),
        pytest.param(["Ada"], "", id="a list"),
        pytest.param({"formatted": "Ada"}, "", id="an object"),
    ],
)
def test_a_name_is_cleaned_for_display(said: object, shown: str) -> None:
    assert clean_name(said) == shown


INVISIBLE = [
    *"\u3164\u115f\u1160\uffa0",  # fillers of Hangul
    *"\ufe00\ufe0f\U000e0100\u180b\u180f",  # variation selectors
    *"\u034f\u17b4\u17b5\u00ad\u061c\u180e\u200b\u200d\u2060\u2065\ufeff\ufff0",
    *"\U000e0001\U000e0041\U000e0fff\U0001d173\U0001bca0",
    *"\u2800\u0020\u00a0\u3000\u2003\u2028\t\n\x00\x7f\x85",
    *"\u0301\u20dd\u0903\u0610",  # combining marks
]


@pytest.mark.requirement("S-26")
@pytest.mark.parametrize("character", INVISIBLE, ids=lambda character: f"U+{ord(character):04X}")
def test_a_name_without_a_visible_character_counts_as_none(character: str) -> None:
    """Comm100 would show an agent without a name."""
    for name in (character, character * 3, f" {character} ", f"{character}\u3164\u2800{character}", character * 300):
        assert clean_name(name) == ""
    assert clean_name(f"{character}Ada") == "Ada"


@pytest.mark.requirement("S-26")
@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(INVISIBLE), max_size=120).map("".join))
def test_no_mixture_of_invisible_characters_is_a_name(name: str) -> None:
    assert clean_name(name) == ""


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150))
def test_a_name_in_ascii_is_cleaned_like_any_other(name: str) -> None:
    soft_hyphen = "\u00ad"
    assert clean_name(name) == clean_name(f"{soft_hyphen}{name}")
