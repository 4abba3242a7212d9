"""The command line in place of a person: every answer is given, and all that is wrong is said at once.

It owns which options are needed, and reads secrets from files: an option's value can be seen by everybody on the
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from broker.errors import Mistake
from broker.init.answers import Answers
from broker.init.questions import ON_THE_WAY, QUESTIONS, finds_the_provider
from broker.init.suggestions import tidy
from broker.init.validation import Probe, Problem, judge
from broker.providers import KINDS
from broker.settings.invalid_value import InvalidValue
from broker.settings.secret import read_text

_STANDARD_INPUT = Path("/dev/stdin")
_ALWAYS_FIRST = ("public_url", "preset", "id")
_OPTIONAL = ("client_secret_expires", *ON_THE_WAY)
_ALWAYS_LAST = ("client_id", "client_secret", "client_secret_expires", "email_domains", "endpoint", "shared_secret")


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """What the options say.

    Args:
        answers: as far as they are right.
        mistakes: everything missing or wrong.
        warnings: what is probably wrong, or could not be looked at.
    """

    answers: Answers
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...]


def read_secrets(files: Mapping[str, str]) -> tuple[dict[str, str], tuple[Mistake, ...]]:
    """Read the secrets, and say which could not be read.

    Args:
        files: by the name of the answer; `-` is standard input.
    """
    texts: dict[str, str] = {}
    mistakes = []
    for key, file in files.items():
        question = QUESTIONS[key]
        if file == "-" and list(files.values()).count("-") > 1:
            mistakes.append(Mistake(question.option, "only one of two can come from standard input", question.example))
            continue
        try:
            texts[key] = tidy(read_text(_STANDARD_INPUT if file == "-" else Path(file)))
        except InvalidValue as unusable:
            mistakes.append(Mistake(question.option, f"names a file that {unusable.problem}", question.example))
    return texts, tuple(mistakes)


def take(given: Mapping[str, str], probe: Probe | None) -> ParsedOptions:
    """Take every answer from what is given.

    Args:
        given: by the name of the answer.
        probe: asks the provider; None: nobody is asked.
    """
    answers = Answers()
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    waiting = list(_ALWAYS_FIRST)
    while waiting:
        key = waiting.pop(0)
        text = given.get(key, "")
        if key == "id" and not text:
            answers = replace(answers, id=answers.preset)
        elif text or key not in _OPTIONAL:
            judged = judge(key, text, answers, probe)
            answers = judged.answers
            if judged.said and key == "tenant":
                warnings.append(judged.said)
            if judged.objection is not None and judged.objection.lacks:
                mistakes.append(_lacking(judged.objection, given))
            elif judged.objection is not None and judged.objection.weight == "doubtful":
                warnings.append(_warning(key, judged.objection))
            elif judged.objection is not None:
                mistakes.append(_mistake(key, judged.objection))
                answers = _instead(key, judged.objection, answers)
        if key == _ALWAYS_FIRST[-1]:
            waiting += [*ON_THE_WAY, *_place_keys(given, answers), *_ALWAYS_LAST]
    return ParsedOptions(answers, tuple(mistakes), tuple(warnings))


def _instead(key: str, objection: Problem, answers: Answers) -> Answers:
    """Put something in place of a wrong answer that others depend on, so that they can be judged; none is written."""
    if key == "public_url":
        return replace(answers, public_url=objection.better or QUESTIONS[key].example)
    return replace(answers, id=answers.preset) if key == "id" else answers


def _place_keys(given: Mapping[str, str], answers: Answers) -> list[str]:
    """What says where the provider is; an issuer beside a tenant first, for the tenant is looked for there."""
    needed = finds_the_provider(answers.preset)
    further = [key for key in ("issuer", "tenant") if key in given and key not in needed]
    return [*further, *needed] if answers.preset else []


def _mistake(key: str, objection: Problem) -> Mistake:
    question = QUESTIONS[key]
    missing = objection.problem == "is needed"
    problem = "is missing" if missing else f"{objection.subject} {objection.problem}".strip()
    if key == "preset":
        problem = f"{problem}: {', '.join(KINDS)}" if missing else problem
    return Mistake(question.option, problem, f"{question.option} {objection.better or question.example}")


def _lacking(objection: Problem, given: Mapping[str, str]) -> Mistake:
    question = QUESTIONS[objection.lacks]
    problem = "does not help" if objection.lacks in given else "is missing"
    return Mistake(question.option, f"{problem}: {objection.problem}", f"{question.option} {question.example}".strip())


def _warning(key: str, objection: Problem) -> str:
    meant = f" Was {objection.better} meant?" if objection.better else ""
    return f"{QUESTIONS[key].option}: {objection.problem}{meant}"
