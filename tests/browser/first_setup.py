"""A first set-up as an admin does it: what is registered with whom, and the commands, as the programs they are.

The provider is npm's oidc-provider, which nobody here wrote; the site is the demo's strict Comm100 stand-in. Refuses to
know browsers, and what ought to come of a sign-in.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.demo.comm100 import ENDPOINT_PATH, SIGN_IN_PATH, Agent, Received, create_comm100
from tests.fakes.ports import free_port
from tests.fakes.processes import served, wait_until, without_broker_settings
from tests.init.terminal import ROOT, SECONDS, is_ready, serving
from tests.providers_real.programs import oidc_provider

CLIENT_ID = "comm100"
CLIENT_SECRET = "a:b%2Bc d+e/f&g=h"
SHARED_SECRET = "NTc4ZDk2YzQtMjU1Mi00YzFhLTk0ZjQtMGE3ZDkyMmQ1ZjE3"
ADA = Agent("ada@acme.example", "Ada Lovelace")
GRACE = Agent("grace@acme-eu.example", "Grace Hopper")
ACCOUNTS = {
    login: {"email": agent.email, "email_verified": True, "name": agent.name}
    for login, agent in {"ada": ADA, "grace": GRACE}.items()
}
NEXT_PROVIDER = """
  acme_eu:
    preset: oidc
    label: Acme Europe
    issuer: {issuer}
    client_id: comm100
    client_secret_file: secrets/client-secret
    client_secret_expires: 2099-01-01
    email_domains: [acme-eu.example]
    enabled: false
"""


@dataclass(frozen=True, slots=True)
class FirstSetup:
    """One machine with everything on it.

    Args:
        folder: with the settings file.
        public_url: of the broker.
        comm100: the site's origin.
        issuer: of the provider.
        received: each request to the site's JWT endpoint.
        operations_listen: where this broker has its health; others on this machine may have the usual port.
    """

    folder: Path
    public_url: str
    comm100: str
    issuer: str
    received: list[Received]
    operations_listen: str

    @property
    def endpoint(self) -> str:
        return self.comm100 + ENDPOINT_PATH

    @property
    def sign_in_page(self) -> str:
        return self.comm100 + SIGN_IN_PATH

    def init(self) -> str:
        """Answer every question of `broker init` by an option; return what it says."""
        return self.broker(
            *("init", "--public-url", self.public_url, "--provider", "oidc", "--id", "acme", "--issuer", self.issuer),
            *("--client-id", CLIENT_ID, "--client-secret-file", "../client-secret"),
            *("--client-secret-expires", "2099-01-01", "--email-domain", "acme.example"),
            *("--endpoint", self.endpoint, "--shared-secret-file", "../comm100-secret"),
        )

    def add_next_provider(self) -> None:
        """Write one more provider into the file, not yet offered to agents."""
        with (self.folder / "broker.yaml").open("a", encoding="utf-8") as file:
            file.write(NEXT_PROVIDER.format(issuer=self.issuer))

    def broker(self, *arguments: str) -> str:
        """Run a command where the settings are, and return what it prints; it has to end well."""
        ended = subprocess.run(
            [sys.executable, "-m", "broker", *arguments],
            cwd=self.folder,
            env=without_broker_settings(BROKER_OPERATIONS_LISTEN=self.operations_listen, PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run `broker serve` while the block runs."""
        with serving(self.folder, self.operations_listen):
            wait_until(lambda: is_ready(self.operations_listen), "the broker is ready")
            yield


@contextmanager
def neighbours(folder: Path) -> Iterator[FirstSetup]:
    """Run what is there before the broker is: the provider, where it is registered already, and the Comm100 site."""
    public_url, comm100 = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    received: list[Received] = []
    site = create_comm100(
        public_url=comm100,
        agents=[ADA, GRACE],
        shared_secret=SHARED_SECRET,
        remote_login_url=f"{public_url}/login",
        remote_logout_url=f"{public_url}/logout",
        clock=time.time,
        received=received,
    )
    registered = {
        "client": {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [f"{public_url}/callback/acme", f"{public_url}/callback/acme_eu"],
            "post_logout_redirect_uris": [f"{public_url}/logout"],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
        },
        "accounts": ACCOUNTS,
        "claims_in_id_token": False,
    }
    (folder / "client-secret").write_text(CLIENT_SECRET, encoding="utf-8")
    (folder / "comm100-secret").write_text(SHARED_SECRET, encoding="utf-8")
    settings = folder / "broker"
    settings.mkdir()
    with (
        served(site, int(comm100.rpartition(":")[2])),
        oidc_provider(folder / "provider.log", registered) as issuer,
    ):
        yield FirstSetup(settings, public_url, comm100, issuer, received, f"127.0.0.1:{free_port()}")
