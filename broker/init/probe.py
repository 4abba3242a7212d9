"""Ask the provider during the questions: its discovery document, the id of a tenant, and the client's credentials.

`broker.checks` judges the replies, so that a provider passes here exactly if it passes at a sign-in.
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
from broker.checks.finding import CHECK_SECONDS, CheckFailed, Verdict, unknown
from broker.checks.registration import check_client_authentication
from broker.errors import BrokerError
from broker.init.questions import Answers, Judged, draft_settings, find_mistake
from broker.oidc.client import ClientFactory, open_client
from broker.oidc.discovery import Clock
from broker.oidc.messages import ProviderResponse, read_json_object
from broker.oidc.metadata import ProviderMetadata, build_discovery_request
from broker.providers import KINDS, ProviderKind

T = TypeVar("T")
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # the first that the provider has is taken
_METHODS = ("client_secret_basic", "client_secret_post")
_UNTRIED = "Only a test sign-in can tell now whether the provider accepts client ID and secret."


class LookupFailed(Exception):
    """A tenant could not be looked up; the text says why in whole sentences."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask providers over the network.

    Args:
        http: opens an HTTP client.
        clock: seconds since the epoch.
    """

    http: ClientFactory = open_client
    clock: Clock = time.time

    def check_provider(self, answers: Answers) -> Judged:
        """Judge the provider's issuer or tenant by its discovery document."""
        return asyncio.run(self._check_provider(answers))

    def look_up_tenant(self, domain: str, kind: ProviderKind) -> str:
        """Return the id of the tenant that has a domain.

        Args:
            domain: in lower case.

        Raises:
            LookupFailed: no tenant has the domain, or the provider does not answer.
        """
        return asyncio.run(self._look_up_tenant(domain, kind))

    def check_credentials(self, answers: Answers) -> Judged:
        """Judge client ID and secret: good, with a note, unless the provider refuses them."""
        return asyncio.run(self._check_credentials(answers))

    async def _check_provider(self, answers: Answers) -> Judged:
        async with reach_provider(draft_settings(answers), answers.provider_id, http=self.http) as target:
            try:
                response = await _in_time(_discovery(target))
            except CheckFailed as failure:
                return Judged(answers, "doubtful", _text(failure.verdict), needs=_setting_named_in(failure.verdict))
            try:
                _check_discovery(target, response)
            except CheckFailed as failure:
                return Judged(answers, "wrong", _text(failure.verdict), _named_issuer(answers, response))
        fitted = _fitting(answers, read_json_object(response.body))
        extra = "".join(f" It requires {key}: {_shown(value)}, which is set." for key, value in fitted.items())
        issuer = target.provider.registration.metadata_issuer
        return Judged(replace(answers, fitted=fitted), note=f"The provider answers. Its issuer is {issuer}.{extra}")

    async def _look_up_tenant(self, domain: str, kind: ProviderKind) -> str:
        by_domain = Answers(preset="oidc", issuer=kind.issuer_by_domain(domain))
        async with reach_provider(draft_settings(by_domain), by_domain.provider_id, http=self.http) as target:
            try:
                response = await _in_time(_discovery(target))
            except CheckFailed as failure:
                reason = failure.verdict.message
                raise LookupFailed(f"The tenant of {domain} cannot be looked up: {reason}") from None
        tenant = kind.tenant_in(str(_member(response, "issuer"))) if response.status == 200 else ""
        if response.status == 400:  # AADSTS90002
            raise LookupFailed(f"{kind.title} knows no tenant with the domain {domain}.")
        if not tenant:
            raise LookupFailed(f"The tenant of {domain} cannot be looked up now (status {response.status}).")
        return tenant

    async def _check_credentials(self, answers: Answers) -> Judged:
        settings = draft_settings(answers)
        async with reach_provider(settings, answers.provider_id, http=self.http, clock=self.clock) as target:
            try:
                verdict = await _credentials(target)
            except CheckFailed:
                return Judged(answers, note=_UNTRIED)
        if verdict.status == "failed":
            return Judged(answers, "wrong", _text(verdict))
        return Judged(answers, note=verdict.message if verdict.status == "ok" else f"{verdict.message} {_UNTRIED}")


# ---------------------------------------------------------------------------------- everything asked of broker.checks


def _discovery(target: ProviderTarget) -> Awaitable[ProviderResponse]:
    request = build_discovery_request(target.provider.registration.issuer)
    return fetch(target.provider, target.network, request)


def _check_discovery(target: ProviderTarget, response: ProviderResponse) -> ProviderMetadata:
    judge_discovery(target.provider, response)
    check_issuer(target.provider, response)
    metadata, _ = check_metadata(target.provider, response)
    return metadata


async def _credentials(target: ProviderTarget) -> Verdict:
    response = await _in_time(_discovery(target))
    metadata = _check_discovery(target, response)
    announced = announced_methods(read_json_object(response.body))
    _, verdict = await _in_time(check_client_authentication(target.provider, target.network, metadata, announced))
    return verdict


async def _in_time(asked: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await asked
    except TimeoutError:
        raise CheckFailed(unknown(f"No answer within {CHECK_SECONDS:.0f} seconds.")) from None


def _text(verdict: Verdict) -> str:
    return f"{verdict.message} {verdict.remedy}"


def _setting_named_in(verdict: Verdict) -> str:
    """Return the setting that the remedy names and without which the provider cannot be reached; empty if none."""
    found = re.search(r"\b(trusted_ca_file|allow_private_network)\b", verdict.remedy)
    return found[1] if found else ""


# ------------------------------------------------------------------------------------- what a discovery document says


def _named_issuer(answers: Answers, response: ProviderResponse) -> str:
    """Return the issuer that a document names, if the admin may have meant it."""
    named = _member(response, "issuer")
    if response.status != 200 or not isinstance(named, str) or answers.tenant or named == answers.issuer:
        return ""
    return "" if find_mistake(replace(answers, issuer=named), "issuer") else named


def _member(response: ProviderResponse, name: str) -> object:
    try:
        return read_json_object(response.body).get(name)
    except BrokerError:
        return None


def _fitting(answers: Answers, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a provider of unknown make requires, according to its document."""
    if not KINDS[answers.preset].any_product:
        return {}
    method = _first(_METHODS, document.get("token_endpoint_auth_methods_supported"))
    algorithm = _first(_ALGORITHMS, document.get("id_token_signing_alg_values_supported"))
    fitted: dict[str, Any] = {}
    if method not in (None, _METHODS[0]):
        fitted["client_authentication"] = method
    if algorithm not in (None, _ALGORITHMS[0]):
        fitted["signing_algorithms"] = [algorithm]
    return fitted


def _first(known: tuple[str, ...], announced: object) -> str | None:
    offered = cast("list[object]", announced) if isinstance(announced, list) else []
    return next((name for name in known if name in offered), None)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
