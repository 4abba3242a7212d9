"""Ask the provider during the questions: its discovery document, the id of a tenant, and the client's credentials.

`broker.checks` judges the replies, so that a provider passes here exactly if it passes at a sign-in.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, cast

from broker.checks import Finding, check_client_authentication, check_documents
from broker.errors import BrokerError
from broker.init.questions import Answers, Judged, draft_settings, find_mistake
from broker.oidc.client import ClientFactory, open_client
from broker.oidc.discovery import Clock
from broker.oidc.messages import JsonObject, ProviderResponse, read_json_object
from broker.providers import Provider, ProviderKind
from broker.wiring import reach_provider

_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # the first that the provider has is taken
_METHODS = ("client_secret_basic", "client_secret_post")
_UNTRIED = "Only a test sign-in can tell now whether the provider accepts client ID and secret."


class LookupFailed(Exception):
    """A tenant could not be looked up; the text says why in whole sentences."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask providers over the network.

    Args:
        clock: seconds since the epoch.
    """

    http: ClientFactory = open_client
    clock: Clock = time.time

    async def check_provider(self, answers: Answers) -> Judged:
        """Judge the provider's issuer or tenant by its discovery document."""
        async with self._reach(answers) as provider:
            documents = await check_documents(provider)
        failure, response = documents.failure, documents.answer
        if failure is not None and documents.metadata is None:
            if response is None:
                return Judged(answers, "doubtful", _text(failure), needs=failure.setting)
            return Judged(answers, "wrong", _text(failure), _named_issuer(answers, response))
        fitted = _fitting(documents.document or {}) if answers.kind.any_product else {}
        extra = "".join(f" It requires {key}: {_shown(value)}, which is set." for key, value in fitted.items())
        issuer = provider.registration.metadata_issuer
        return Judged(replace(answers, fitted=fitted), note=f"The provider answers. Its issuer is {issuer}.{extra}")

    async def look_up_tenant(self, domain: str, kind: ProviderKind) -> str:
        """Return the id of the tenant that has a domain.

        Args:
            domain: in lower case.

        Raises:
            LookupFailed: no tenant has the domain, or the provider does not answer.
        """
        async with self._reach(Answers(preset="oidc", issuer=kind.issuer_by_domain(domain))) as provider:
            documents = await check_documents(provider)
        response = documents.answer
        if response is None:
            reason = documents.failure.message if documents.failure else ""
            raise LookupFailed(f"The tenant of {domain} cannot be looked up: {reason}")
        tenant = kind.tenant_in(str(_issuer_in(response))) if response.status == 200 else ""
        if response.status == 400:  # AADSTS90002
            raise LookupFailed(f"{kind.title} knows no tenant with the domain {domain}.")
        if not tenant:
            raise LookupFailed(f"The tenant of {domain} cannot be looked up now (status {response.status}).")
        return tenant

    async def check_credentials(self, answers: Answers) -> Judged:
        """Judge client ID and secret: good, with a note, unless the provider refuses them."""
        async with self._reach(answers) as provider:
            documents = await check_documents(provider)
            if documents.metadata is None:
                return Judged(answers, note=_UNTRIED)
            try:
                finding = await check_client_authentication(provider, documents.metadata, documents.announced)
            except BrokerError:
                return Judged(answers, note=_UNTRIED)
        if finding.status == "failed":
            return Judged(answers, "wrong", _text(finding))
        return Judged(answers, note=finding.message if finding.status == "ok" else f"{finding.message} {_UNTRIED}")

    def _reach(self, answers: Answers) -> AbstractAsyncContextManager[Provider]:
        return reach_provider(draft_settings(answers), answers.provider_id, http=self.http, clock=self.clock)


def _text(finding: Finding) -> str:
    return f"{finding.message} {finding.remedy}"


def _named_issuer(answers: Answers, response: ProviderResponse) -> str:
    """Return the issuer that a document names, if the admin may have meant it."""
    named = _issuer_in(response)
    if response.status != 200 or not isinstance(named, str) or answers.tenant or named == answers.issuer:
        return ""
    return "" if find_mistake(replace(answers, issuer=named), "issuer") else named


def _issuer_in(response: ProviderResponse) -> object:
    try:
        return read_json_object(response.body).get("issuer")
    except BrokerError:
        return None


def _fitting(document: JsonObject) -> dict[str, Any]:
    """Return the settings that a provider of unknown make requires, according to its document."""
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
