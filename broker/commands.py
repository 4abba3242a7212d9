"""The commands: each reads its options and calls the function that does the work."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker import start
from broker.signing import MAX_HOURS
from broker.start import CONFIG_OPTION, EXIT_UNUSABLE

if TYPE_CHECKING:
    from broker.emergency import EmergencyLink
    from broker.settings import Listen, Settings

REPORT_SECONDS = 1.0  # for the running service to take the report of an emergency link

app = typer.Typer(
    name="broker",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        CONFIG_OPTION,
        metavar="FILE",
        help="The settings file. Default: $BROKER_CONFIG, then ./broker.yaml.",
        show_default=False,
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        from broker.metrics import installed_version

        typer.echo(f"broker {installed_version()}")
        raise typer.Exit


@app.callback()
def overview(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Sign Comm100 agents in with your organisation's OpenID Connect provider."""


@app.command()
def init(  # noqa: PLR0913, PLR0917 - one argument for each option
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The settings file to write. Default: $BROKER_CONFIG, then ./broker.yaml.",
            show_default=False,
        ),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The address at which browsers reach the broker.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="KIND", help="okta, entra, google, or oidc for any other provider.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(metavar="URL", help="The provider's issuer, for okta and oidc.")] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="The tenant ID or a domain of the tenant, for entra.")
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="The provider's id in the settings, part of the redirect URI. Default: the kind."
        ),
    ] = None,
    client_id: Annotated[str | None, typer.Option(metavar="ID", help="The client ID at the provider.")] = None,
    client_secret_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file with the client secret; - is standard input.")
    ] = None,
    client_secret_expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="The expiry date of the client secret, as 2027-03-31.")
    ] = None,
    email_domain: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="A domain of your agents' addresses; repeat for another domain."),
    ] = None,
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="Comm100's JWT SSO endpoint.")] = None,
    agents_address: Annotated[
        str | None, typer.Option(metavar="URL", help="The address in the address bar when signed in to Comm100.")
    ] = None,
    shared_secret_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file with Comm100's shared secret; - is standard input.")
    ] = None,
    trusted_ca_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Certificates of your own authority, in PEM form.")
    ] = None,
    allow_private_network: Annotated[
        bool, typer.Option("--allow-private-network", metavar="", help="The provider may be on a private address.")
    ] = False,
    outbound_proxy: Annotated[str | None, typer.Option(metavar="URL", help="The proxy to the internet.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="A scope to request; repeat for another scope. Default: by the kind."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace existing files.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", help="Send no requests, neither for the answers nor in the check.")
    ] = False,
) -> None:
    """Ask for the values needed, write the settings file and the secrets, and check them."""
    given = _given(
        public_url=public_url, preset=provider, issuer=issuer, tenant=tenant, id=id_, client_id=client_id,
        client_secret_expires=client_secret_expires, email_domains=",".join(email_domain or ()) or None,
        endpoint=endpoint, redirect_hosts=agents_address, trusted_ca_file=trusted_ca_file,
        outbound_proxy=outbound_proxy, scopes=" ".join(scope or ()) or None,
        allow_private_network="yes" if allow_private_network else None,
    )  # fmt: skip
    secret_files = _given(client_secret=client_secret_file, shared_secret=shared_secret_file)
    _set_up(config, given, secret_files, overwrite=overwrite, offline=offline)


