"""No regular expression of ours takes more than linear time on any text."""

from __future__ import annotations

import re
import time

import pytest

from tests.patterns import Found, find_patterns, hostile_texts

SUSPICIOUS = 0.004  # seconds for 2,000 characters; what is linear takes a hundredth
TOO_SLOW = 0.04  # seconds for 8,000 characters; what is quadratic takes 0.15 and more
TRIES = 3  # of which the fastest counts: the machine may be busy

PATTERNS = list(find_patterns())


def seconds(found: Found, text: str) -> float:
    started = time.process_time()
    found.run(text)
    return time.process_time() - started


def slow_text(found: Found) -> str | None:
    """Return a text, shortened, on which the pattern is slow; the short ones first, for some are exponential."""
    for text_of in hostile_texts(found.pattern):
        for length, longest in ((22, 22), (2_000, 8_000)):
            if seconds(found, text_of(length)) > SUSPICIOUS and is_slow(found, text_of(longest)):
                return repr(text_of(40))
    return None


def is_slow(found: Found, text: str) -> bool:
    return min(seconds(found, text) for _ in range(TRIES)) > TOO_SLOW


@pytest.mark.requirement("S-61")
@pytest.mark.parametrize("found", PATTERNS, ids=lambda found: found.place)
def test_a_pattern_takes_linear_time(found: Found) -> None:
    assert slow_text(found) is None, found.pattern.pattern


@pytest.mark.requirement("S-61")
@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        pytest.param(r"[^\s@]+@[^\s@]+", "sub", id="a search that starts anew at every character"),
        pytest.param(r"/[!-~]*(?:[?#][!-~]*)?", "fullmatch", id="two parts that share characters"),
        pytest.param(r"(a+)+b", "fullmatch", id="exponential"),
    ],
)
def test_a_pattern_that_does_not_is_found(pattern: str, method: str) -> None:
    assert slow_text(Found("here", re.compile(pattern), (method,)))


def test_every_pattern_is_looked_at() -> None:
    assert len(PATTERNS) > 70
    assert any(found.place.startswith("broker/text.py") for found in PATTERNS)
