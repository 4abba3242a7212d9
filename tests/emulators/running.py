"""Runs a company that has Okta, Entra and Google as npm's `emulate` shows them, the broker, and two Comm100 sites.

Owns who works there, and what is registered with whom. Refuses to know what ought to come of a sign-in.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.demo.comm100 import ENDPOINT_PATH, SIGN_IN_PATH, Agent, Received, create_comm100
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, running_broker, served
from tests.providers_real.programs import HERE, NODE, STOP_SECONDS

SHARED_SECRETS = {
    "acme": "c2l0ZS1hY21lLXNoYXJlZC1zZWNyZXQtZm9yLXRlc3Rz",
    "labs": "c2l0ZS1sYWJzLXNoYXJlZC1zZWNyZXQtZm9yLXRlc3Rz",
}
CLIENT_SECRET = (
    "a:b%2Bc-d+e/f&g=h"  # form-encoded before it becomes Basic (RFC 6749, 2.3.1); a space the emulators misread
)
TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"

ADA = Agent("ada@acme.example", "Ada Lovelace")
GRACE = Agent("grace@acme-eu.example", "Grace Hopper")
KATHERINE = Agent("katherine@acme-us.example", "Katherine Johnson")
ANNIE = Agent("annie@labs.acme.example", "Annie Easley")
GUEST = Agent("eve_elsewhere.example#EXT#@acme-eu.example", "Eve Guest")
STRANGER = "Test User"  # whom each emulator adds: testuser@okta.local, @outlook.com (a personal account), @gmail.com
PEOPLE: Mapping[str, list[dict[str, object]]] = {
    "okta": [
        {"login": "alovelace@acme.example", "email": ADA.email, "first_name": "Ada", "last_name": "Lovelace"},
        {"login": ANNIE.email, "first_name": "Annie", "last_name": "Easley"},
    ],
    "microsoft": [{"email": one.email, "name": one.name, "tenant_id": TENANT} for one in (GRACE, GUEST)],
    "google": [{"email": KATHERINE.email, "name": KATHERINE.name, "hd": "acme-us.example"}],
}


@dataclass(frozen=True, slots=True)
class Site:
    """A Comm100 site: its origin, and what its endpoint received so far."""

    url: str
    received: list[Received]

    @property
    def sign_in_page(self) -> str:
        return self.url + SIGN_IN_PATH


@dataclass(frozen=True, slots=True)
class Company:
    """Everything under way: the broker, the sites by id, and the emulators' addresses by name."""

    broker: BrokerProcess
    sites: Mapping[str, Site]
    emulators: Mapping[str, str]


@contextmanager
def running_company(folder: Path) -> Iterator[Company]:
    """Run everything while the block runs, registered with each other."""
    port = free_port()
    broker_url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        emulators = stack.enter_context(_emulators(folder / "emulators.log", _seeds(broker_url)))
        sites = {id_: stack.enter_context(_site(id_, broker_url)) for id_ in SHARED_SECRETS}
        settings = _settings(broker_url, sites, emulators)
        broker = stack.enter_context(running_broker(folder, settings, public_port=port))
        yield Company(broker, sites, emulators)


@contextmanager
def _emulators(log: Path, seeds: Mapping[str, object]) -> Iterator[dict[str, str]]:
    assert (HERE / "node_modules" / "emulate").is_dir(), "emulate is not installed: `make test` does it."
    command = [str(NODE), str(HERE / "emulators.mjs"), json.dumps(seeds)]
    clean = {
        name: value for name, value in os.environ.items() if not name.endswith(("EMULATE_BASE_URL", "PORTLESS_URL"))
    }
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=clean) as node:
        try:
            assert node.stdout is not None
            first_line = node.stdout.readline()
            assert first_line, f"the emulators did not start:\n{log.read_text()}"
            yield json.loads(first_line)
        finally:
            node.terminate()
            node.wait(STOP_SECONDS)


@contextmanager
def _site(id_: str, broker_url: str) -> Iterator[Site]:
    port = free_port()
    site = Site(f"http://127.0.0.1:{port}", [])
    application = create_comm100(
        public_url=site.url,
        agents=[ADA, GRACE, KATHERINE, ANNIE],
        shared_secret=SHARED_SECRETS[id_],
        remote_login_url=f"{broker_url}/login/{id_}",
        remote_logout_url=f"{broker_url}/logout/{id_}",
        received=site.received,
    )
    with served(application, port):
        yield site


def _seeds(broker_url: str) -> dict[str, object]:
    """What each emulator is told: its people, and the broker as its client."""

    def client(provider: str, **more: str) -> dict[str, object]:
        # The emulators have no list of their own for addresses to come back to after signing out.
        uris = [f"{broker_url}/callback/{provider}", f"{broker_url}/logout"]
        known = {"client_id": f"broker-{provider}", "client_secret": CLIENT_SECRET, "name": "Comm100"}
        return {**known, "redirect_uris": uris, **more}

    clients = {
        "okta": [client("okta", auth_server_id="org"), client("okta_labs", auth_server_id="default")],
        "microsoft": [client("entra")],
        "google": [client("google")],
    }
    return {name: {"users": PEOPLE[name], "oauth_clients": clients[name]} for name in clients}


def _settings(broker_url: str, sites: Mapping[str, Site], emulators: Mapping[str, str]) -> dict[str, object]:
    def provider(id_: str, preset: str, issuer: str, domain: str, **more: str) -> dict[str, object]:
        registered = {"preset": preset, "issuer": issuer, "client_id": f"broker-{id_}", "client_secret": CLIENT_SECRET}
        return {**registered, "email_domains": [domain], **more}

    okta, entra, google = emulators["okta"], f"{emulators['microsoft']}/{TENANT}/v2.0", emulators["google"]
    offered = {"acme": ["okta", "entra", "google"], "labs": ["okta_labs"]}
    return {
        "public_url": broker_url,
        "secret_keys": ["k" * 20 + "0123456789abcdef0123456789abcdef"],
        "support_email": "it-desk@acme.example",
        "sites": {
            id_: {
                "endpoint": site.url + ENDPOINT_PATH,
                "shared_secret": SHARED_SECRETS[id_],
                "identity_providers": offered[id_],
                "start_url": site.sign_in_page,
            }
            for id_, site in sites.items()
        },
        "identity_providers": {
            "okta": provider("okta", "okta", okta, "acme.example", label="Acme Okta"),
            "entra": provider("entra", "entra", entra, "acme-eu.example", tenant=TENANT, label="Acme Europe"),
            "google": provider("google", "google", google, "acme-us.example", label="Acme America"),
            "okta_labs": provider("okta_labs", "okta", f"{okta}/oauth2/default", "labs.acme.example"),
        },
    }
