"""Whether an answer will do: the settings' rules, then what it looks like, then what the provider itself says.

It owns the order of these three, and how heavy an objection is. It asks no person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from broker.errors import Mistake
from broker.init.answers import Answers, answered, find_mistake
from broker.init.questions import QUESTIONS, finds_the_provider, kind_of, meant_kind
from broker.init.suggestions import correct, doubt, tidy
from broker.providers import ProviderKind
from broker.settings.addresses import is_host_name

Weight = Literal["refused", "wrong", "doubtful"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an answer.

    Args:
        weight: `refused` by the settings, it cannot be kept; `wrong` by what the provider says; `doubtful`: it may be
            right, or nobody can tell now.
        problem: whole sentences, or the rest of one that begins with the answer's name, or with `subject`.
        better: what was probably meant.
        example: a right answer.
        subject: one of several values in the answer.
        lacks: the answer without which the provider cannot be looked at.
    """

    weight: Weight
    problem: str
    better: str = ""
    example: str = ""
    subject: str = ""
    lacks: str = ""

    def sentence(self, name: str) -> str:
        """Return the problem as a sentence.

        Args:
            name: the answer's.
        """
        return self.problem if self.problem.endswith(".") else f"{self.subject or name} {self.problem}."


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer, judged.

    Args:
        answers: with this one, unless the settings refuse it.
        objection: None if it will do.
        said: what was found out, worth telling.
    """

    answers: Answers
    objection: Problem | None = None
    said: str = ""


class Probe(Protocol):
    """Asks the provider; there is none where nothing may be asked."""

    def at_provider(self, answers: Answers) -> Judged:
        """Judge where the provider is said to be by its discovery document."""

    def up_tenant(self, domain: str, kind: ProviderKind) -> str:
        """Return the id of the tenant that has a domain, or raise Untold."""

    def at_credentials(self, answers: Answers) -> Judged:
        """Judge client id and secret by whether the provider accepts them."""


class LookupFailed(Exception):
    """Nobody told what was asked; the sentence says why.

    Args:
        problem: whole sentences.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def judge(key: str, text: str, answers: Answers, probe: Probe | None) -> Judged:
    """Judge one answer.

    Args:
        key: its name.
        text: as given.
        answers: the others so far.
        probe: asks the provider.
    """
    text = meant_kind(tidy(text)) if key == "preset" else tidy(text)
    if not text:
        return Judged(answers, Problem("refused", "is needed", example=QUESTIONS[key].example))
    said = ""
    if key == "tenant" and probe is not None and "." in text and is_host_name(text.lower()):
        try:
            tenant = probe.up_tenant(text.lower(), kind_of(answers.preset))
        except LookupFailed as untold:
            return Judged(answers, Problem("refused", untold.problem, example=QUESTIONS[key].example))
        said, answers, text = f"{text.lower()} is the tenant {tenant}.", replace(answers, domain=text.lower()), tenant
    candidate = answered(answers, key, text)
    if (mistake := find_mistake(candidate, key)) is not None:
        return Judged(answers, _refusal(mistake, key, text, candidate))
    if problem := doubt(key, candidate):
        return Judged(candidate, Problem("doubtful", problem))
    if probe is None or key not in finds_the_provider(answers.preset)[-1:]:
        return Judged(candidate, said=said)
    judged = probe.at_provider(candidate)
    return replace(judged, said=f"{said} {judged.said}".strip())


def _refusal(mistake: Mistake, key: str, text: str, candidate: Answers) -> Problem:
    better = correct(key, text, candidate)
    if better and find_mistake(answered(candidate, key, better), key) is not None:
        better = ""
    place = re.search(r"\[(\d+)\]$", mistake.path)
    subject = candidate.email_domains[int(place[1])] if place else ""
    return Problem("refused", mistake.problem, better, QUESTIONS[key].example, subject)
