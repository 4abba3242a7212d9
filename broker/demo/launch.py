"""Start the demo's three parts, print the instructions, and end everything on a signal."""

import importlib.util
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from broker.demo.comm100 import ENDPOINT_PATH, SIGN_IN_PATH, Agent, create_comm100
from broker.demo.scenario import ADMITTED, ADMITTED_DOMAIN, PEOPLE, REFUSED, Wiring, write_settings
from broker.demo.serving import (
    TICK,
    Ports,
    address_of,
    bind_ports,
    running_broker,
    serving_comm100,
    serving_provider,
    wait_until_ready,
)

_FIRST_PORT = 8000


def run(port: int | None) -> int:
    """Run the demo until Ctrl-C and return the exit status: 0, 1 if the broker fails, 2 without the extra `demo`.

    Args:
        port: the broker's port; None for 8000. Its operations port, the provider and the stand-in use the next three.
            A port in use is replaced by a free port.
    """
    if importlib.util.find_spec("oidc_provider_mock") is None:
        remedy = "pip install --require-hashes -r requirements-demo.lock"
        print(f"The demo needs one more package. From the checkout: {remedy}", file=sys.stderr)
        return 2
    with _deferred_signals() as must_stop, ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="comm100-sso-demo-")))
        ports = bind_ports(_FIRST_PORT if port is None else port)
        ending.callback(ports.close)
        wiring = _start_neighbours(ports, ending)
        settings_file, log = write_settings(folder, wiring), folder / "broker.log"
        ports.release_broker()
        broker = ending.enter_context(running_broker(settings_file, log))
        ready = wait_until_ready(wiring.operations, broker, must_stop)
        if must_stop():
            return 0
        if not ready:
            return _report_failure("did not start", log)
        print(_instructions(wiring, settings_file, log), flush=True)
        return _follow(broker, log, must_stop)


@contextmanager
def _deferred_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a stop signal came: a signal interrupts no step of the block."""
    signals: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores the end of the terminal
        numbers.append(signal.SIGHUP)
    before = [(number, signal.signal(number, lambda number, _frame: signals.append(number))) for number in numbers]
    try:
        yield lambda: bool(signals)
    finally:
        for number, action in before:
            signal.signal(number, action)


def _start_neighbours(ports: Ports, ending: ExitStack) -> Wiring:
    from broker.demo.provider import create_provider, register_broker  # needs the extra: `run` has checked for it

    public_url, issuer, site = (address_of(bound) for bound in (ports.broker, ports.provider, ports.comm100))
    provider = create_provider(PEOPLE)
    client_id, client_secret = register_broker(provider, issuer=issuer, redirect_uri=f"{public_url}/callback/demo")
    shared_secret = secrets.token_urlsafe(36)
    comm100 = create_comm100(
        public_url=site,
        agents=[Agent(person.email, person.name) for person in ADMITTED],
        shared_secret=shared_secret,
        remote_login_url=f"{public_url}/login",
        remote_logout_url=f"{public_url}/logout",
    )
    ending.enter_context(serving_provider(provider, ports.provider))
    ending.enter_context(serving_comm100(comm100, ports.comm100))
    return Wiring(
        public_url=public_url,
        operations=address_of(ports.operations).removeprefix("http://"),
        endpoint=site + ENDPOINT_PATH,
        start_url=site + SIGN_IN_PATH,
        shared_secret=shared_secret,
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
    )


def _follow(broker: subprocess.Popen[bytes], log: Path, must_stop: Callable[[], bool]) -> int:
    with log.open(encoding="utf-8", errors="replace") as lines:
        while not must_stop():
            if broker.poll() is not None:
                return _report_failure("ended by itself", log)
            print(lines.read(), end="", flush=True)
            time.sleep(TICK)
    print("\nStopping.", flush=True)
    return 0


def _report_failure(what: str, log: Path) -> int:
    output = log.read_text(encoding="utf-8", errors="replace").strip() or "(nothing)"
    print(f"The broker {what}. Its output:\n\n{output}", file=sys.stderr)
    return 1


def _instructions(wiring: Wiring, settings_file: Path, log: Path) -> str:
    admitted = " or ".join(person.name for person in ADMITTED)
    refused = REFUSED[0]
    return f"""
Comm100 single sign-on, complete on this machine.

  Open   {wiring.start_url}

  1. Choose "Sign in with Custom SSO".
  2. The identity provider asks who you are: choose {admitted}.
  3. You are back at the Comm100 stand-in, signed in. The page shows the broker's token.

  To see a refusal, sign out, sign in again and choose {refused.name}:
  {refused.email} is not an address at {ADMITTED_DOMAIN}, the only domain admitted here.

  To sign {ADMITTED[0].name} in without the provider and the broker, run in another terminal:
  broker emergency-link --email {ADMITTED[0].email} --config {settings_file}

  Broker             {wiring.public_url}, health and metrics at http://{wiring.operations}
  Identity provider  {wiring.issuer}
  Settings           {settings_file}
  Log                {log}

Ctrl-C ends everything and removes these files. The broker's log follows, one JSON object a line.
"""
