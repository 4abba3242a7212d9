"""The conversation: what is asked in which order, and what happens to an answer that will not do.

It owns the order and the words between the questions. It never ends without an answer: what the settings refuse is
asked again, everything else may be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from broker.checks import fingerprint
from broker.init.answers import Answers, answered, find_mistake
from broker.init.questions import (
    ON_THE_WAY,
    QUESTIONS,
    Question,
    finds_the_provider,
    kind_of,
    where,
)
from broker.init.summary import lined_up, registration_of, to_register
from broker.init.terminal import Person
from broker.init.validation import Judged, Probe, Problem, judge
from broker.providers import KINDS
from broker.registration import CONTROL_PANEL


def converse(given: Mapping[str, str], person: Person, probe: Probe | None) -> Answers:
    """Ask for everything that is not given.

    Args:
        given: answers from the command line, by name; they are not asked for again unless they will not do.
        person: who is asked.
        probe: asks the provider; None: nobody is asked.

    Raises:
        Abort: the person had enough.
    """
    talk = _Talk(given, person, probe)
    _greet(person)
    person.head("1 of 3  The broker")
    answers = talk.ask(
        "public_url", Answers(), "Where browsers will reach it, or http://127.0.0.1:8000 to try it out here."
    )
    person.head("2 of 3  Your identity provider")
    answers = _find_provider(talk, answers)
    answers = _get_credentials(talk, answers)
    hint = kind_of(answers.preset).expiry_hint
    if hint or "client_secret_expires" in talk.given:
        answers = talk.ask("client_secret_expires", answers, hint, optional=True)
    answers = talk.ask(
        "email_domains",
        answers,
        "Which addresses do your agents have? The part behind the @, several joined by commas. People with any other "
        "address are refused.",
        default=_likely_domain(answers),
    )
    person.head("3 of 3  Comm100")
    answers = talk.ask("endpoint", answers, f"See {CONTROL_PANEL}.")
    answers = talk.ask("shared_secret", answers, "As it is displayed there. What you paste is not shown here.")
    length = len(answers.shared_secret.encode())
    person.say(f"Read: {length} bytes, fingerprint {fingerprint(answers.shared_secret)}.")
    return answers


class _Talk:
    """Asks until there is an answer.

    Args:
        given: answers from the command line.
        person: who is asked.
        probe: asks the provider.
    """

    def __init__(self, given: Mapping[str, str], person: Person, probe: Probe | None) -> None:
        self.given = given
        self.person = person
        self.probe = probe

    def ask(
        self,
        key: str,
        answers: Answers,
        hint: str = "",
        *,
        default: str = "",
        afresh: bool = False,
        optional: bool = False,
    ) -> Answers:
        """Return the answers with this one.

        Args:
            key: its name.
            answers: so far.
            hint: said before it is asked for.
            default: proposed.
            afresh: what was given will not do.
            optional: nothing is an answer, too.
        """
        question = QUESTIONS[key]
        text = "" if afresh else self.given.get(key, "")
        if hint and not text:
            self.person.say()
            self.person.say(hint)
        while True:
            text = text or self.person.ask(question.asks, default=default, hidden=question.hidden)
            if optional and not text:
                return answers
            judged = judge(key, text, answers, self.probe)
            if judged.objection is None:
                if judged.said:
                    self.person.say(judged.said)
                return judged.answers
            self.person.say(judged.objection.sentence(question.asks))
            helped = self._open_the_way(judged.objection, answers)
            if helped != answers:
                answers = helped  # the same text is judged once more
                continue
            if self._keeps(judged.objection, question):
                return judged.answers
            text, default = "", judged.objection.better or default

    def _open_the_way(self, objection: Problem, answers: Answers) -> Answers:
        """Return the answers with what the provider cannot be looked at without, if the person has it."""
        if objection.lacks == "trusted_ca_file":
            hint = (
                "The file with the certificate of your own authority, in PEM form. Leave empty if you do not have it."
            )
            return self.ask(objection.lacks, answers, hint, afresh=True, optional=True)
        if objection.lacks == "allow_private_network":
            self.person.say(
                "The risk: a person who controls the provider, or its name in DNS, can make the broker send requests "
                "to other machines in your network."
            )
            if self.person.agree("Allow the private network for this provider?", default=False):
                return answered(answers, objection.lacks, "yes")
        return answers

    def _keeps(self, objection: Problem, question: Question) -> bool:
        """Say whether the person keeps the answer all the same."""
        if objection.better:
            self.person.say(f"Probably {objection.better} is meant: press Enter to take it.")
            return False
        if objection.weight == "refused":
            self.person.say("Copy it once more." if question.hidden else f"For example: {objection.example}")
            return False
        return self.person.agree("Keep it anyway?", default=False)


def _greet(person: Person) -> None:
    person.say(
        "This writes the broker's settings: three values of your identity provider and two of Comm100 go in, two "
        "addresses for Comm100 come out."
    )
    person.say("Ctrl-C stops; nothing is written before the end.")
    person.say()
    person.say("Have at hand:")
    person.show("- the address at which browsers will reach the broker")
    person.show("- your identity provider's admin console, to register an application there")
    person.show("- Comm100's JWT SSO endpoint and shared secret")
    person.show(f"  {CONTROL_PANEL}")


def _find_provider(talk: _Talk, answers: Answers) -> Answers:
    person = talk.person
    if "preset" not in talk.given:
        for number, kind in enumerate(KINDS.values(), start=1):
            person.show(f"  {number}  {kind.title}")
    answers = talk.ask("preset", answers)
    for key in (one for one in ON_THE_WAY if one in talk.given):
        answers = talk.ask(key, answers)
    answers = talk.ask("id", answers) if "id" in talk.given else replace(answers, id=answers.preset)
    if "issuer" in talk.given and finds_the_provider(answers.preset) != ("issuer",):
        answers = talk.ask("issuer", answers)
    for key in finds_the_provider(answers.preset):
        answers = talk.ask(key, answers, f"See {where(key, answers.preset)}.")
    if kind_of(answers.preset).any_product and "id" not in talk.given:
        hint = "What to call it in addresses, and on a button where there are several: lower-case letters and digits."
        answers = talk.ask("id", answers, hint, default=_likely_name(answers))
    return answers


def _get_credentials(talk: _Talk, answers: Answers) -> Answers:
    person = talk.person
    if not {"client_id", "client_secret"} <= talk.given.keys():
        setup = registration_of(answers)
        person.head("Register the broker there")
        person.say(setup.note)
        for line in lined_up(to_register(setup)):
            person.show(f"  {line}")
        person.say(f"Step by step: {setup.guide}. You get a client ID and a client secret.")
    hidden = f"See {where('client_secret', answers.preset, answers.issuer)}. What you paste is not shown here."
    afresh = False
    while True:
        proposed = answers.client_id if afresh else ""
        answers = talk.ask(
            "client_id",
            answers,
            f"See {where('client_id', answers.preset, answers.issuer)}.",
            default=proposed,
            afresh=afresh,
        )
        answers = talk.ask("client_secret", answers, hidden, afresh=afresh)
        person.say(f"Read: {len(answers.client_secret)} characters.")
        judged = talk.probe.at_credentials(answers) if talk.probe else Judged(answers)
        if judged.objection is None:
            person.say(judged.said)
            return answers
        person.say(judged.objection.problem)
        if not person.agree("Enter both again?", default=True):
            return answers
        afresh = True


def _likely_name(answers: Answers) -> str:
    """Return what the issuer's host is called below its top: acme, of id.acme.example and of id.acme.co.uk."""
    labels = (urlsplit(answers.issuer).hostname or "").split(".")
    short = len(labels) > 2 and len(labels[-2]) <= 3
    name = labels[-3 if short else -2] if len(labels) > 1 else ""
    named = replace(answers, id=name)
    return answers.id if not name or name.isdecimal() or find_mistake(named, "id") else name


def _likely_domain(answers: Answers) -> str:
    """Return the domain people's addresses probably have: the tenant's, or the one the broker is in."""
    host = urlsplit(answers.public_url).hostname or ""
    parent = host.partition(".")[2]
    for domain in (answers.domain, parent):
        usable = domain.count(".") >= 1 and not domain.endswith(".onmicrosoft.com")
        if usable and find_mistake(answered(answers, "email_domains", domain), "email_domains") is None:
            return domain
    return ""
