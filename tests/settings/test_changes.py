"""The digests of a start: they tell where two starts differ, and no value."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from broker.settings import digests_of
from tests.settings.admin import Admin

SECTIONS = ["all", "top", "sites.main", "identity_providers.okta"]
PRINT = """
import sys
from pathlib import Path
from broker.settings import digests_of, load_settings
print(digests_of(load_settings(Path(sys.argv[1]), {})))
"""


def digests(admin: Admin, tree: dict[str, Any]) -> dict[str, str]:
    found = dict(one.split(" ") for one in digests_of(admin.load(tree)))
    assert list(found) == SECTIONS
    return found


def differing(admin: Admin, other: dict[str, Any]) -> list[str]:
    before, after = digests(admin, admin.settings()), digests(admin, other)
    return [name for name in SECTIONS if before[name] != after[name]]


def test_only_the_section_that_changed_has_another_digest(admin: Admin) -> None:
    tree = admin.settings()
    tree["sites"]["main"]["token_lifetime"] = 30
    assert differing(admin, tree) == ["all", "sites.main"]
    assert differing(admin, {**admin.settings(), "log_email": "none"}) == ["all", "top"]
    assert differing(admin, admin.settings()) == []


def test_a_secret_does_not_enter(admin: Admin) -> None:
    before = digests(admin, admin.settings())
    admin.secret("keys", "another-key-of-the-broker-0123456789abcdef")
    assert digests(admin, admin.settings()) == before


def test_two_processes_agree(admin: Admin) -> None:
    command = [sys.executable, "-c", PRINT, str(admin.write(admin.settings()))]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert first == second
    assert first.startswith("('all ")
