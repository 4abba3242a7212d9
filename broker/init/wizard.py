"""Get an answer to each question, from a person at a terminal or from options, and write the settings.

Both take the same questions in the same order, and `judge` validates each answer.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from broker.checks import fingerprint
from broker.errors import Mistake, SettingsError
from broker.identity import is_host_name
from broker.init import files
from broker.init.probe import LookupFailed, Probe
from broker.init.questions import QUESTIONS, Answers, Judged, Question, find_mistake, with_answer
from broker.init.suggestions import correct, doubt, propose, tidy
from broker.init.template import registration_of, settings_text, to_register
from broker.providers import KINDS
from broker.registration import CONTROL_PANEL
from broker.settings import describe, list_mistakes, load_settings
from broker.settings.secrets import read_text
from broker.settings.values import InvalidValue

_STANDARD_INPUT = Path("/dev/stdin")
_WIDEST = 88  # characters of a line


class NotWritten(Exception):
    """Nothing was written; the text says why, for a terminal."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Args:
        given: answers by key, as typed; no secrets.
        secret_files: by key; `-` is standard input.
        interactive: ask a person for all answers that are not given.
    """

    config: Path
    given: Mapping[str, str] = field(default_factory=dict)
    secret_files: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    interactive: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    files: tuple[Path, ...]
    answers: Answers


def set_up(request: Request, probe: Probe | None) -> Written:
    """Get all answers and write the settings file and its secrets.

    Args:
        probe: asks the provider; None to ask no other machine.

    Raises:
        NotWritten: nothing was written.
        Abort: the person stopped; nothing was written.
    """
    place = files.Place(request.config)
    agreed = _may_replace(place, request)
    answers = _all_answers(request, probe)
    texts = {
        files.OWN_KEYS: secrets.token_urlsafe(48),
        files.SHARED_SECRET: answers.shared_secret,
        files.CLIENT_SECRET: answers.client_secret,
    }
    agreed = _may_replace(place, request, agreed=agreed)  # files may have come while the person answered
    try:
        with files.staged(place, settings_text(answers, place.secrets.name), texts) as made:
            load_settings(made, {})
            _may_replace(place, replace(request, interactive=False), agreed=agreed)  # no question with secrets aside
    except SettingsError as error:
        raise NotWritten(describe(error).rstrip()) from None
    except OSError as error:
        raise NotWritten(f"The files cannot be written ({error.strerror or error}).") from None
    return Written(place.files, answers)


def _may_replace(place: files.Place, request: Request, *, agreed: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """Return the existing files, if all may be replaced: by option, or because the person agreed."""
    if problem := files.why_unusable(place):
        raise NotWritten(problem)
    existing = place.existing()
    if set(existing) <= set(agreed) or request.overwrite:
        return existing
    listed = "\n".join(f"  {file}" for file in existing)
    if not request.interactive:
        raise NotWritten(f"Nothing was written. These files exist already; --overwrite replaces them:\n{listed}")
    typer.echo(f"These files exist already:\n{listed}")
    if not _confirm("Replace them at the end?", default=False):
        raise NotWritten("Nothing was written. To write to another place, name it with --config FILE.")
    return existing


def _all_answers(request: Request, probe: Probe | None) -> Answers:
    texts, unread = _read_secrets(request.secret_files)
    given = {**request.given, **texts}
    if request.interactive:
        for mistake in unread:
            _say(f"{mistake.path}: {mistake.problem}.")
        _greet()
        return Interview(given, probe).ask_all()
    answers, mistakes, warnings = judge_options(given, probe)
    known = {mistake.path for mistake in unread}
    mistakes = [*unread, *(mistake for mistake in mistakes if mistake.path not in known)]
    if mistakes:
        count = f"{len(mistakes)} option{' is' if len(mistakes) == 1 else 's are'}"
        raise NotWritten(list_mistakes(f"Nothing was written: {count} missing or wrong.", mistakes).rstrip())
    for warning in warnings:
        typer.echo(warning, err=True)
    return answers


def _read_secrets(secret_files: Mapping[str, str]) -> tuple[dict[str, str], list[Mistake]]:
    """Return the texts of secrets by key, and a mistake for each file that cannot be read."""
    texts: dict[str, str] = {}
    mistakes = []
    for key, file in secret_files.items():
        option, example = QUESTIONS[key].option, f"{QUESTIONS[key].option} {QUESTIONS[key].example}"
        if file == "-" and list(secret_files.values()).count("-") > 1:
            mistakes.append(Mistake(option, "only one of the two can come from standard input", example))
            continue
        try:
            text = read_text(_STANDARD_INPUT if file == "-" else Path(file), pipe_seconds=None)
        except InvalidValue as unusable:
            mistakes.append(Mistake(option, f"{_name_of(file)} {unusable.problem}", example))
            continue
        if not text.strip():
            mistakes.append(Mistake(option, f"{_name_of(file)} is empty", example))
            continue
        texts[key] = text
    return texts, mistakes


def _name_of(file: str) -> str:
    return "standard input" if file == "-" else f"the file {file}"


def judge(question: Question, text: str, answers: Answers, probe: Probe | None) -> Judged:
    """Judge one answer: by the settings' rules, by its form, and by what the provider says.

    Args:
        text: as typed.
        answers: so far, all valid.
        probe: asks the provider; None to ask no other machine.
    """
    key, text = question.key, tidy(question.key, text)
    if not text:
        kinds = f": {', '.join(KINDS)}" if key == "preset" else ""
        return Judged(answers, "refused", f"is required{kinds}")
    note = ""
    if key == "tenant" and probe is not None and "." in text and is_host_name(text.lower()):
        domain = text.lower()
        try:
            text = asyncio.run(probe.look_up_tenant(domain, answers.kind))
        except LookupFailed as failure:
            return Judged(answers, "refused", str(failure))
        note, answers = f"The tenant of {domain} is {text}.", replace(answers, domain=domain)
    candidate = with_answer(answers, key, text)
    if (mistake := find_mistake(candidate, key)) is not None:
        problem = _problem(mistake, question, candidate)
        if key == "tenant" and probe is not None and answers.kind.has_tenants:
            problem = f"{problem}; a domain of the tenant is accepted, too"
        return Judged(answers, "refused", problem, correct(key, text, candidate))
    if problem := doubt(key, candidate):
        return Judged(candidate, "doubtful", problem)
    if probe is None or key != answers.kind.located_by:
        return Judged(candidate, note=note)
    judged = asyncio.run(probe.check_provider(candidate))
    return replace(judged, note=f"{note} {judged.note}".strip())


def _problem(mistake: Mistake, question: Question, candidate: Answers) -> str:
    """Return a mistake's problem, with the value or the other setting that it is about."""
    index = re.search(r"\[(\d+)\]$", mistake.path)
    value = candidate.email_domains[int(index[1])] if index and question.key == "email_domains" else ""
    if value and value not in mistake.problem:
        return f"{value} {mistake.problem}."
    other = mistake.path.rpartition(".")[2]
    if other in QUESTIONS and other != question.key:
        return f"does not fit: {QUESTIONS[other].prompt} {mistake.problem}"
    return mistake.problem


