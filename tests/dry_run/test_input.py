"""What `broker explain` takes for claims, and what it says of anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jwt
import pytest

from broker.dry_run import INPUT_LIMIT
from tests.dry_run.asking import ADA, HOSTED, VERIFIED, Claims, run, write_settings


def token_of(claims: Claims) -> str:
    return jwt.encode(claims, "a key that the broker does not know, of some length", algorithm="HS256")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(token_of(HOSTED), id="a token"),
        pytest.param(f'  "{token_of(HOSTED)}"\n', id="a token in quotes"),
        pytest.param("\n".join(re.findall(".{1,60}", token_of(HOSTED))), id="a token over several lines"),
        pytest.param(json.dumps({"id_token": token_of(HOSTED), "access_token": "x"}), id="a token response"),
    ],
)
def test_a_whole_token_is_read_and_said_not_to_be_verified(tmp_path: Path, given: str) -> None:
    write_settings(tmp_path, "google")
    (tmp_path / "token").write_text(given, encoding="utf-8")
    ended = run(tmp_path, "--idp", "idp", "--claims", "token")
    assert ended.exit_code == 0
    assert ADA in ended.stdout
    assert "were not verified" in " ".join(ended.stdout.split())
    said = json.loads(run(tmp_path, "--idp", "idp", "--claims", "token", "--json").stdout)
    assert any("not verified" in note for note in said["notes"])
    assert token_of(HOSTED).split(".")[2] not in ended.output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_file_may_be_written_by_any_editor(tmp_path: Path, encoding: str) -> None:
    write_settings(tmp_path)
    (tmp_path / "c.json").write_bytes(json.dumps({**VERIFIED, "name": "Ådä"}, ensure_ascii=False).encode(encoding))
    said = json.loads(run(tmp_path, "--idp", "idp", "--claims", "c.json", "--json").stdout)
    assert said["name"] == "Ådä"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        pytest.param("", "neither a JSON object nor a token", id="nothing"),
        pytest.param("[]", "neither a JSON object nor a token", id="a list"),
        pytest.param('{\n"email": "a",\n}', "line 3, column 1", id="a comma too many, which is found"),
        pytest.param('{"sub": 1, "sub": 2}', "have a key twice", id="a member twice"),
        pytest.param('{"a": NaN}', "neither a JSON object", id="not a number"),
        pytest.param('{"a":' + "[" * 50_000, "nested too deep", id="nested without end"),
        pytest.param('{"a": 1' + "0" * 5000 + "}", "neither a JSON object", id="a number without end"),
        pytest.param(b"\xff\xfe\xff", "not text", id="bytes"),
        pytest.param(" " * (INPUT_LIMIT + 1), "larger than", id="too much"),
        pytest.param('{"userinfo": {"email": "a"}}', "id_token must be", id="userinfo without ID token"),
        pytest.param('{"id_token": 7}', "id_token must be", id="a number for an ID token"),
        pytest.param('{"id_token": "7"}', "id_token is not a token", id="a text that is no token"),
        pytest.param('{"id_token": {}, "userinfo": "x"}', "userinfo must be", id="a text for userinfo"),
        pytest.param("a.b.c", "truncated", id="a token cut"),
        pytest.param("e30.W10.", "are not a JSON object", id="a token of a list"),
        pytest.param("eyJ.a.b.c.d", "encrypted", id="an encrypted token"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(tmp_path: Path, given: str | bytes, complaint: str) -> None:
    write_settings(tmp_path)
    ended = run(tmp_path, "--idp", "idp", "--claims", "-", stdin=given)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert complaint in ended.stderr
    assert isinstance(ended.exception, SystemExit)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--idp", "okta", "--claims", "-"], "Known: idp", id="an unknown provider"),
        pytest.param(["--idp", "idp", "--claims", "-", "--site", "eu"], "Known: main", id="an unknown site"),
        pytest.param(["--idp", "idp", "--claims", "nothing.json"], "nothing.json", id="no such file"),
        pytest.param(["--idp", "idp", "--claims", "."], "Is a directory", id="a directory"),
        pytest.param(["--idp", "idp", "--claims", "-", "--config", "no.yaml"], "no.yaml", id="no settings"),
        pytest.param(["--idp", "idp"], "--claims", id="no claims asked about"),
        pytest.param(["--claims", "-"], "--idp", id="no provider asked about"),
    ],
)
def test_a_question_that_makes_no_sense_ends_with_status_2(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    write_settings(tmp_path)
    ended = run(tmp_path, *arguments, stdin="{}")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert complaint in ended.stderr
    assert isinstance(ended.exception, SystemExit)