@app.command()
def check(
    config: ConfigOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", help="Run only the checks that need no network.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> None:
    """Check the settings, each identity provider and each site, and print what to correct."""
    from broker import checks
    from broker.errors import SettingsError
    from broker.settings import load_settings

    try:
        settings = load_settings(start.settings_file(config), os.environ) if as_json else start.read_settings(config)
    except SettingsError as error:
        typer.echo(json.dumps(checks.as_json(checks.unusable_settings(error.mistakes)), indent=2))
        raise typer.Exit(EXIT_UNUSABLE) from None
    raise typer.Exit(0 if _print_checks(settings, offline=offline, as_json=as_json) else 1)


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the broker until SIGTERM or Ctrl-C. SIGHUP applies changed settings."""
    start.serve(config)


@app.command("setup-link")
def setup_link(
    hours: Annotated[
        int, typer.Option("--hours", metavar="HOURS", min=1, max=MAX_HOURS, help="The lifetime of the link in hours.")
    ] = 1,
    config: ConfigOption = None,
) -> None:
    """Print a link to the setup page. Protect the link like a password: it opens the page for anybody."""
    from broker.signing import build_setup_url, make_link

    settings = start.read_settings(config)
    keys = settings.secret_keys.reveal()
    link = make_link(public_url=settings.public_url, hours=hours, now=time.time(), secret_keys=keys)
    typer.echo(build_setup_url(settings.public_url, link.token))


@app.command("emergency-link")
def emergency_link(
    email: Annotated[str, typer.Option("--email", metavar="ADDRESS", help="The agent's address, of emergency_access.")],
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="ID", help="The Comm100 site. Default: the first in the settings.", show_default=False
        ),
    ] = None,
    redirect_url: Annotated[
        str | None,
        typer.Option("--redirect-url", metavar="URL", help="The page of Comm100 to open.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print an address that signs one agent in while the provider is down. Whoever opens it first is this agent."""
    from broker import dry_run, emergency
    from broker.wiring import email_domains_of, wire_site

    settings = start.read_settings(config)
    try:
        site_id = dry_run.pick("site", "is in the settings", site, tuple(settings.sites))
    except dry_run.UnusableInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    wired = wire_site(settings, site_id)
    try:
        link = emergency.issue_link(
            email,
            redirect_url or None,
            wired,
            listed=settings.sites[site_id].emergency_access,
            email_domains=email_domains_of(settings, wired),
            now=time.time(),
        )
    except emergency.NotIssued as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from None
    facts = _log_emergency_link(settings, site_id, link)
    print(link.address, flush=True)
    _report_emergency_link(settings, facts)


@app.command()
def explain(
    idp: Annotated[str, typer.Option("--idp", metavar="ID", help="The identity provider, by its id in the settings.")],
    claims: Annotated[
        typer.FileBinaryRead,
        typer.Option(
            "--claims", metavar="FILE", help="The file with the claims of a person, in JSON; - is standard input."
        ),
    ],
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="ID",
            help="The Comm100 site. Default: the first site that offers the provider.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> None:
    """Tell whether a person with these claims is admitted, why, and what Comm100 would get."""
    from broker import dry_run
    from broker.wiring import sites_of, wire_provider, wire_site

    settings = start.read_settings(config)
    try:
        provider_id = dry_run.pick("identity provider", "is in the settings", idp, tuple(settings.identity_providers))
        site_id = dry_run.pick("site", f"offers {provider_id}", site, sites_of(settings, provider_id))
        given = dry_run.read_claims(claims.read(dry_run.INPUT_LIMIT + 1))
    except dry_run.UnusableInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    provider = wire_provider(settings, provider_id)
    explanation = dry_run.explain(provider, wire_site(settings, site_id), given, now=time.time())
    _echo(dry_run.to_json(explanation) if as_json else dry_run.to_text(explanation))
    raise typer.Exit(0 if explanation.admitted else 1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings file."""
    from broker.settings.schema import settings_schema

    typer.echo(json.dumps(settings_schema(), indent=2))


@app.command()
def demo(
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=65535, help="The first of four ports. Default: 8000.", show_default=False),
    ] = None,
) -> None:
    """Run the broker with an identity provider and a Comm100 stand-in on this machine."""
    from broker.demo import run

    raise typer.Exit(run(port))


def _log_emergency_link(settings: Settings, site: str, link: EmergencyLink) -> dict[str, object]:
    """Write one line of the use to standard error, and return its facts."""
    from broker import emergency
    from broker.log import EventLog, format_event

    log = EventLog(log_email=settings.log_email, secret_keys=settings.secret_keys.reveal)
    facts = {"site": site, **log.describe(link.identity), "token_id": link.token_id, "seconds": link.seconds}
    keeps_addresses = settings.log_email == "plain"
    typer.echo(format_event(emergency.EVENT, facts, logging.WARNING, keeps_addresses=keeps_addresses), err=True)
    return facts


def _report_emergency_link(settings: Settings, facts: dict[str, object]) -> None:
    """Have the running service write the line to its log, too, if there is one; give up after `REPORT_SECONDS`.

    Another program may hold the port, and never end its answer: the end of the command does not wait for it.
    """
    from urllib.parse import urlencode

    from broker import emergency

    report = emergency.sign_report(facts, now=time.time(), secret_keys=settings.secret_keys.reveal())
    target = f"{emergency.PATH}?{urlencode({'report': report})}"
    sending = threading.Thread(target=_post, args=(settings.operations_listen, target), daemon=True)
    sending.start()
    sending.join(REPORT_SECONDS)


def _post(listen: Listen, target: str) -> None:
    import http.client

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104
    with suppress(OSError, ValueError, http.client.HTTPException):
        connection = http.client.HTTPConnection(host, listen.port, timeout=REPORT_SECONDS)
        with closing(connection):
            connection.request("POST", target)
            connection.getresponse()


def _given(**options: str | None) -> dict[str, str]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _set_up(
    config: Path | None, given: dict[str, str], secret_files: dict[str, str], *, overwrite: bool, offline: bool
) -> None:
    """Write the settings and the secrets, check them, and print the next steps."""
    from broker.init import NotWritten, Probe, Request, next_steps, set_up

    request = Request(
        config or Path(os.environ.get("BROKER_CONFIG") or "broker.yaml"),
        given,
        secret_files,
        overwrite=overwrite,
        interactive=sys.stdin.isatty() and sys.stdout.isatty(),
    )
    try:
        written = set_up(request, None if offline else Probe())
    except NotWritten as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("\nStopped. Nothing was written.", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    typer.echo("\nWritten:\n" + "".join(f"  {file}\n" for file in written.files))
    good = _check_written(request.config, offline=offline)
    typer.echo(f"\n{next_steps(written.answers, request.config, registered=request.interactive, all_good=good)}")


def _print_checks(settings: Settings, *, offline: bool, as_json: bool = False) -> bool:
    """Run all checks, print the findings, and return whether no check failed."""
    import asyncio

    from rich.console import Console

    from broker import checks
    from broker.check_runs import run_checks
    from broker.checks.report import print_report, watching

    with asyncio.Runner() as runner:
        with watching(Console(stderr=True)) as begin:
            findings = runner.run(run_checks(settings, offline=offline, begin=begin))
        # Inside the block: the end of the loop waits for a name server that does not answer.
        if as_json:
            typer.echo(json.dumps(checks.as_json(findings), indent=2))
        else:
            print_report(findings, Console(highlight=False))
    return checks.all_good(findings)


def _check_written(config: Path, *, offline: bool) -> bool:
    """Run all checks with the settings just written; a failure leaves the files in place."""
    from broker.errors import SettingsError
    from broker.settings import describe, load_settings

    try:
        return _print_checks(load_settings(config, os.environ), offline=offline)
    except SettingsError as error:  # in the environment: the file was checked before
        typer.echo(describe(error), err=True, nl=False)
    except KeyboardInterrupt:
        typer.echo("\nThe check was stopped.", err=True)
    return False


def _echo(text: str) -> None:
    """Print a text, with escapes for characters that the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding))
