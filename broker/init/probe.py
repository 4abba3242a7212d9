"""What the provider itself says, while its answers are being asked for.

It owns how a discovery document is turned into an objection and a better answer. The checks judge the document, so
that it passes here exactly if it passes at a sign-in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from broker.app import reach_provider
from broker.checks import check_client_authentication, check_documents
from broker.errors import BrokerError
from broker.init.answers import Answers, draft_settings, find_mistake
from broker.init.validation import Judged, LookupFailed, Problem
from broker.oidc.cached import Clock
from broker.oidc.client import ClientFactory, open_client
from broker.oidc.messages import ProviderResponse, read_json_object
from broker.settings.tenant import issuer_by_domain, tenant_named_in

_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # the first the provider has is taken
_METHODS = ("client_secret_basic", "client_secret_post")
_UNTRIED = "Whether the provider accepts both cannot be told now: a test sign-in will."


@dataclass(frozen=True, slots=True)
class NetworkProbe:
    """Asks over the network.

    Args:
        http: opens an HTTP client; a test gives its own.
        clock: seconds since the epoch.
    """

    http: ClientFactory = open_client
    clock: Clock = time.time

    def at_provider(self, answers: Answers) -> Judged:
        """Judge where the provider is said to be by its discovery document.

        Args:
            answers: with the provider's kind, and its issuer or tenant.
        """
        return asyncio.run(self._at_provider(answers))

    def up_tenant(self, domain: str) -> str:
        """Return the id of the Entra tenant that has a domain.

        Args:
            domain: in lower case.

        Raises:
            LookupFailed: there is none, or nobody answers.
        """
        return asyncio.run(self._up_tenant(domain))

    def at_credentials(self, answers: Answers) -> Judged:
        """Judge client id and secret by whether the provider accepts them; no objection if it does not tell.

        Args:
            answers: with both, and the provider is the right one.
        """
        return asyncio.run(self._at_credentials(answers))

    async def _at_provider(self, answers: Answers) -> Judged:
        async with reach_provider(draft_settings(answers), answers.id, http=self.http) as provider:
            documents = await check_documents(provider)
        if documents.failure is not None and documents.metadata is None:
            failure, answer = documents.failure, documents.answer
            said = f"{failure.message} {failure.remedy}"
            if answer is None:
                return Judged(answers, Problem("doubtful", said, lacks=failure.setting))
            return Judged(answers, Problem("wrong", said, _named_issuer(answers, answer)))
        fitted = _fitting(answers, documents.document or {})
        extra = "".join(f" It wants {key}: {_shown(value)}, which is set." for key, value in fitted.items())
        said = f"The provider answers, and calls itself {provider.registration.metadata_issuer}.{extra}"
        return Judged(replace(answers, fitted=fitted), said=said)

    async def _up_tenant(self, domain: str) -> str:
        asked = Answers(preset="oidc", id="entra", issuer=issuer_by_domain(domain))
        async with reach_provider(draft_settings(asked), "entra", http=self.http) as provider:
            documents = await check_documents(provider)
        answer = documents.answer
        if answer is None:
            why = f": {documents.failure.message}" if documents.failure else "."
            raise LookupFailed(f"The tenant of {domain} cannot be looked up{why}")
        tenant = tenant_named_in(str(_member(answer, "issuer"))) if answer.status == 200 else None
        if answer.status == 400:  # AADSTS90002
            raise LookupFailed(f"Microsoft knows no tenant with the domain {domain}.")
        if tenant is None:
            raise LookupFailed(f"The tenant of {domain} cannot be looked up now (status {answer.status}).")
        return tenant

    async def _at_credentials(self, answers: Answers) -> Judged:
        async with reach_provider(draft_settings(answers), answers.id, http=self.http, clock=self.clock) as provider:
            documents = await check_documents(provider)
            if documents.metadata is None:
                return Judged(answers, said=_UNTRIED)
            try:
                found = await check_client_authentication(provider, documents.metadata, documents.announced)
            except BrokerError:
                return Judged(answers, said=_UNTRIED)
        if found.status == "failed":
            return Judged(answers, Problem("wrong", f"{found.message} {found.remedy}"))
        return Judged(answers, said=found.message if found.status == "ok" else f"{found.message} {_UNTRIED}")


def _named_issuer(answers: Answers, answer: ProviderResponse) -> str:
    """Return the issuer a document names, if it could be the one meant."""
    named = _member(answer, "issuer")
    if answer.status != 200 or not isinstance(named, str) or answers.tenant or named == answers.issuer:
        return ""
    return "" if find_mistake(replace(answers, issuer=named), "issuer") else named


def _member(answer: ProviderResponse, name: str) -> object:
    try:
        return read_json_object(answer.body).get(name)
    except BrokerError:
        return None


def _fitting(answers: Answers, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys without which a provider nobody knows would refuse us, or be refused: by what it announces."""
    if answers.preset != "oidc":
        return {}
    fitted: dict[str, Any] = {}
    method = _first(_METHODS, document.get("token_endpoint_auth_methods_supported"))
    if method not in (None, _METHODS[0]):
        fitted["client_authentication"] = method
    algorithm = _first(_ALGORITHMS, document.get("id_token_signing_alg_values_supported"))
    if algorithm not in (None, _ALGORITHMS[0]):
        fitted["signing_algorithms"] = [algorithm]
    return fitted


def _first(known: tuple[str, ...], announced: object) -> str | None:
    offered = cast("list[object]", announced) if isinstance(announced, list) else []
    return next((one for one in known if one in offered), None)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
