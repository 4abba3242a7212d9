"""The admin every settings test begins with."""

from pathlib import Path

import pytest

from tests.settings.admin import Admin


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    """An admin whose folder holds good secrets."""
    found = Admin(tmp_path)
    found.secret("keys")
    found.secret("shared-secret")
    found.secret("client-secret")
    return found
