"""Turn the findings of the validation library into sentences about mistakes, as text for a terminal.

No message of the library is used, and no input value is read.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from broker.errors import Mistake, SettingsError
from broker.settings.model import Settings, SiteSettings
from broker.settings.provider import ProviderSettings
from broker.settings.secrets import Section
from broker.settings.sources import PREFIX, Written, shown_key
from broker.settings.values import IDENTIFIER, InvalidValue

Location = tuple[int | str, ...]

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text: put it in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "mapping_type": "must be keys with values",
    "dict_type": "must be keys with values",
    "model_type": "must be keys with values",
    "model_attributes_type": "must be keys with values",
    "too_short": "must name at least one",
    "invalid_key": "has a key that is not text",
}
_TERMINAL_WIDTH = 80
_SECTIONS: Mapping[str, type[Section]] = {"sites": SiteSettings, "identity_providers": ProviderSettings}


def mistakes_found(error: ValidationError, written: Written) -> tuple[Mistake, ...]:
    """Return a mistake for each finding of the model."""
    findings = error.errors(include_url=False, include_input=False)
    unknown = (finding["loc"] for finding in findings if finding["type"] == "extra_forbidden")
    misspelt = {(*location[:-1], _nearest_key(location)) for location in unknown}
    mistakes = []
    for finding in findings:
        context = finding.get("ctx", {})
        mistake = _mistake(finding["type"], finding["loc"], context, written)
        # A key that is missing because it is misspelt is one mistake, not two.
        if not (mistake.problem.startswith("is required") and _named(finding["loc"], context) in misspelt):
            mistakes.append(mistake)
    return tuple(mistakes)


def _mistake(kind: str, location: Location, context: dict[str, Any], written: Written) -> Mistake:
    invalid = _invalid_value(context)
    wrong_key = bool(location) and location[-1] == "[key]"
    location = _named(location[:-1] if wrong_key else location, context)
    if meant := _meant_by_a_variable(kind, location, written):
        problem, example = "is no setting here: sections are joined by two underscores", meant
    elif kind == "extra_forbidden":
        problem, example = _unknown_key(location)
    else:
        problem = invalid.problem if invalid else _sentence(kind, context)
        own_example = "acme_eu" if wrong_key else invalid.example if invalid else None
        example = own_example or _example(location, quoted="in quotes" in problem)
    return Mistake(_dotted(location), problem + _origin(location, written, problem), example)


def _invalid_value(context: dict[str, Any]) -> InvalidValue | None:
    reason = context.get("error")
    return reason if isinstance(reason, InvalidValue) else None


def _named(location: Location, context: dict[str, Any]) -> Location:
    """Return the location of a finding, with the key that the finding names itself."""
    invalid = _invalid_value(context)
    return (*location[:-1], invalid.key) if invalid and invalid.key else location


def _sentence(kind: str, context: dict[str, Any]) -> str:
    match kind:
        case "literal_error":
            return f"must be one of: {str(context['expected']).replace(chr(39), '')}"
        case "greater_than_equal":
            return f"must be {context['ge']} or more"
        case "less_than_equal":
            return f"must be {context['le']} or less"
        case "string_too_long" | "too_long":
            return f"must have {context['max_length']} characters or fewer"
        case _:
            return _SENTENCES.get(kind, "cannot be used")


def _unknown_key(location: Location) -> tuple[str, str]:
    if near := _nearest_key(location):
        return f"is no setting here; did you mean {near}?", _line(_section(location)[0], near)
    return "is no setting here", "remove it, or see docs/admin/settings.md"


def _nearest_key(location: Location) -> str:
    key, known = str(location[-1]), _section(location)[0].known_keys()
    return next(iter(difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.7)), "")


def _meant_by_a_variable(kind: str, location: Location, written: Written) -> str | None:
    """Return the right name of a variable that has too few underscores."""
    if (kind, len(location)) not in {("extra_forbidden", 1), ("model_type", 2)}:
        return None
    flat = next(("_".join(path) for path in written.variables if path[: len(location)] == location), "")
    for name, section in _SECTIONS.items():
        for key in sorted(section.known_keys(), key=len, reverse=True):
            if found := re.fullmatch(rf"{name}_({IDENTIFIER})_{key}", flat):
                return PREFIX + "__".join((name, found[1], key)).upper()
    return None


def _example(location: Location, *, quoted: bool) -> str:
    section, rest = _section(location)
    if not rest:
        return _line(Settings, str(location[0]), quoted=quoted) if location else "public_url: https://sso.acme.example"
    return _line(section, str(rest[0]), quoted=quoted)


def _section(location: Location) -> tuple[type[Section], Location]:
    if location and location[0] in _SECTIONS and len(location) > 1:
        return _SECTIONS[str(location[0])], location[2:]
    return Settings, location


def _line(section: type[Section], key: str, *, quoted: bool = False) -> str:
    name = key.removesuffix("_file") if key not in section.model_fields else key
    if name in section.shown_plainly and key != name:
        return f"{key}: /run/secrets/{name}"
    examples = section.model_fields[name].examples if name in section.model_fields else None
    if name in section.secret_keys_of_section and name not in section.shown_plainly:
        key, quoted = f"{name}_file", False
    if not examples:
        return key
    style = '"' if quoted else None
    text = yaml.safe_dump(examples[0], default_flow_style=True, default_style=style, width=1000, sort_keys=False)
    return f"{key}: {text.removesuffix(chr(10)).removesuffix('...').strip()}"


def _dotted(location: Location) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step if _may_be_shown(step) else shown_key(step)}"
    return path.removeprefix(".") or "settings"


def _may_be_shown(step: str) -> bool:
    return shown_key(step) == step or shown_key(step.lower()) == step.lower()


def _origin(location: Location, written: Written, problem: str) -> str:
    path = tuple(str(step) for step in location)
    above = [path[:length] for length in range(len(path), 0, -1)]
    if problem.startswith("is required"):
        of_text = (*path[:-1], path[-1].removesuffix("_file"))  # a secret is missed by the name of its file
        if empty := written.variables.get(path) or written.variables.get(of_text):
            return f" ({empty} is empty)"
    elif name := next((written.variables[part] for part in above if part in written.variables), None):
        return f" (given by {name})"
    if all(isinstance(step, int) or _may_be_shown(step) for step in location):
        return ""
    return next((f" (in line {written.lines[part]})" for part in above if part in written.lines), "")


def describe(error: SettingsError) -> str:
    """Return every mistake as text for a terminal of 80 columns."""
    count = len(error.mistakes)
    return list_mistakes(f"The settings cannot be used: {count} mistake{'' if count == 1 else 's'}.", error.mistakes)


def list_mistakes(head: str, mistakes: Iterable[Mistake]) -> str:
    """Return a first line and mistakes, as text for a terminal of 80 columns."""
    lines = [head]
    for mistake in mistakes:
        lines += ["", f"  {mistake.path}", *_wrapped(mistake.problem), *_wrapped(f"for example: {mistake.example}")]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _TERMINAL_WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return [f"    {line}" for line in wrapped]
