"""The two halves of a test sign-in: to the provider, and back to a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.comm100 import Site, build_claims
from broker.dry_run.claims import trace_claims
from broker.dry_run.report import Admitted, DryRun
from broker.dry_run.steps import Progress, describe_steps
from broker.errors import BrokerError
from broker.providers import Provider, admit_person
from broker.rejected_codes import Origin
from broker.replica import Broker
from broker.signin import (
    AuthorizationRedirect,
    Redemption,
    ask_userinfo,
    begin,
    check_answer,
    check_id_token,
    verify_with_newest_keys,
)
from broker.text import REDACTED, redact
from broker.transaction import DryRunTransaction, OpenedDryRun, bind


async def begin_dry_run(
    broker: Broker, provider: Provider, *, setup_link: str, trace_id: str, another_account: bool = False
) -> AuthorizationRedirect:
    """Begin a test sign-in: return the provider's address for the admin's browser.

    Args:
        provider: enabled or not.
        setup_link: valid now.
        another_account: ask the provider to let the admin choose an account.

    Raises:
        ProviderUnavailable, InvalidProviderResponse: there is no usable metadata of the provider.
    """
    transaction = DryRunTransaction(provider.id, setup_link, trace_id)
    hints = {"prompt": provider.kind.prompt_for_another_account} if another_account else None
    return await begin(broker, provider, transaction, hints=hints)


async def run_dry_run(
    broker: Broker,
    provider: Provider,
    sites: Sequence[Site],
    *,
    opened: OpenedDryRun,
    cookie_value: str | None,
    check_setup_link: Callable[[str], object],
    unverified_parameters: Mapping[str, str],
    origins: Sequence[Origin],
) -> DryRun:
    """Process the provider's answer as `signin.complete` does, and report; the provider may be disabled.

    Args:
        sites: the sites that offer the provider, or will once it is enabled.
        cookie_value: of the cookie named `opened.cookie_name`, unverified; None if the browser has no such cookie.
        check_setup_link: raises an error if the link is no longer valid.
        unverified_parameters: of the callback, each given once.
        origins: of the callback; rejected codes are counted for them.

    Raises:
        TransactionError, SetupLinkRefused: this browser may not see a report.
    """
    bound = bind(opened, cookie_value, provider=provider.id, now=broker.clock())
    check_setup_link(bound.transaction.setup_link)
    broker.replays.consume(bound.id, broker.clock())

    redemption = Redemption(broker, provider, bound)
    from_browser = [unverified_parameters.get("state", ""), unverified_parameters.get("code", "")]
    progress = Progress(provider, broker.clock(), unverified_parameters, issued=bound.issued)
    refusal: BrokerError | None = None
    try:
        async with redemption.under_way(origins):
            metadata = await provider.discovery.metadata.get()
            progress = replace(progress, metadata=metadata)
            code = check_answer(provider, metadata, unverified_parameters)
            progress = replace(progress, code=code)
            tokens = await redemption.redeem(metadata, code)
            progress = replace(progress, tokens=tokens)
            signed = await verify_with_newest_keys(provider, tokens)
            progress = replace(progress, signed=signed)
            id_token = check_id_token(provider, bound, signed, tokens, unverified_parameters, now=broker.clock())
            progress = replace(progress, id_token=id_token)
            claims = await ask_userinfo(provider, metadata, tokens, id_token)
            decision = provider.kind.decide_email(claims, provider.rules)
            progress = replace(progress, claims=claims, decision=decision)
            progress = replace(progress, identity=admit_person(provider, claims, decision))
    except BrokerError as error:
        error.redact(from_browser)
        refusal = error
    progress = replace(progress, now=broker.clock())
    trace_id, secrets = bound.transaction.trace_id, [*redemption.secrets, *from_browser]
    return _report(broker, progress, refusal, trace_id=trace_id, sites=sites, nonce=bound.nonce, secrets=secrets)


def report_failed_start(broker: Broker, provider: Provider, refusal: BrokerError, *, trace_id: str) -> DryRun:
    """Report a test sign-in that did not reach the provider.

    Args:
        provider: enabled or not.
    """
    return _report(broker, Progress(provider, broker.clock()), refusal, trace_id=trace_id)


def _report(
    broker: Broker,
    progress: Progress,
    refusal: BrokerError | None,
    *,
    trace_id: str,
    sites: Sequence[Site] = (),
    nonce: str = "",
    secrets: Sequence[str] = (),
) -> DryRun:
    """Return the report without secrets: a provider may have repeated a secret in any claim, a name or an address."""
    provider, identity, decision = progress.provider, progress.identity, progress.decision
    considered = trace_claims(provider, decision, refusal) if decision else ()
    previews = {site.id: build_claims(identity, site, now=progress.now) for site in sites} if identity else {}
    person = None
    if identity is not None:
        email, name = redact(identity.email, secrets), redact(identity.name, secrets)
        person = Admitted(email, identity.email_from, name, identity.name_from)
    return DryRun(
        provider=provider.id,
        label=provider.label,
        enabled=provider.id in broker.providers,
        steps=tuple(replace(step, detail=redact(step.detail, secrets)) for step in describe_steps(progress, refusal)),
        refusal=refusal,
        trace_id=trace_id,
        documents={name: redact(document, secrets) for name, document in _documents(progress, nonce)},
        considered=tuple(replace(trace, verdict=redact(trace.verdict, secrets)) for trace in considered),
        identity=identity,
        person=person,
        previews={site: redact(claims, secrets) for site, claims in previews.items()},
    )


def _documents(progress: Progress, nonce: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return the claims received for this test sign-in, with the name of their document.

    An ID token with another nonce belongs to another sign-in. Some providers compare neither code nor PKCE verifier:
    there, the report would tell the thief of a code who the code belongs to.
    """
    if progress.signed_claims.get("nonce") != nonce:
        return ()
    documents = progress.claims.documents() if progress.claims else (("ID token", progress.signed_claims),)
    hidden = {"nonce": REDACTED}
    return [(name, {**document, **hidden} if "nonce" in document else document) for name, document in documents]