def judge_options(given: Mapping[str, str], probe: Probe | None) -> tuple[Answers, list[Mistake], list[str]]:
    """Return the answers of the command line, every mistake, and the warnings.

    Args:
        given: answers by key, as typed.
    """
    answers = Answers()
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    for question in QUESTIONS.values():
        option, text = question.option, given.get(question.key, "")
        if not question.applies(answers, given=question.key in given) or (question.optional and not text):
            continue
        judged = judge(question, text, answers, probe)
        answers = judged.answers
        if judged.note:
            warnings.append(judged.note)
        if judged.needs:
            needed = QUESTIONS[judged.needs]
            problem = "does not help" if judged.needs in given else "is missing"
            example = f"{needed.option} {needed.example}".strip()
            mistakes.append(Mistake(needed.option, f"{problem}: {judged.problem}", example))
        elif judged.verdict == "doubtful":
            warnings.append(f"{option}: {judged.problem}")
        elif judged.verdict != "good":
            problem = f"holds a secret that {judged.problem}" if question.secret and text else judged.problem
            mistakes.append(Mistake(option, problem, f"{option} {judged.suggestion or question.example}"))
            if judged.suggestion:  # nothing will be written: the suggestion is for judging the other options
                answers = with_answer(answers, question.key, judged.suggestion)
    return answers, mistakes, warnings


