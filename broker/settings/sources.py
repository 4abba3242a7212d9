"""Read the settings file and the environment, and merge them into one tree.

No message repeats a value or a part of the file.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from broker.errors import Mistake
from broker.settings.values import InvalidValue, UnreadableFile, read_bytes

KeyPath = tuple[str, ...]
Tree = dict[str, Any]

PREFIX = "BROKER_"
NO_SETTING = frozenset({"BROKER_CONFIG"})
_NO_YAML = "is not YAML"
_MAX_FILE = 256 * 1024  # bytes
_MAX_VALUES = 20_000  # a tree of aliases stands for more values than the file has bytes
_MAX_KEY_DEPTH = 3  # identity_providers.okta.issuer
_SECRETS = frozenset({"secret_keys", "shared_secret", "client_secret", "private_key", "federated_token"})
_VARIABLE = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*(__[A-Z0-9]+(_[A-Z0-9]+)*)*")
# Kubernetes adds these to every container next to a Service whose name begins with `broker`.
_SERVICE_LINK = re.compile(
    r"BROKER_(?!.*__)([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Settings as the admin wrote them, unchecked.

    Args:
        variables: variable names, by the path of the value.
        lines: line numbers in the file, from 1, by the path of the key.
        readable: the tree can be checked further.
    """

    tree: Tree = field(repr=False)
    variables: Mapping[KeyPath, str]
    lines: Mapping[KeyPath, int]
    mistakes: tuple[Mistake, ...]
    readable: bool


def read(path: Path | None, environ: Mapping[str, str]) -> Written:
    """Read the settings file, if there is one; environment variables override its keys."""
    mistakes: list[Mistake] = []
    tree, lines, readable = _read_file(path, mistakes) if path else ({}, {}, True)
    variables: dict[KeyPath, str] = {}
    # A short path first, so that `BROKER_SITES__MAIN__DELIVERY` wins over `BROKER_SITES`.
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        if name.startswith(PREFIX) and name not in NO_SETTING:
            try:
                keys = _keys_of(name)
                value = _value(keys[-1], environ[name], mistakes)
                variables[keys] = name
                _put(tree, keys, value)
            except InvalidValue as invalid:
                shown = name if re.fullmatch(r"[A-Za-z0-9_]{1,200}", name) else f"{PREFIX}..."
                mistakes.append(Mistake(shown, invalid.problem, invalid.example or "a value as in the settings file"))
    return Written(tree, variables, lines, tuple(mistakes), readable)


