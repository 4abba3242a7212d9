"""The questions of `broker init` in order, the answers so far, and the settings that the answers become.

The settings package alone decides which answers are valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from broker.errors import Mistake, SettingsError
from broker.providers import KINDS, ProviderKind
from broker.registration import CONTROL_PANEL
from broker.settings import Settings, check_settings

SITE = "main"
_PROVIDER = "identity_providers.{id}"

# Stands in for answers that are still missing while others are validated. Never written and never sent.
_DRAFT: Mapping[str, Any] = {
    "public_url": "https://sso.acme.example",
    "preset": "oidc",
    "client_id": "not-asked-yet",
    "client_secret": "not-asked-yet",
    "email_domains": ("acme.example",),
    "endpoint": "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
    "shared_secret": "4f0c1be27a9d4e8db35a6f21c7e09d84",
}
_DRAFT_KEYS = {"secret_keys": ["9b1d6a40c2f84e7fa5360d18be72c94f"]}
_DRAFT_PLACE = {"issuer": "https://id.acme.example", "tenant": "00c1b2d3-4e5f-4a6b-8c7d-0e1f2a3b4c5d"}


@dataclass(frozen=True, slots=True)
class Answers:
    """The values of the settings to write; empty where there is no answer yet.

    Args:
        trusted_ca_file: an absolute path.
        fitted: further keys of the provider, required by its discovery document.
        domain: the domain by which the tenant was found.
    """

    public_url: str = ""
    preset: str = ""
    id: str = ""
    issuer: str = ""
    tenant: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_expires: str = ""
    email_domains: tuple[str, ...] = ()
    endpoint: str = ""
    shared_secret: str = field(default="", repr=False)
    trusted_ca_file: str = ""
    outbound_proxy: str = ""
    allow_private_network: bool = False
    scopes: tuple[str, ...] = ()
    fitted: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""

    @property
    def provider_id(self) -> str:
        """The provider's id in the settings: by default its kind."""
        return self.id or self.preset


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with its verdict.

    Args:
        answers: with this answer, unless the settings refuse it.
        verdict: `refused` by the settings; `wrong` according to the provider; `doubtful` if it is probably wrong or
            cannot be verified now.
        problem: whole sentences, or the rest of a sentence that begins with the answer's name.
        suggestion: the answer that was probably meant.
        needs: the key of the question without whose answer the provider cannot be reached.
        note: what was found out.
    """

    answers: Answers
    verdict: Literal["good", "refused", "wrong", "doubtful"] = "good"
    problem: str = ""
    suggestion: str = ""
    needs: str = ""
    note: str = ""


Applies = Callable[[Answers, bool], bool]
"""Whether an answer is needed, by the answers so far and whether the command line gives it."""


def _always(_answers: Answers, _given: bool) -> bool:
    return True


def _if_given(_answers: Answers, given: bool) -> bool:
    return given


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Args:
        path: of the setting; `{id}` stands for the provider's id.
        option: of the command line; for a secret it names the file that holds the secret.
        example: a right answer; for a secret, a file.
        hint: shown before the question; empty if the provider's console paths say more.
        part: the heading of a new part of the conversation.
        optional: the answer may stay empty.
    """

    path: str
    prompt: str
    option: str
    example: str
    hint: str = ""
    part: str = ""
    secret: bool = False
    optional: bool = False
    applies: Applies = _always

    @property
    def key(self) -> str:
        """The name of the answer, and the last part of its path."""
        return self.path.rpartition(".")[2].strip("{}")


def kind_of(preset: str) -> ProviderKind:
    """Return the kind of provider; any OpenID provider if the kind is not known."""
    return KINDS.get(preset, KINDS["oidc"])


def key_of_place(preset: str) -> str:
    """Return the key by which a provider of this kind is found; empty if the kind has one address or is not known."""
    return KINDS[preset].located_by if preset in KINDS else ""


def _is_place(key: str) -> Applies:
    """Return the rule for issuer and tenant: for an unknown kind of provider, neither can be judged."""
    return lambda answers, given: key_of_place(answers.preset) == key or (given and bool(answers.preset))


def hint_for(question: Question, answers: Answers) -> str:
    """Return what to show before a question: its hint, or where the provider's console shows the answer."""
    kind = kind_of(answers.preset)
    if question.key == "client_secret_expires":
        return kind.expiry_hint
    console_path = getattr(kind.console_paths(answers.issuer), question.key, "") if answers.preset else ""
    return question.hint or (f"See {console_path}." if console_path else "")


# ------------------------------------------------------------------------------------------------------ the questions

