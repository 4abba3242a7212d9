"""The two halves of a test sign-in: to the provider, and back to a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from broker.comm100 import Site, build_claims
from broker.dry_run.record import DryRun, Preview
from broker.dry_run.steps import Way, describe_steps
from broker.errors import BrokerError
from broker.explain import judge_person
from broker.identity import Identity
from broker.providers import ClaimTrace, Provider
from broker.rejected_codes import Origin
from broker.replica import Broker
from broker.signin import AuthorizationRedirect, Progress, redeeming, redirect_to_provider, secrets_of, verify
from broker.text import REDACTED, redact
from broker.transaction import DryRunTransaction, OpenedDryRun, bind


async def begin_dry_run(
    broker: Broker, provider: Provider, *, setup_link: str, trace_id: str, another_account: bool = False
) -> AuthorizationRedirect:
    """Send the admin's browser to the provider, as a sign-in does.

    Args:
        broker: what all sign-ins share.
        provider: enabled or not.
        setup_link: valid now.
        trace_id: under which the log has the whole test sign-in.
        another_account: the provider is asked to let the admin choose, as after an agent's refusal.

    Raises:
        ProviderUnavailable, InvalidProviderResponse: there is no usable metadata of the provider.
    """
    transaction = DryRunTransaction(provider.id, setup_link, trace_id)
    hints = {"prompt": provider.preset.prompt_for_another_account} if another_account else None
    return await redirect_to_provider(broker, provider, transaction, hints=hints)


async def run_dry_run(
    broker: Broker,
    provider: Provider,
    sites: Sequence[Site],
    *,
    opened: OpenedDryRun,
    cookie_value: str | None,
    check_setup_link: Callable[[str], object],
    parameters: Mapping[str, str],
    origins: Sequence[Origin],
) -> DryRun:
    """Take the provider's answer as a sign-in does, and report.

    Args:
        broker: what all sign-ins share.
        provider: whose callback was called, enabled or not.
        sites: those that offer the provider, or will once it is enabled.
        opened: the state, signed by us for a test sign-in.
        cookie_value: of the cookie this test sign-in left with the browser, if it is there.
        check_setup_link: raises what has to be raised if the link is no longer good.
        parameters: of the callback, each of them once.
        origins: of the callback, by which rejected codes are counted.

    Raises:
        TransactionError: it is over, too old, or not this browser's: there is nothing to report to whoever this is.
        SetupLinkRefused: likewise.
    """
    bound = bind(opened, cookie_value, provider=provider.id, now=broker.clock())
    check_setup_link(bound.transaction.setup_link)
    broker.consume(bound.id, broker.clock())
    progress = Progress([*secrets_of(provider, bound), parameters.get("state", ""), parameters.get("code", "")])
    considered: list[ClaimTrace] = []
    identity: Identity | None = None
    refusal: BrokerError | None = None
    try:
        async with redeeming(broker, provider, bound, progress, origins):
            verified = await verify(provider, bound, parameters, progress, clock=broker.clock)
            identity = _shown(judge_person(provider, verified.verified, considered), progress.secrets)
    except BrokerError as error:
        refusal = error
    now = broker.clock()
    way = Way(provider, parameters, progress, now - bound.issued, identity, refusal, now)
    return DryRun(
        provider=provider.id,
        label=provider.label,
        enabled=provider.id in broker.providers,
        steps=tuple(replace(one, detail=redact(one.detail, progress.secrets)) for one in describe_steps(way)),
        refusal=refusal,
        documents=_documents(progress, nonce=bound.nonce),
        considered=tuple(considered),
        identity=identity,
        previews=tuple(Preview(site.id, build_claims(identity, site, now=now)) for site in sites) if identity else (),
        trace_id=bound.transaction.trace_id,
    )


def report_failed_start(broker: Broker, provider: Provider, refusal: BrokerError, *, trace_id: str) -> DryRun:
    """Report a test sign-in that never got as far as the provider.

    Args:
        broker: what all sign-ins share.
        provider: enabled or not.
        refusal: why.
        trace_id: under which the log has it.
    """
    way = Way(provider, {}, Progress([]), None, None, refusal, broker.clock())
    enabled = provider.id in broker.providers
    return DryRun(
        provider.id, provider.label, enabled, describe_steps(way), refusal, (), (), None, (), trace_id=trace_id
    )


def _shown(identity: Identity, secrets: Sequence[str]) -> Identity:
    """The person as the page has them: a provider that repeats what it was sent may call them by it."""
    return replace(identity, email=redact(identity.email, secrets), name=redact(identity.name, secrets))


def _documents(progress: Progress, *, nonce: str) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """The claims that came for this very test sign-in.

    A token with another nonce is somebody else's: with a provider that does not compare code and PKCE verifier, whoever
    got hold of a code could read here whose it is.
    """
    if progress.signed is None or progress.signed.claims.get("nonce") != nonce:
        return ()
    documents = progress.verified.documents() if progress.verified else (("ID token", progress.signed.claims),)
    hidden = {"nonce": REDACTED}
    return tuple(
        (name, redact({**claims, **hidden} if "nonce" in claims else claims, progress.secrets))
        for name, claims in documents
    )
