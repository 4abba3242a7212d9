"""Finds every regular expression below `broker/`, and makes texts that are hard on it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]  # the one parser that reads what re reads
from typing import Any

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "broker").rglob("*.py"))
CALLS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
MAX_LETTERS = 8  # of a pattern, whose pairs are tried
ANY = "a0-_.@/%: \t\nA,;=\"'\\é"


@dataclass(frozen=True)
class Found:
    """A regular expression in the code.

    Args:
        place: file and line.
        pattern: compiled.
        methods: by which the code uses it.
    """

    place: str
    pattern: re.Pattern[str]
    methods: tuple[str, ...]

    def run(self, text: str) -> None:
        """Do with a text whatever the code does with one."""
        for method in self.methods:
            getattr(self.pattern, method)(*(("", text) if method in ("sub", "subn") else (text,)))


class _Names(dict[str, Any]):
    """The names of a module; what only a function knows is a short word."""

    def __missing__(self, _: str) -> str:
        return "abc"


def find_patterns() -> Iterator[Found]:
    """Yield every pattern that code below `broker/` hands to `re`, with its flags."""
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {one.value: one.targets[0] for one in ast.walk(tree) if isinstance(one, ast.Assign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and is_call_of_re(node.func):
                method = ast.unparse(node.func).removeprefix("re.")
                methods = {method} if method != "compile" else _methods(ast.unparse(names.get(node, node)), tree)
                place = f"{path.relative_to(ROOT)}:{node.lineno}:{node.col_offset}"
                yield Found(place, _compiled(path, node), tuple(sorted(methods)) or ("fullmatch", "sub"))


def _methods(name: str, tree: ast.AST) -> set[str]:
    """Return by which methods a module uses a pattern that has a name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name and node.attr in CALLS
    }


def is_call_of_re(function: ast.expr) -> bool:
    """Whether this is `re.compile` or the like."""
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in CALLS
    )


def _compiled(path: Path, call: ast.Call) -> re.Pattern[str]:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    names = _Names(vars(importlib.import_module(name)))
    flags = 0
    for argument in [*call.args[1:], *(keyword.value for keyword in call.keywords)]:
        if "re." in ast.unparse(argument):
            flags |= eval(ast.unparse(argument), {"re": re})  # noqa: S307 - our own code
    names |= {"re": re, "str": str, "len": len}
    pattern = eval(compile(ast.Expression(call.args[0]), str(path), "eval"), {}, names)  # noqa: S307 - likewise
    compiled = pattern if isinstance(pattern, re.Pattern) else re.compile(pattern, flags)
    if isinstance(compiled.pattern, bytes):  # as fast, or as slow, on text
        return re.compile(compiled.pattern.decode("latin-1"), compiled.flags & ~re.ASCII)
    return compiled


def hostile_texts(pattern: re.Pattern[str]) -> list[Callable[[int], str]]:
    """Return what makes texts of a length: repetitions of the pattern's own letters and examples, and a bad end."""
    tree = parser.parse(pattern.pattern, pattern.flags if pattern.flags & re.ASCII else pattern.flags | re.UNICODE)
    letters = sorted(set(_letters(tree)))
    few = letters[:: max(1, len(letters) // MAX_LETTERS)][:MAX_LETTERS]
    example = _example(tree)
    units = [*letters, *ANY, *("".join(pair) for pair in product(few, few))]
    units += [example[start:end] for start in range(min(3, len(example))) for end in range(start + 1, len(example) + 1)]
    units += [f"{letter}{example}" for letter in few]
    texts = []
    for unit in dict.fromkeys(units):
        texts += [_repeated(unit, before, end) for before in ("", example) for end in ("", "\0")]
    return texts


def _repeated(unit: str, before: str, end: str) -> Callable[[int], str]:
    return lambda length: f"{before}{unit * (length // len(unit))}{end}"


def _letters(tree: Any) -> Iterator[str]:
    """Yield the characters a pattern names, of a range its ends."""
    for operator, value in tree:
        yield from _letters_of(str(operator), value)


def _letters_of(operator: str, value: Any) -> Iterator[str]:
    if operator in ("LITERAL", "NOT_LITERAL"):
        yield chr(value)
    elif operator == "RANGE":
        yield from map(chr, value)
    elif operator == "CATEGORY":
        yield {"CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "w"}.get(str(value), "-")
    elif operator == "BRANCH":
        for branch in value[1]:
            yield from _letters(branch)
    elif operator == "IN":
        yield from _letters([one for one in value if str(one[0]) != "NEGATE"])
    elif operator == "SUBPATTERN":
        yield from _letters(value[-1])
    elif operator in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        yield from _letters(value[2])
    elif operator == "ATOMIC_GROUP":
        yield from _letters(value)


def _example(tree: Any) -> str:
    """Return a text much like one that matches."""
    return "".join(str(_example_of(str(operator), value)) for operator, value in tree)[:200]


def _example_of(operator: str, value: Any) -> str:
    if operator == "LITERAL":
        return chr(int(value))
    if operator in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _example(value[2]) * max(1, min(int(value[0]), 8))
    if operator in ("BRANCH", "SUBPATTERN", "ATOMIC_GROUP"):
        return _example(value[1][0] if operator == "BRANCH" else value[-1] if operator == "SUBPATTERN" else value)
    if operator == "IN" and str(value[0][0]) != "NEGATE":
        return next(_letters(value), "x")
    return "x" if operator in ("ANY", "NOT_LITERAL", "IN") else ""
