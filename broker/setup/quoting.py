"""Values inside commands: quoted so that a shell or Terraform takes them as they stand, whatever is in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

shell = shlex.quote
"""Quotes one word for a POSIX shell."""


def hcl(value: str) -> str:
    """Return a string of Terraform's language.

    Its escapes are JSON's, but for its own templates
    (https://developer.hashicorp.com/terraform/language/expressions/strings).

    Args:
        value: any text.
    """
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def hcl_list(values: Iterable[str]) -> str:
    """Return a list of strings of Terraform's language.

    Args:
        values: any texts.
    """
    return f"[{', '.join(map(hcl, values))}]"
