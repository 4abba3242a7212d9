"""The commands; thin: each calls the one function that does the work."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from broker.settings import Settings


EXIT_UNUSABLE_SETTINGS = 2

app = typer.Typer(
    name="broker",
    help="Signs Comm100 agents in with your organisation's OpenID Connect provider.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The settings file. Default: $BROKER_CONFIG, then ./broker.yaml.", show_default=False
    ),
]


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the service."""
    signal.signal(signal.SIGTERM, _stop)  # until the service takes signals itself: loading it takes a while
    from broker import server, telemetry

    settings = _settings(config)
    telemetry.log_to(sys.stdout, keeps_addresses=settings.log_email == "plain")
    try:
        server.serve(settings)
    except OSError as error:
        typer.echo(f"The service cannot start: {error.strerror or error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE_SETTINGS) from None


@app.command()
def demo(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The first port wanted.", show_default=False)
    ] = None,
) -> None:
    """Run everything on this machine: an OpenID provider, a Comm100 stand-in, and the broker between them."""
    from broker import demo as embedded

    raise typer.Exit(embedded.run(port))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings file."""
    from broker.settings import settings_schema

    typer.echo(json.dumps(settings_schema(), indent=2))


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """Run the command line."""
    app()


def _settings(config: Path | None) -> Settings:
    """Load the settings, or print every mistake and end."""
    from broker.errors import SettingsError
    from broker.settings import describe, load_settings

    try:
        return load_settings(_settings_file(config), os.environ)
    except SettingsError as error:
        typer.echo(describe(error), err=True, nl=False)
        raise typer.Exit(EXIT_UNUSABLE_SETTINGS) from None


def _settings_file(config: Path | None) -> Path | None:
    """Return the file asked for, else the environment's, else ./broker.yaml if there is one."""
    if config is not None:
        return config
    if named := os.environ.get("BROKER_CONFIG"):
        return Path(named)
    usual = Path("broker.yaml")
    return usual if usual.exists() else None
