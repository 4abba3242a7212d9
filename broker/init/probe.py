"""What the provider itself says, while its answers are being asked for.

It owns how a discovery document is turned into an objection and a better answer. The document is judged by the doctor,
so that it passes here exactly if it passes at a sign-in.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from broker.app import reach_provider
from broker.checks import ProviderTarget
from broker.checks.documents import announced_methods, check_issuer, check_metadata, fetch, judge_discovery
from broker.checks.finding import CHECK_SECONDS, CheckFailed, unknown
from broker.checks.registration import check_client_authentication
from broker.errors import BrokerError
from broker.init.answers import Answers, draft_settings, find_mistake
from broker.init.questions import kind_of
from broker.init.validation import Judged, LookupFailed, Problem
from broker.oidc.cached import Clock
from broker.oidc.client import ClientFactory, open_client
from broker.oidc.messages import ProviderResponse, read_json_object
from broker.oidc.metadata import ProviderMetadata, build_discovery_request
from broker.providers import Provider, ProviderKind

T = TypeVar("T")
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

    def up_tenant(self, domain: str, kind: ProviderKind) -> str:
        """Return the id of the tenant that has a domain.

        Args:
            domain: in lower case.
            kind: with tenants.

        Raises:
            LookupFailed: there is none, or nobody answers.
        """
        return asyncio.run(self._up_tenant(domain, kind))

    def at_credentials(self, answers: Answers) -> Judged:
        """Judge client id and secret by whether the provider accepts them; no objection if it does not tell.

        Args:
            answers: with both, and the provider is the right one.
        """
        return asyncio.run(self._at_credentials(answers))

    async def _at_provider(self, answers: Answers) -> Judged:
        async with reach_provider(draft_settings(answers), answers.id, http=self.http) as target:
            try:
                answer = await _in_time(_discovery(target))
            except CheckFailed as trouble:
                said = f"{trouble.verdict.message} {trouble.verdict.remedy}"
                return Judged(answers, Problem("doubtful", said, lacks=_setting_named_in(trouble.verdict.remedy)))
            try:
                _judge(target.provider, answer)
            except CheckFailed as trouble:
                problem = f"{trouble.verdict.message} {trouble.verdict.remedy}"
                return Judged(answers, Problem("wrong", problem, _named_issuer(answers, answer)))
        fitted = _fitting(answers, read_json_object(answer.body))
        extra = "".join(f" It wants {key}: {_shown(value)}, which is set." for key, value in fitted.items())
        said = f"The provider answers, and calls itself {target.provider.registration.metadata_issuer}.{extra}"
        return Judged(replace(answers, fitted=fitted), said=said)

    async def _up_tenant(self, domain: str, kind: ProviderKind) -> str:
        asked = Answers(preset="oidc", id=kind.name, issuer=kind.issuer_by_domain(domain))
        async with reach_provider(draft_settings(asked), kind.name, http=self.http) as target:
            try:
                answer = await _in_time(_discovery(target))
            except CheckFailed as trouble:
                raise LookupFailed(f"The tenant of {domain} cannot be looked up: {trouble.verdict.message}") from None
        tenant = kind.tenant_in(str(_member(answer, "issuer"))) if answer.status == 200 else ""
        if answer.status == 400:  # AADSTS90002
            raise LookupFailed(f"{kind.title} knows no tenant with the domain {domain}.")
        if not tenant:
            raise LookupFailed(f"The tenant of {domain} cannot be looked up now (status {answer.status}).")
        return tenant

    async def _at_credentials(self, answers: Answers) -> Judged:
        async with reach_provider(draft_settings(answers), answers.id, http=self.http, clock=self.clock) as target:
            provider, network = target.provider, target.network
            try:
                answer = await _in_time(_discovery(target))
                metadata = _judge(provider, answer)
                announced = announced_methods(read_json_object(answer.body))
                _, verdict = await _in_time(check_client_authentication(provider, network, metadata, announced))
            except CheckFailed:
                return Judged(answers, said=_UNTRIED)
        if verdict.status == "failed":
            return Judged(answers, Problem("wrong", f"{verdict.message} {verdict.remedy}"))
        return Judged(answers, said=verdict.message if verdict.status == "ok" else f"{verdict.message} {_UNTRIED}")


def _setting_named_in(remedy: str) -> str:
    """Return the setting that opens the way to a provider, if that is what the doctor advises."""
    found = re.search(r"\b(trusted_ca_file|allow_private_network)\b", remedy)
    return found[1] if found else ""


def _discovery(target: ProviderTarget) -> Awaitable[ProviderResponse]:
    request = build_discovery_request(target.provider.registration.issuer)
    return fetch(target.provider, target.network, request)


def _judge(provider: Provider, answer: ProviderResponse) -> ProviderMetadata:
    """Return what a discovery document says, if it is one, of the right issuer, and has what a sign-in needs."""
    judge_discovery(provider, answer)
    check_issuer(provider, answer)
    metadata, _ = check_metadata(provider, answer)
    return metadata


async def _in_time(asked: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await asked
    except TimeoutError:
        raise CheckFailed(unknown(f"No answer within {CHECK_SECONDS:.0f} seconds.")) from None


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
    if not kind_of(answers.preset).any_product:
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
