"""From answers to files: what is asked of whom, when files may be replaced, and what comes next.

It owns the order of these. It decides no rule of the settings, and knows neither questions nor how files are made.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.errors import SettingsError
from broker.init import files
from broker.init.answers import Answers
from broker.init.non_interactive import read_secrets, take
from broker.init.settings_text import CLIENT_SECRET, OWN_KEYS, SHARED_SECRET, settings_text
from broker.init.summary import for_comm100, lined_up, registration_of, to_register
from broker.init.terminal import Person
from broker.init.validation import Probe
from broker.init.wizard import converse
from broker.registration import CONTROL_PANEL
from broker.settings import describe, list_mistakes, load_settings

_BEFORE_SWITCHING_ON = (
    "Before, make sure that two account admins know their Comm100 passwords:",
    "from then on nobody else can use one.",
)


class NotWritten(Exception):
    """Nothing was written; the text says why, for a terminal."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Args:
        config: the settings file to write.
        given: answers by name, texts as typed; no secrets.
        secret_files: where secrets are read from, by the name of the answer; `-` is standard input.
        overwrite: files that are there may be replaced.
    """

    config: Path
    given: Mapping[str, str] = field(default_factory=dict)
    secret_files: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Args:
        config: the settings file.
        files: every file.
        answers: that are in them.
        registered: the person was told what to register at the provider, and did.
    """

    config: Path
    files: tuple[Path, ...]
    answers: Answers
    registered: bool


def set_up(request: Request, person: Person | None, probe: Probe | None, *, warn: Callable[[str], None]) -> Written:
    """Get all answers, and write the settings file and its secrets.

    Args:
        request: what the command line asks for.
        person: who is asked for the rest; None: nobody can be.
        probe: asks the provider; None: nothing may be asked.
        warn: told what is doubtful where nobody can be asked.

    Raises:
        NotWritten: nothing was written.
        Abort: the person had enough; nothing was written.
    """
    place = files.Place(request.config)
    agreed = _may_write(place, request, person)
    answers = _all_answers(request, person, probe, warn)
    own_keys = secrets.token_urlsafe(48)
    texts = {OWN_KEYS: own_keys, SHARED_SECRET: answers.shared_secret, CLIENT_SECRET: answers.client_secret}

    def check(made: Path) -> None:
        load_settings(made, {})
        _may_write(place, request, None, agreed=agreed)  # nobody is asked while secrets lie aside

    agreed = _may_write(place, request, person, agreed=agreed)  # answering took minutes, and others may use the folder
    try:
        files.write(place, settings_text(answers), texts, check=check)
    except SettingsError as error:
        raise NotWritten(describe(error).rstrip()) from None
    except OSError as error:
        raise NotWritten(f"The files cannot be written ({error.strerror or error}).") from None
    return Written(request.config, place.files, answers, registered=person is not None)


def next_steps(written: Written, *, all_good: bool) -> str:
    """Return what comes next, for a terminal.

    Args:
        written: what was.
        all_good: no check failed.
    """
    option = "" if written.config == Path("broker.yaml") else f" --config {shlex.quote(str(written.config))}"
    correct = ("Correct what failed above, and check again:", [f"broker check{option}"])
    steps = [
        *([] if all_good else [correct]),
        ("Start the broker:", [f"broker serve{option}"]),
        ("Test a sign-in on the setup page, before any agent does:", [f"broker setup-link{option}"]),
        (
            "Switch on JWT SSO in the Control Panel, and enter there:",
            [CONTROL_PANEL, *lined_up(for_comm100(written.answers)), *_BEFORE_SWITCHING_ON],
        ),
    ]
    if not written.registered:
        steps.insert(
            0, ("Have registered at the identity provider:", lined_up(to_register(registration_of(written.answers))))
        )
    lines = ["Next"]
    for number, (what, below) in enumerate(steps, start=1):
        lines += [f"  {number}. {what}", *(f"     {line}" for line in below)]
    return "\n".join(lines)


def _may_write(
    place: files.Place, request: Request, person: Person | None, *, agreed: tuple[Path, ...] = ()
) -> tuple[Path, ...]:
    """Return the files that may be replaced: nobody loses one without having been asked."""
    if problem := files.why_unusable(place):
        raise NotWritten(problem)
    there = files.already_there(place)
    if set(there) <= set(agreed) or request.overwrite:
        return there
    listed = "\n".join(f"  {file}" for file in there)
    if person is None:
        raise NotWritten(f"Nothing was written: these files are there already, and --overwrite is not given.\n{listed}")
    person.say("These files are there already:")
    for file in there:
        person.show(f"  {file}")
    if not person.agree("Replace them at the end?", default=False):
        raise NotWritten("Nothing was written. --config FILE names another place.")
    return there


def _all_answers(request: Request, person: Person | None, probe: Probe | None, warn: Callable[[str], None]) -> Answers:
    texts, unread = read_secrets(request.secret_files)
    given = {**request.given, **texts}
    if person is not None:
        for mistake in unread:
            person.say(f"{mistake.path} {mistake.problem}.")
        return converse(given, person, probe)
    taken = take(given, probe)
    known = {one.path for one in unread}
    mistakes = (*unread, *(one for one in taken.mistakes if one.path not in known))
    if mistakes:
        count = f"{len(mistakes)} option{' is' if len(mistakes) == 1 else 's are'}"
        raise NotWritten(list_mistakes(f"Nothing was written: {count} missing or wrong.", mistakes).rstrip())
    for warning in taken.warnings:
        warn(warning)
    return taken.answers
