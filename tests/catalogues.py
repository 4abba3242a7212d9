"""Collects every text of the agents' pages, brings the catalogues up to date and compiles them: `make texts`.

What it does not do: translate. A new text is written into each catalogue without a translation, and the tests fail
until somebody fills it in; a text that is gone is taken out.
"""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import broker.web
from broker.errors import SettingsError, every_error
from broker.web.pages import ENGLISH, LANGUAGES, catalogue_name

WEB = Path(broker.web.__file__).parent
TRANSLATED = tuple(language for language in LANGUAGES if language != ENGLISH)

_METHODS = [("templates/**.html", "jinja2"), ("*.py", "python")]
_OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false"}}
_HEAD = """\
# The agents' pages in {locale}. Translations are edited here; `make texts` adds the texts that are new, and takes out
# those that are gone.
msgid ""
msgstr ""
"Language: {locale}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
_KEYWORDS = {"_": None, "gettext": None}
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


def every_text() -> Catalog:
    """Return a catalogue of all texts, untranslated: of the templates, of `gettext` calls, of errors and advice."""
    texts = Catalog(fuzzy=False)
    for path, _, text, comments, _ in extract_from_dir(
        WEB, method_map=_METHODS, options_map=_OPTIONS, keywords=_KEYWORDS
    ):
        assert isinstance(text, str)
        texts.add(text, locations=[(path, 0)], auto_comments=comments)
    for advice in dict.fromkeys(error.advice for error in every_error()):
        for field in dataclasses.fields(advice):
            texts.add(getattr(advice, field.name), auto_comments=[field.name])
    for error in every_error():
        if error is not SettingsError:
            texts.add(error.user_message, auto_comments=[error.code])
    return texts


def file_of(language: str, ending: str) -> Path:
    """Return where a language's catalogue is, as it is edited (`po`) or compiled (`mo`)."""
    return WEB / "locale" / f"{catalogue_name(language)}.{ending}"


def open_catalogue(language: str) -> Catalog:
    """Return a language's catalogue as it is written."""
    with file_of(language, "po").open("rb") as written:
        return read_po(written, locale=catalogue_name(language), abort_invalid=True)


def updated(language: str) -> str:
    """Return a language's catalogue with the texts that are new, untranslated, and without those that are gone.

    It is made anew each time: texts stand in the order of the pages, and nothing in the file changes by itself.
    """
    locale = catalogue_name(language)
    known = open_catalogue(language)
    catalogue = Catalog(locale=locale, charset="utf-8", fuzzy=False)
    for text in every_text():
        if text.id:
            found = known.get(text.id)
            catalogue.add(text.id, found.string if found else "", text.locations, auto_comments=text.auto_comments)
    written = io.BytesIO()
    write_po(written, catalogue, width=120, omit_header=True, include_lineno=False)
    return _HEAD.format(locale=locale) + written.getvalue().decode()


def compiled(language: str) -> bytes:
    """Return a language's catalogue as the service reads it; the same bytes each time."""
    catalogue = open_catalogue(language)
    catalogue.creation_date = catalogue.revision_date = _NO_DATE
    written = io.BytesIO()
    write_mo(written, catalogue)
    return written.getvalue()


if __name__ == "__main__":
    for one in TRANSLATED:
        file_of(one, "po").write_text(updated(one), encoding="utf-8")
        file_of(one, "mo").write_bytes(compiled(one))
