"""The questions of `broker init`, the answers, and the settings that the answers make.

The settings package alone decides which answers are valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from broker.comm100 import PLATFORM_HOSTS, is_on_newer_platform
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
    "issuer": "https://id.acme.example",
    "tenant": "00c1b2d3-4e5f-4a6b-8c7d-0e1f2a3b4c5d",
    "client_id": "not-asked-yet",
    "client_secret": "not-asked-yet",
    "email_domains": ("acme.example",),
    "endpoint": "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
    "shared_secret": "4f0c1be27a9d4e8db35a6f21c7e09d84",
}
_DRAFT_KEY = "9b1d6a40c2f84e7fa5360d18be72c94f"


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
    redirect_hosts: tuple[str, ...] = ()
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

    @property
    def kind(self) -> ProviderKind:
        """The kind of provider; any OpenID provider while the kind is not known."""
        return KINDS.get(self.preset, KINDS["oidc"])


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on an answer.

    Args:
        answers: with this answer, unless the settings refuse it.
        verdict: `refused` by the settings; `wrong` according to the provider; `doubtful` if the answer is probably
            wrong or cannot be verified now.
        problem: whole sentences, or the rest of a sentence that begins with the answer's name.
        needs: the key of the question whose answer is needed to reach the provider.
        note: what the provider says.
    """

    answers: Answers
    verdict: Literal["good", "refused", "wrong", "doubtful"] = "good"
    problem: str = ""
    suggestion: str = ""
    needs: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Args:
        path: of the setting; `{id}` stands for the provider's id.
        option: of the command line; for a secret it names the file that contains the secret.
        example: a right answer; for a secret, a file.
        hint: shown before the question; empty if the provider's console shows the answer.
        part: the heading of a new part of the conversation.
        optional: the answer may be empty, and most kinds of providers are not asked.
    """

    path: str
    prompt: str
    option: str
    example: str
    hint: str = ""
    part: str = ""
    secret: bool = False
    optional: bool = False

    @property
    def key(self) -> str:
        """The name of the answer, and the last part of its path."""
        return self.path.rpartition(".")[2].strip("{}")

    def applies(self, answers: Answers, *, given: bool) -> bool:
        """Return whether the question applies; `given` says that the command line has an answer."""
        kind = answers.kind
        by_kind = {
            "issuer": kind.located_by == "issuer",
            "tenant": kind.located_by == "tenant",
            "id": kind.any_product,
            "client_secret_expires": bool(kind.expiry_hint),
            "redirect_hosts": is_on_newer_platform(answers.endpoint),
        }
        if self.key in ("issuer", "tenant") and not answers.preset:
            return False  # neither can be judged while the kind is not known
        return given or by_kind.get(self.key, not self.optional)

    def hint_for(self, answers: Answers) -> str:
        """Return what to show before the question: its hint, or where the provider's console shows the answer."""
        if self.key == "client_secret_expires":
            return answers.kind.expiry_hint
        console_path = getattr(answers.kind.console_paths(answers.issuer), self.key, "") if answers.preset else ""
        return self.hint or (f"See {console_path}." if console_path else "")


QUESTIONS: Mapping[str, Question] = {question.key: question for question in (
    Question(
        "public_url", "Public URL", "--public-url", "https://sso.acme.example", part="1 of 3  The broker",
        hint="The address at which browsers reach the broker. To try it out on this machine: http://127.0.0.1:8000",
    ),
    Question(f"{_PROVIDER}.preset", "Provider", "--provider", "okta", part="2 of 3  Your identity provider"),
    Question(
        "trusted_ca_file", "CA certificate file", "--trusted-ca-file", "acme-ca.pem", optional=True,
        hint="The certificate of your own certificate authority, in PEM format. Leave empty if you do not have it.",
    ),
    Question("outbound_proxy", "Outbound proxy", "--outbound-proxy", "http://proxy.acme.example:3128", optional=True),
    Question(
        f"{_PROVIDER}.allow_private_network", "Allow the private network", "--allow-private-network", "", optional=True,
        hint="The risk: a person who controls the provider, or its name in DNS, can make the broker send requests to "
        "other machines in your network.",
    ),
    Question(f"{_PROVIDER}.scopes", "Scopes", "--scope", "openid", optional=True),
    Question(f"{_PROVIDER}.issuer", "Issuer", "--issuer", "https://id.acme.example"),
    Question(f"{_PROVIDER}.tenant", "Tenant ID", "--tenant", "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"),
    Question(
        _PROVIDER, "Short name", "--id", "acme", optional=True,
        hint="The provider's name in addresses and, with several providers, on its button: lower-case letters and "
        "digits.",
    ),
    Question(f"{_PROVIDER}.client_id", "Client ID", "--client-id", "0oa1b2c3"),
    Question(f"{_PROVIDER}.client_secret", "Client secret", "--client-secret-file", "client-secret.txt", secret=True),
    Question(
        f"{_PROVIDER}.client_secret_expires", "Expires on", "--client-secret-expires", "2027-03-31", optional=True,
    ),
    Question(
        f"{_PROVIDER}.email_domains", "E-mail domains", "--email-domain", "acme.example",
        hint="The domains of your agents' e-mail addresses, separated by commas. People with any other address are "
        "refused.",
    ),
    Question(
        f"sites.{SITE}.endpoint", "JWT SSO endpoint", "--endpoint", _DRAFT["endpoint"], part="3 of 3  Comm100",
        hint=f"Copy it from {CONTROL_PANEL}.",
    ),
    Question(
        f"sites.{SITE}.redirect_hosts", "Address in the address bar", "--agents-address", "https://dash17.comm100.io/",
        optional=True,
        hint="Sign in to Comm100 and copy the address from the browser's address bar: agents are sent back to its "
        f"host. Hosts seen so far: {PLATFORM_HOSTS}. Leave empty if you do not know it.",
    ),
    Question(
        f"sites.{SITE}.shared_secret", "Shared secret", "--shared-secret-file", "comm100-secret.txt", secret=True,
        hint="Copy it exactly as Comm100 displays it.",
    ),
)}  # fmt: skip
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
    elif key == "redirect_hosts":
        value = (re.sub(r"^[a-z]+://|[/?#].*$", "", text.strip().lower()),)
    elif key == "allow_private_network":
        value = True
    return replace(answers, **{key: value})


def draft_settings(answers: Answers) -> Settings:
    """Return the settings that valid answers make, completed with stand-ins for the missing answers.

    Raises:
        SettingsError: an answer is not valid.
    """
    kind = answers.kind
    draft = {**_DRAFT, "tenant": kind.tenant_in(answers.issuer) or _DRAFT["tenant"]}
    needless = {"issuer", "tenant"} - {kind.located_by}
    drafted = {key: value for key, value in draft.items() if not getattr(answers, key) and key not in needless}
    return check_settings({**_tree(replace(answers, **drafted)), "secret_keys": [_DRAFT_KEY]}, Path())


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
    for question in QUESTIONS.values():
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
