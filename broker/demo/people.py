"""Who the demo knows: the people the provider offers, and the domain the broker is told to admit."""

from dataclasses import dataclass

ADMITTED_DOMAIN = "acme.example"


@dataclass(frozen=True, slots=True)
class Person:
    """Someone with an account at the demo's identity provider."""

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