def _read_file(path: Path, mistakes: list[Mistake]) -> tuple[Tree, Mapping[KeyPath, int], bool]:
    """Return the tree, the line of each key, and whether the file is readable."""
    try:
        tree, lines = _parse(read_bytes(path, _MAX_FILE), mistakes)
        if not isinstance(tree, dict | None):
            found = "a list" if isinstance(tree, list) else "a single value"
            raise InvalidValue(f"must be keys with values, not {found}")
    except InvalidValue as invalid:
        unreadable = isinstance(invalid, UnreadableFile)
        example = "broker serve --config broker.yaml" if unreadable else "public_url: https://sso.acme.example"
        mistakes.append(Mistake(str(path), invalid.problem, invalid.example or example))
        return {}, {}, False
    return tree or {}, lines, True


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also reports duplicate keys and refuses merge keys."""

    def __init__(self, stream: bytes | str, mistakes: list[Mistake]) -> None:
        super().__init__(stream)
        self._mistakes = mistakes

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave `<<` unmerged, as an unknown key: merging can grow without bounds."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Make a dict, and report duplicate keys."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidValue(f"has a key that is not text in line {key.start_mark.line + 1}")
            line = key.start_mark.line + 1
            if key.value in lines:
                problem = f"is given twice, in line {lines[key.value]} and in line {line}"
                self._mistakes.append(Mistake(shown_key(key.value), problem, "keep one of the two"))
            lines.setdefault(key.value, line)
        return super().construct_mapping(node, deep=deep)


def _merge_key(loader: _Loader, node: yaml.ScalarNode) -> str:
    return loader.construct_yaml_str(node)


_Loader.add_constructor("tag:yaml.org,2002:merge", _merge_key)


def _parse(text: bytes | str, mistakes: list[Mistake]) -> tuple[Any, Mapping[KeyPath, int]]:
    """Return the value of a YAML text, and the line of each key; None for no value."""
    try:
        loader = _Loader(text, mistakes)
        try:
            node = loader.get_single_node()
            tree = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except InvalidValue:
        raise  # a ValueError, too
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except (yaml.YAMLError, ValueError):  # ValueError: no UTF-8, or a date that does not exist
        raise InvalidValue(f"{_NO_YAML} in UTF-8, or holds a date that does not exist") from None
    except RecursionError:
        raise InvalidValue("is nested too deep") from None
    except Exception:  # noqa: BLE001 - PyYAML raises any for a value that does not fit its tag, such as !!bool abc
        raise InvalidValue(f"{_NO_YAML}: a value does not fit its type") from None
    _bound(tree)
    return tree, dict(_lines_of_keys(node))


def _not_yaml(error: yaml.MarkedYAMLError, text: bytes | str) -> InvalidValue:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return InvalidValue(_NO_YAML)
    written = text if isinstance(text, str) else text.decode(errors="replace")
    line = "".join(written.splitlines()[mark.line : mark.line + 1])
    if "\t" in line[: len(line) - len(line.lstrip())]:
        problem = f"{_NO_YAML}: line {mark.line + 1} begins with a tab; indent with spaces"
        return InvalidValue(problem, example="spaces in its place")
    return InvalidValue(f"{_NO_YAML} near line {mark.line + 1}, column {mark.column + 1}")


def _lines_of_keys(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    if not isinstance(node, yaml.MappingNode) or len(path) == _MAX_KEY_DEPTH:
        return
    for name, (line, below) in {key.value: (key.start_mark.line + 1, below) for key, below in node.value}.items():
        yield (*path, name), line
        yield from _lines_of_keys(below, (*path, name))


def _bound(tree: Any) -> None:
    waiting = [tree]
    seen = 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > _MAX_VALUES:
            raise InvalidValue(f"stands for more than {_MAX_VALUES} values")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            waiting.extend(value)


def _keys_of(variable: str) -> KeyPath:
    name = variable.removeprefix(PREFIX)
    if _SERVICE_LINK.fullmatch(variable):
        problem = "is no setting; Kubernetes adds it beside a Service whose name begins with broker"
        raise InvalidValue(problem, example="enableServiceLinks: false in the pod")
    if not _VARIABLE.fullmatch(name):
        problem = f"is no setting: a name is {PREFIX} and the path in upper case"
        raise InvalidValue(problem, example="BROKER_SITES__MAIN__ENDPOINT")
    return tuple(name.lower().split("__"))


def _put(tree: Tree, path: KeyPath, value: Any) -> None:
    section = tree
    for step in path[:-1]:
        below = section.get(step)
        if below is not None and not isinstance(below, dict):
            raise InvalidValue(f"lies below {step}, which is given as a single value", example="keep one of them")
        section[step] = dict(below or {})  # a copy: an alias puts the same dict in several places
        section = section[step]
    section[path[-1]] = _merged(section.get(path[-1]), value)


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def _value(key: str, text: str, mistakes: list[Mistake]) -> Any:
    if not text.strip():
        return None
    if key in _SECRETS and not text.startswith(("'", '"')):
        return text  # not as YAML: a secret that contains ` #` would lose its end
    try:
        return _parse(text, mistakes)[0]
    except InvalidValue as invalid:
        if invalid.problem.startswith(_NO_YAML):
            return text  # such as [::]:8000
        raise


def shown_key(key: object) -> str:
    """Return a key that may be shown: a secret in the wrong place must not be."""
    return key if isinstance(key, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}|<<", key) else "(unreadable key)"
