"""Every text has a translation into every language, each fits its text, and what is compiled is what is written."""

from __future__ import annotations

import re
import unicodedata

import pytest

from broker.web.pages import open_translations
from tests.catalogues import TRANSLATED, WEB, file_of, open_catalogue, updated

SAME_IN_BOTH = {("es", "Error: %(title)s")}

in_every_language = pytest.mark.parametrize("language", TRANSLATED)


def texts_of(language: str) -> list[tuple[str, str]]:
    pairs = [(message.id, message.string) for message in open_catalogue(language) if message.id]
    return [
        (text, translation) for text, translation in pairs if isinstance(text, str) and isinstance(translation, str)
    ]


def test_there_is_a_catalogue_per_language_and_no_other() -> None:
    assert sorted((WEB / "locale").iterdir()) == sorted(
        file_of(language, ending) for language in TRANSLATED for ending in ("po", "mo")
    )


@in_every_language
def test_a_catalogue_has_the_texts_there_are_and_no_others(language: str) -> None:
    assert file_of(language, "po").read_text(encoding="utf-8") == updated(language), "run: make texts"


@in_every_language
def test_the_compiled_catalogue_says_what_the_written_one_does(language: str) -> None:
    translations = open_translations(language)
    assert {text: translations.gettext(text) for text, _ in texts_of(language)} == dict(texts_of(language)), (
        "run: make texts"
    )


@in_every_language
def test_every_text_is_translated(language: str) -> None:
    catalogue = open_catalogue(language)
    assert [message.id for message in catalogue if message.id and (message.fuzzy or not message.string)] == []
    assert len(texts_of(language)) == len(catalogue)
    untouched = {(language, text) for text, translation in texts_of(language) if text == translation}
    assert untouched <= SAME_IN_BOTH


@in_every_language
def test_a_translation_has_the_placeholders_of_its_text_and_no_markup(language: str) -> None:
    for text, translation in texts_of(language):
        assert sorted(re.findall(r"%\(\w+\)s", translation)) == sorted(re.findall(r"%\(\w+\)s", text))
        assert "%" not in re.sub(r"%\(\w+\)s", "", translation)
        assert not set('<>&"') & set(translation)
        assert translation == translation.strip()


def is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign).startswith("P")


@in_every_language
def test_a_translation_ends_as_its_text_does(language: str) -> None:
    for text, translation in texts_of(language):
        assert is_punctuation(translation[-1]) == is_punctuation(text[-1]), translation
