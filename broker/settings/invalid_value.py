"""What a validator raises: why a value cannot be used, in our own words.

It owns the sentence. It never holds a value that could be a secret, so that none can slip into a report.
"""

from __future__ import annotations


class InvalidValue(ValueError):
    """A value that cannot be used.

    Args:
        problem: what is wrong, as the rest of a sentence that begins with the setting's name.
        key: the key to name instead of the field's, such as `client_secret_file`.
        example: the line to show instead of the field's example.
    """

    def __init__(self, problem: str, *, key: str | None = None, example: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.example = example


class CannotBeRead(InvalidValue):
    """A file that is not there, or is kept from us."""
