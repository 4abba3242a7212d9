"""Which languages the agents' pages come in, which of them a browser wants, and their catalogues.

Refuses to know pages and where a request comes from: header in, language out.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

ENGLISH = "en"
LANGUAGES = (ENGLISH, "fr", "de", "es", "pt-BR", "zh-Hans")
"""Language tags (RFC 5646), no two of which share their first subtag."""

MAX_CHARACTERS = 1_000  # of a header; browsers of people with many languages send some hundred
MAX_RANGES = 30

_RANGE = re.compile(
    r"[ \t]*(\*|[A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)


def choose_language(accept_language: str) -> str:
    """Return the language of ours that a browser wants most, English where it wants none of them.

    Only the first subtag counts: whoever reads pt-PT reads our Portuguese, and whoever reads Chinese of any region and
    script our Chinese (as CLDR's distances between languages have it). A header that is malformed or far too long is no
    reason to refuse anybody a page: what can be read of it counts.

    Args:
        accept_language: the value of Accept-Language (RFC 9110, section 12.5.4); several headers joined by commas.
    """
    ours = {_first_subtag(language): language for language in LANGUAGES}
    ranges = list(_ranges(accept_language))
    named = {subtag for subtag, _ in ranges}
    for subtag, quality in sorted(ranges, key=lambda one: one[1], reverse=True):
        if quality == 0:
            break
        if subtag in ours:
            return ours[subtag]
        if subtag == "*" and (others := [language for first, language in ours.items() if first not in named]):
            return others[0]
    return ENGLISH


@lru_cache(maxsize=len(LANGUAGES))
def open_translations(language: str) -> gettext.NullTranslations:
    """Return the translations of every text into a language; the texts themselves are English.

    Args:
        language: one of `LANGUAGES`.
    """
    if language == ENGLISH:
        return gettext.NullTranslations()
    with files("broker.web").joinpath("locale", f"{catalogue_name(language)}.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def catalogue_name(language: str) -> str:
    """Return the name of a language's catalogue: edited with the ending `.po`, compiled from it with `.mo`.

    Args:
        language: one of `LANGUAGES`, and not English.
    """
    return language.replace("-", "_")


def _ranges(accept_language: str) -> Iterator[tuple[str, float]]:
    for text in accept_language[:MAX_CHARACTERS].split(",")[:MAX_RANGES]:
        if found := _RANGE.fullmatch(text):
            yield found[1].lower(), float(found[2] or 1)


def _first_subtag(tag: str) -> str:
    return tag.partition("-")[0]