class Interview:
    """Ask a person at the terminal.

    Args:
        given: answers of the command line, by key; asked for only if they are not valid.
        probe: asks the provider; None to ask no other machine.
    """

    def __init__(self, given: Mapping[str, str], probe: Probe | None) -> None:
        self._given = given
        self._probe = probe

    def ask_all(self) -> Answers:
        """Return all answers.

        Raises:
            Abort: the person pressed Ctrl-C or Ctrl-D.
        """
        answers = Answers()
        for question in QUESTIONS.values():
            if not question.applies(answers, given=question.key in self._given):
                continue
            if question.part:
                _head(question.part)
            if question.key == "preset" and "preset" not in self._given:
                for number, kind in enumerate(KINDS.values(), start=1):
                    typer.echo(f"  {number}  {kind.title}")
            if question.key == "client_id" and not {"client_id", "client_secret"} <= self._given.keys():
                _show_registration(answers)
            answers = self._ask(question, answers, self._given.get(question.key, ""))
            if question.key == "client_secret":
                answers = self._try_credentials(answers)
            if question.key == "shared_secret":
                length, shown = len(answers.shared_secret.encode()), fingerprint(answers.shared_secret)
                _say(f"Shared secret read: {length} bytes, fingerprint {shown}.")
        return answers

    def _ask(self, question: Question, answers: Answers, text: str = "", *, default: str = "") -> Answers:
        """Ask one question until there is an answer.

        Args:
            text: the answer of the command line.
            default: proposed; otherwise a guess is proposed.
        """
        default = default or propose(question.key, answers)
        if not text:
            _show_hint(question, answers)
        while True:
            text = text or _prompt(question, default)
            if question.optional and not text:
                return answers
            judged = judge(question, text, answers, self._probe)
            if judged.verdict == "good":
                if judged.note:
                    _say(judged.note)
                return judged.answers
            _say(judged.problem if judged.problem.endswith(".") else f"{question.prompt} {judged.problem}.")
            helped = self._ask_for(judged.needs, answers)
            if helped != answers:
                answers = helped  # the same text is judged again
                continue
            if judged.suggestion:
                _say(f"Press Enter to accept this suggestion: {judged.suggestion}")
            elif judged.verdict == "refused":
                _say("Copy it once more." if question.secret else f"For example: {question.example}")
            elif _confirm("Keep it anyway?", default=False):
                return judged.answers
            text, default = "", judged.suggestion or default

    def _ask_for(self, key: str, answers: Answers) -> Answers:
        """Ask for an answer that is needed to reach the provider; return the answers unchanged without it.

        Args:
            key: empty if no such answer would help.
        """
        if key == "trusted_ca_file":
            return self._ask(QUESTIONS[key], answers)
        if key == "allow_private_network":
            _say(QUESTIONS[key].hint)
            if _confirm("Allow the private network for this provider?", default=False):
                return with_answer(answers, key, "yes")
        return answers

    def _try_credentials(self, answers: Answers) -> Answers:
        while True:
            _say(f"Client secret read: {len(answers.client_secret)} characters.")
            if self._probe is None:
                return answers
            judged = asyncio.run(self._probe.check_credentials(answers))
            _say(judged.problem or judged.note)
            if judged.verdict == "good" or not _confirm("Enter both again?", default=True):
                return answers
            answers = self._ask(QUESTIONS["client_id"], answers, default=answers.client_id)
            answers = self._ask(QUESTIONS["client_secret"], answers)


# -------------------- the terminal


def _greet() -> None:
    _say(
        "This command asks for three values of your identity provider and two of Comm100, and writes the broker's "
        "settings. At the end it shows two addresses to enter in Comm100."
    )
    _say("Press Ctrl-C to stop. Nothing is written before the end.")
    typer.echo(
        "\nYou need:\n"
        "- the address at which browsers will reach the broker\n"
        "- your identity provider's admin console, to register an application there\n"
        f"- the JWT SSO endpoint and the shared secret of Comm100\n  {CONTROL_PANEL}"
    )


def _show_registration(answers: Answers) -> None:
    setup = registration_of(answers)
    _head("Register the broker at the provider")
    _say(setup.note)
    typer.echo("\n".join(f"  {line}" for line in to_register(setup)))
    _say(f"All steps: {setup.guide}. The provider then shows a client ID and a client secret.")


def _show_hint(question: Question, answers: Answers) -> None:
    hidden = "What you type or paste is not shown." if question.secret else ""
    if text := f"{question.hint_for(answers)} {hidden}".strip():
        typer.echo()
        _say(text)


def _prompt(question: Question, default: str) -> str:
    """Return what the person types; empty if the person presses Enter and nothing is proposed."""
    while True:
        try:
            text: str = typer.prompt(
                _coloured(question.prompt), default=default, show_default=bool(default), hide_input=question.secret
            )
            text.encode()  # fails for a lone surrogate: a byte that is not UTF-8
        except UnicodeError:
            _say(f"{question.prompt}: this terminal sent a character that is not UTF-8. Type or paste it once more.")
        else:
            return text


def _confirm(question: str, *, default: bool) -> bool:
    return typer.confirm(_coloured(question), default=default)


def _say(text: str) -> None:
    """Show a text, wrapped."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - 1
    typer.echo("\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)))


def _head(text: str) -> None:
    typer.secho(f"\n{text}", bold=True)


def _coloured(text: str) -> str:
    return typer.style(text, fg="cyan")