_ALL = (
    Question(
        "public_url", "Public URL", "--public-url", "https://sso.acme.example", part="1 of 3  The broker",
        hint="The address at which browsers reach the broker. To try it out on this machine: http://127.0.0.1:8000",
    ),
    Question(f"{_PROVIDER}.preset", "Provider", "--provider", "okta", part="2 of 3  Your identity provider"),
    Question("trusted_ca_file", "CA certificate file", "--trusted-ca-file", "acme-ca.pem", optional=True,
        hint="The certificate of your own certificate authority, in PEM format. Leave empty if you do not have it.",
        applies=_if_given,
    ),
    Question("outbound_proxy", "Outbound proxy", "--outbound-proxy", "http://proxy.acme.example:3128",
        applies=_if_given, optional=True,
    ),
    Question(f"{_PROVIDER}.allow_private_network", "Allow the private network", "--allow-private-network", "",
        applies=_if_given, optional=True,
    ),
    Question(f"{_PROVIDER}.scopes", "Scopes", "--scope", "openid", applies=_if_given, optional=True),
    Question(f"{_PROVIDER}.issuer", "Issuer", "--issuer", "https://id.acme.example",
        applies=_is_place("issuer"),
    ),
    Question(f"{_PROVIDER}.tenant", "Tenant ID", "--tenant", "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d",
        applies=_is_place("tenant"),
    ),
    Question(_PROVIDER, "Short name", "--id", "acme", optional=True,
        hint="The provider's name in addresses and, with several providers, on its button: lower-case letters and "
        "digits.",
        applies=lambda answers, given: given or kind_of(answers.preset).any_product,
    ),
    Question(f"{_PROVIDER}.client_id", "Client ID", "--client-id", "0oa1b2c3"),
    Question(f"{_PROVIDER}.client_secret", "Client secret", "--client-secret-file", "client-secret.txt", secret=True),
    Question(f"{_PROVIDER}.client_secret_expires", "Expires on", "--client-secret-expires", "2027-03-31",
        applies=lambda answers, given: given or bool(kind_of(answers.preset).expiry_hint), optional=True,
    ),
    Question(f"{_PROVIDER}.email_domains", "E-mail domains", "--email-domain", "acme.example",
        hint="The domains of your agents' e-mail addresses, separated by commas. People with any other address are "
        "refused.",
    ),
    Question(f"sites.{SITE}.endpoint", "JWT SSO endpoint", "--endpoint", str(_DRAFT["endpoint"]),
        part="3 of 3  Comm100", hint=f"Copy it from {CONTROL_PANEL}.",
    ),
    Question(f"sites.{SITE}.shared_secret", "Shared secret", "--shared-secret-file", "comm100-secret.txt", secret=True,
        hint="Copy it exactly as Comm100 displays it.",
    ),
)  # fmt: skip
QUESTIONS: Mapping[str, Question] = {question.key: question for question in _ALL}
"""Every question by its key, in the order in which they are asked."""


def with_answer(answers: Answers, key: str, text: str) -> Answers:
    """Return the answers with a further answer.

    Args:
        text: as typed; domains and scopes are separated by commas or spaces.
    """
    value: Any = text
    if key in ("email_domains", "scopes"):
        value = tuple(dict.fromkeys(re.split(r"[,;\s]+", text.strip(" ,;"))))
    elif key == "trusted_ca_file":
        value = str(Path(text).expanduser().absolute())  # the settings file may be written to another folder
    elif key == "allow_private_network":
        value = True
    return replace(answers, **{key: value})


def draft_settings(answers: Answers) -> Settings:
    """Return the settings that valid answers make, completed with stand-ins for the missing ones.

    Raises:
        SettingsError: an answer is not valid.
    """
    stand_ins = {key: value for key, value in _DRAFT.items() if not getattr(answers, key)}
    place = key_of_place(answers.preset or _DRAFT["preset"])
    if place and not getattr(answers, place):
        stand_ins[place] = kind_of(answers.preset).tenant_in(answers.issuer) or _DRAFT_PLACE[place]
    drafted = replace(answers, **stand_ins)
    return check_settings({**_tree(drafted), **_DRAFT_KEYS}, Path())


def find_mistake(answers: Answers, key: str) -> Mistake | None:
    """Return the settings' objection to one answer; None if it is valid.

    Args:
        answers: with this answer; all others are valid.
    """
    try:
        draft_settings(answers)
    except SettingsError as error:
        path = QUESTIONS[key].path.format(id=answers.provider_id)
        about = (mistake for mistake in error.mistakes if re.sub(r"\[\d+\]$", "", mistake.path) == path)
        return next(about, error.mistakes[0])
    return None


def _tree(answers: Answers) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for question in _ALL:
        value = getattr(answers, question.key)
        if not value or question.key == "id":
            continue
        *sections, key = (part.format(id=answers.provider_id) for part in question.path.split("."))
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = list(value) if isinstance(value, tuple) else value
    tree["identity_providers"][answers.provider_id].update(answers.fitted)
    return tree
