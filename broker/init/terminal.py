"""A person at a terminal: what is shown, and what they type.

It owns the reading and the layout. A secret is read without being shown, and is never shown afterwards.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import Protocol

import typer

_WIDEST = 88  # characters of a line
_YES_OR_NO = {"y": True, "yes": True, "n": False, "no": False}


class Person(Protocol):
    """Somebody who can be told something and asked something."""

    def head(self, text: str) -> None:
        """Begin a part."""

    def say(self, text: str = "") -> None:
        """Show a sentence, wrapped."""

    def show(self, text: str) -> None:
        """Show a line as it is, to be copied."""

    def ask(self, what: str, *, default: str = "", hidden: bool = False) -> str:
        """Return what they type; empty for nothing."""

    def agree(self, question: str, *, default: bool) -> bool:
        """Return whether they agree."""


class Terminal:
    """The terminal this command was started in."""

    def head(self, text: str) -> None:
        """Begin a part.

        Args:
            text: its name.
        """
        typer.echo()
        typer.secho(text, bold=True)

    def say(self, text: str = "") -> None:
        """Show a sentence, wrapped.

        Args:
            text: what a provider said is in it made printable already.
        """
        width = min(shutil.get_terminal_size().columns, _WIDEST) - 1
        typer.echo("\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)))

    def show(self, text: str) -> None:
        """Show a line as it is, to be copied.

        Args:
            text: the line.
        """
        typer.echo(text)

    def ask(self, what: str, *, default: str = "", hidden: bool = False) -> str:
        """Return what the person types; empty for nothing.

        Args:
            what: the name of the answer.
            default: taken for nothing.
            hidden: it is a secret.

        Raises:
            Abort: Ctrl-C or Ctrl-D.
        """
        shown = typer.style(what, fg="cyan")
        while True:
            try:
                text: str = typer.prompt(shown, default=default, show_default=bool(default), hide_input=hidden)
                text.encode()  # raises for a lone surrogate, which is a byte that was no UTF-8
            except UnicodeError:
                self.say(f"{what} holds a character this terminal did not send as UTF-8. Type or paste it once more.")
            else:
                return text

    def agree(self, question: str, *, default: bool) -> bool:
        """Return whether the person agrees.

        Args:
            question: with yes or no for an answer.
            default: taken for nothing.

        Raises:
            Abort: Ctrl-C or Ctrl-D.
        """
        shown = f"{typer.style(question, fg='cyan')} [{'Y/n' if default else 'y/N'}]"
        while True:
            text: str = typer.prompt(shown, default="", show_default=False)
            if text.strip().lower() in _YES_OR_NO:
                return _YES_OR_NO[text.strip().lower()]
            if not text.strip():
                return default
            self.say("Please answer y for yes or n for no.")
