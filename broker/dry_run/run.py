"""The two halves of a test sign-in: to the provider, and back to a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from broker.comm100 import Site, build_claims
from broker.dry_run.claims import judge_person
from broker.dry_run.report import DryRun, Preview
from broker.dry_run.steps import Established, describe_steps
from broker.errors import BrokerError
from broker.identity import Identity
from broker.oidc.id_token import SignedClaims, VerifiedIdToken
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import TokenResponse
from broker.providers import ClaimTrace, EmailDecision, Provider, VerifiedClaims
from broker.rejected_codes import Origin
from broker.signin import (
    AuthorizationRedirect,
    Broker,
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
        trace_id: the log has the whole test sign-in under this id.
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
    """Take the provider's answer as `signin.complete` does, and report.

    Args:
        provider: enabled or not.
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
    metadata: ProviderMetadata | None = None
    code: str | None = None
    tokens: TokenResponse | None = None
    signed: SignedClaims | None = None
    id_token: VerifiedIdToken | None = None
    claims: VerifiedClaims | None = None
    decision: EmailDecision | None = None
    considered: tuple[ClaimTrace, ...] = ()
    identity: Identity | None = None
    refusal: BrokerError | None = None
    from_browser = [unverified_parameters.get("state", ""), unverified_parameters.get("code", "")]
    try:
        async with redemption.under_way(origins):
            metadata = await provider.discovery.metadata.get()
            code = check_answer(provider, metadata, unverified_parameters)
            tokens = await redemption.redeem(metadata, code)
            signed = await verify_with_newest_keys(provider, tokens)
            id_token = check_id_token(provider, bound, signed, tokens, unverified_parameters, now=broker.clock())
            claims = await ask_userinfo(provider, metadata, tokens, id_token)
            decision = provider.kind.decide_email(claims, provider.rules)
            considered, outcome = judge_person(provider, claims, decision)
            if isinstance(outcome, BrokerError):
                raise outcome
            identity = outcome
    except BrokerError as error:
        error.redact(from_browser)
        refusal = error

    now = broker.clock()
    secrets = [*redemption.secrets, *from_browser]
    established = Established(
        seconds=now - bound.issued,
        metadata=metadata,
        code=code,
        tokens=tokens,
        signed=signed,
        id_token=id_token,
        claims=claims,
        decision=decision,
        identity=identity,
    )
    steps = describe_steps(provider, established, refusal, unverified_parameters, now=now)
    return DryRun(
        provider=provider.id,
        label=provider.label,
        enabled=provider.id in broker.providers,
        steps=tuple(replace(step, detail=redact(step.detail, secrets)) for step in steps),
        refusal=refusal,
        documents=_documents(signed, claims, nonce=bound.nonce, secrets=secrets),
        considered=tuple(replace(trace, verdict=redact(trace.verdict, secrets)) for trace in considered),
        identity=identity,
        shown=_shown(identity, secrets) if identity else {},
        previews=_previews(identity, sites, now=now, secrets=secrets) if identity else (),
        trace_id=bound.transaction.trace_id,
    )


def report_failed_start(broker: Broker, provider: Provider, refusal: BrokerError, *, trace_id: str) -> DryRun:
    """Report a test sign-in that did not reach the provider.

    Args:
        provider: enabled or not.
        trace_id: the log has it under this id.
    """
    return DryRun(
        provider=provider.id,
        label=provider.label,
        enabled=provider.id in broker.providers,
        steps=describe_steps(provider, Established(), refusal, {}, now=broker.clock()),
        refusal=refusal,
        trace_id=trace_id,
    )


def _shown(identity: Identity, secrets: Sequence[str]) -> Mapping[str, str]:
    """Return the person for the page: a provider may have repeated a secret in a name or an address."""
    return {
        "email": redact(identity.email, secrets),
        "email_from": identity.email_from,
        "name": redact(identity.name, secrets),
        "name_from": identity.name_from,
    }


def _previews(identity: Identity, sites: Sequence[Site], *, now: float, secrets: Sequence[str]) -> tuple[Preview, ...]:
    return tuple(Preview(site.id, redact(build_claims(identity, site, now=now), secrets)) for site in sites)


def _documents(
    signed: SignedClaims | None, claims: VerifiedClaims | None, *, nonce: str, secrets: Sequence[str]
) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """Return the claims received for this test sign-in, without secrets.

    An ID token with another nonce belongs to another sign-in. Some providers compare neither code nor PKCE verifier:
    there, anybody with a stolen code could read here whose it is.
    """
    if signed is None or signed.claims.get("nonce") != nonce:
        return ()
    documents = claims.documents() if claims else (("ID token", signed.claims),)
    return tuple(
        (name, redact({**document, **({"nonce": REDACTED} if "nonce" in document else {})}, secrets))
        for name, document in documents
    )
