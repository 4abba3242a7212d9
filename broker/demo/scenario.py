"""The demo's people, and the settings that its broker runs with."""

import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from broker.demo.pages import render

ADMITTED_DOMAIN = "acme.example"


@dataclass(frozen=True, slots=True)
class Person:
    """A person with an account at the demo's identity provider."""

    subject: str
    name: str
    email: str
    note: str


PEOPLE = (
    Person("ada", "Ada Lovelace", f"ada@{ADMITTED_DOMAIN}", "works at Acme, is an agent"),
    Person("grace", "Grace Hopper", f"grace@{ADMITTED_DOMAIN}", "works at Acme, is an agent"),
    Person("charles", "Charles Babbage", "charles@partner.example", "works elsewhere: the broker refuses him"),
)
ADMITTED = tuple(person for person in PEOPLE if person.email.endswith(f"@{ADMITTED_DOMAIN}"))
REFUSED = tuple(person for person in PEOPLE if person not in ADMITTED)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The addresses and credentials that connect the demo's parts.

    Args:
        operations: as host:port; all other addresses have a scheme.
    """

    public_url: str
    operations: str
    endpoint: str
    start_url: str
    shared_secret: str = field(repr=False)
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


def write_settings(folder: Path, wiring: Wiring) -> Path:
    """Write the settings file and its secrets, readable by their owner alone, and return the settings file."""
    text = render(
        "broker.yaml.j2",
        **asdict(wiring),
        listen=wiring.public_url.removeprefix("http://"),
        domain=ADMITTED_DOMAIN,
        agent=ADMITTED[0].email,
        secret_keys_file=_write_secret(folder / "broker-keys", secrets.token_urlsafe(48)),
        shared_secret_file=_write_secret(folder / "comm100-shared-secret", wiring.shared_secret),
        client_secret_file=_write_secret(folder / "client-secret", wiring.client_secret),
    )
    file = folder / "broker.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def _write_secret(file: Path, secret: str) -> str:
    file.touch(mode=0o600)
    file.write_text(f"{secret}\n", encoding="utf-8")
    return str(file)
