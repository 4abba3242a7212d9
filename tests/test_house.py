"""Documents and code agree: links, commands, error codes, sections, files and settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main
from typer.core import TyperGroup

from broker import emergency
from broker.checks.finding import CHECKS, Topic
from broker.commands import app
from broker.errors import BrokerError, SettingsError, every_error
from broker.providers import KINDS
from tests.chart import values_schema

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MODULES = sorted((ROOT / "broker").rglob("*.py"))
ERRORS = list(every_error())
OPERATIONS = (ROOT / "docs/admin/operations.md").read_text(encoding="utf-8")
WRITES_A_LINE = r"(_log|LOGGER)\.(info|warning|error)|write_event"

EACH_DOCUMENT = pytest.mark.parametrize(
    "document", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in DOCUMENTS]
)

# Unusable settings end the service before anyone can see a page.
EACH_SHOWN = pytest.mark.parametrize(
    "error", [one for one in ERRORS if one is not SettingsError], ids=lambda error: error.code
)


def without_code(markdown: str) -> str:
    """Remove code, in blocks and in lines: a bracket in code is not a link."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL))


def code_blocks(markdown: str) -> list[str]:
    return re.findall(r"^ *```\w*\n(.*?)^ *```", markdown, flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ +(.+?) *$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sections_of_errors() -> dict[str, str]:
    text = (ROOT / "docs" / "admin" / "errors.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {
        heading.strip("` "): body.partition("\n# ")[0] for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_error_has_its_entry_and_every_entry_its_error() -> None:
    assert sorted(sections_of_errors()) == sorted(error.code for error in ERRORS)


@EACH_SHOWN
def test_an_entry_says_what_the_person_gets(error: type[BrokerError]) -> None:
    entry = " ".join(sections_of_errors()[error.code].split())  # a line may end within the sentence
    assert str(error.status) in entry
    assert f'"{error.user_message}"' in entry


@EACH_SHOWN
def test_an_error_has_a_code_a_status_and_words_for_the_person_and_the_admin(error: type[BrokerError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.user_message
    assert error.remedy
    assert 400 <= error.status < 600
    assert error.status != 500


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in ERRORS]
    assert len(set(codes)) == len(codes)


@EACH_DOCUMENT
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere in the world
        path, _, anchor = target.partition("#")
        file = (document.parent / unquote(path)).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("check", CHECKS)
def test_every_finding_names_a_section_that_exists(check: str) -> None:
    for guide in ("", *(kind.guide for kind in KINDS.values())):
        document, _, section = Topic("a subject", check, guide).ok("It is well.").doc.partition("#")
        assert section in anchors(ROOT / document), document


@EACH_DOCUMENT
def test_every_command_shown_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    blocks = "\n".join(code_blocks(text))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    shown = re.findall(r"^ *make +([a-z-]+)", blocks, flags=re.MULTILINE) + re.findall(r"`make ([a-z-]+)[^`]*`", text)
    assert set(shown) <= targets
    program = typer.main.get_command(app)
    assert isinstance(program, TyperGroup)
    assert set(re.findall(r"^ *(?:\S*/)?broker +([a-z][a-z-]+)", blocks, flags=re.MULTILINE)) <= set(program.commands)


@pytest.mark.parametrize("module", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in MODULES])
def test_a_module_points_to_documents_that_exist(module: Path) -> None:
    for named in re.findall(r"docs/[a-z0-9_/-]+\.md", module.read_text(encoding="utf-8")):
        assert (ROOT / named).exists(), named


def test_every_file_a_document_names_in_the_code_exists() -> None:
    for document in DOCUMENTS:
        for named in re.findall(r"`((?:broker|tests)/[\w/.-]+\.\w+)`", document.read_text(encoding="utf-8")):
            assert (ROOT / named).exists(), f"{document.name}: {named}"


def test_the_chart_knows_every_setting() -> None:
    assert values_schema.FILE.read_text(encoding="utf-8") == values_schema.text(), "make chart-table"


def first_column(header: str) -> set[str]:
    """Return the names in code in the first column of the table of operations.md with this header."""
    table = OPERATIONS.partition(f"\n| {header} |")[2].partition("\n\n")[0]
    assert table, header
    return {name for row in table.splitlines()[2:] for name in re.findall("`([^`]+)`", row.split(" | ")[0])}


def events_in(module: Path) -> Iterator[str]:
    """Yield the event of each call that writes a log line, with ... for each value in it."""
    for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or not re.fullmatch(WRITES_A_LINE, ast.unparse(call.func)):
            continue
        match call.args[0]:
            case ast.Constant(value=str(event)):
                yield event.replace("%s", "...")


def test_operations_lists_every_log_line_and_no_other() -> None:
    # Not written in a call: how a check or a request ended, and the line of a gap.
    chosen = {
        "check failed",
        "check warned",
        "sign-in",
        "test sign-in",
        "request refused",
        "log lines dropped",
        emergency.EVENT,
    }
    for event in chosen:
        assert any(f'"{event}"' in module.read_text(encoding="utf-8") for module in MODULES), event
    assert first_column("event") == chosen | {event for module in MODULES for event in events_in(module)}


def test_operations_lists_every_metric_and_no_other() -> None:
    code = (ROOT / "broker/metrics.py").read_text(encoding="utf-8")
    listed = {name.removesuffix("_total") for name in first_column("metric")} - {"process_*", "python_*"}
    assert listed == set(re.findall(r'"(comm100_sso_\w+)"', code))


def test_operations_lists_every_key_of_readyz_and_no_other() -> None:
    code = (ROOT / "broker/web/operations.py").read_text(encoding="utf-8").partition("def _state(")[2]
    keys = re.findall(r'^        "(\w+)":|state\["(\w+)"\]', code, flags=re.MULTILINE)
    assert first_column("key of a provider") == {one or other for one, other in keys}
