"""Keeps the documents of every provider fresh, and logs when a provider or a clock begins to cause trouble or to work.

An outage is told within a minute, also while nobody signs in: the keys of a quiet provider are fetched, and a fetch
that failed is repeated until it is clear whether the provider is down.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from broker.errors import BrokerError, InternalError
from broker.oidc.discovery import LIFETIME_SPREAD
from broker.oidc.health import (
    CLOCK_AGREES_SECONDS,
    CLOCK_WARNING_SECONDS,
    Failure,
    ProviderHealth,
    clock_remedy,
    describe_clock,
)
from broker.providers import Provider

MAX_FETCHING = 20  # providers whose documents are fetched at once, if no sign-in needs them

_log = logging.getLogger("broker")


@dataclass(frozen=True, slots=True)
class Intervals:
    """When providers are looked at, in seconds.

    Args:
        look: between looks at a provider.
        suspect: between looks at a provider that failed, until it is clear whether it is down.
        quiet: without a success, after which the keys are fetched; three timeouts later no minute is over.
    """

    look: float = 5.0
    suspect: float = 1.0
    quiet: float = 35.0


@asynccontextmanager
async def watched(providers: Iterable[Provider], intervals: Intervals) -> AsyncIterator[None]:
    """Watch the providers and their clocks while the block runs."""
    watched_providers, places = list(providers), asyncio.Semaphore(MAX_FETCHING)
    tasks = [asyncio.create_task(_watch(provider, places, intervals)) for provider in watched_providers]
    tasks.append(asyncio.create_task(_watch_clocks({one.id: one.health for one in watched_providers}, intervals)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fetch_missing(providers: Iterable[Provider], *, seconds: float) -> None:
    """Fetch the missing metadata and keys, so that no sign-in waits for them.

    Args:
        seconds: after which a fetch is given up. `watched` logs what failed.
    """
    places = asyncio.Semaphore(MAX_FETCHING)

    async def fetch(provider: Provider) -> None:
        async with places:
            await provider.discovery.keep_warm()

    fetches = [asyncio.create_task(fetch(each)) for each in providers if each.discovery.keys.peek() is None]
    if fetches:
        await asyncio.wait(fetches, timeout=seconds)
        for late in fetches:
            late.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)


async def _watch(provider: Provider, places: asyncio.Semaphore, intervals: Intervals) -> None:
    """Fetch metadata and keys before a sign-in needs them, and log when the provider goes down or is ready.

    Args:
        places: of all providers; hundreds of answers at the same instant would hold up sign-ins.
    """
    was_usable: bool | None = None
    while True:
        try:
            async with places:
                await _fetch(provider, intervals.quiet)
        except BrokerError:
            pass  # noted in the provider's health
        except Exception as defect:  # noqa: BLE001 - a defect must not end this task
            _log.error("defect", exc_info=defect, extra={"facts": {"provider": provider.id}})
            provider.health.note("keys" if provider.discovery.metadata.peek() else "metadata", InternalError())
        problem = provider.health.problem()
        if problem is None and was_usable is not True:
            _log.info("identity provider is ready", extra={"facts": {"provider": provider.id}})
        elif problem is not None and was_usable is not False:
            _log.error("identity provider is not usable", extra={"facts": _facts(provider, problem)})
        was_usable = problem is None
        await asyncio.sleep(intervals.suspect if was_usable and _is_suspect(provider.health) else intervals.look)


async def _fetch(provider: Provider, quiet_seconds: float) -> None:
    """Fetch the documents that are missing, old or failed; the keys, too, if the provider was quiet for long."""
    await provider.discovery.retry_failing()
    await provider.discovery.keep_warm()
    quiet = provider.health.seconds_since_success()
    # Not all providers are asked at the same instant.
    if quiet is not None and quiet >= quiet_seconds * (1 - LIFETIME_SPREAD * random.random()):  # noqa: S311
        await provider.discovery.probe()


def _is_suspect(health: ProviderHealth) -> bool:
    """Tell whether a document could not be fetched, but too few times to be sure."""
    return health.is_failing("metadata") or health.is_failing("keys")


def _facts(provider: Provider, problem: Failure) -> dict[str, object]:
    return {
        "provider": provider.id,
        "call": problem.call,
        "code": problem.code,
        "expected": problem.expected,
        "got": problem.got,
        "remedy": problem.remedy,
    }


async def _watch_clocks(healths: Mapping[str, ProviderHealth], intervals: Intervals) -> None:
    """Log a warning when the clock begins to differ from a provider's."""
    warned: frozenset[str] = frozenset()
    while True:
        await asyncio.sleep(intervals.look)
        ahead = {id_: seconds for id_, health in healths.items() if (seconds := health.clock_ahead()) is not None}
        differ = _differing(ahead, warned)
        for id_ in sorted(differ - warned):
            _warn_of_clock(id_, ahead[id_], [seconds for other, seconds in ahead.items() if other != id_])
        warned = differ


def _differing(ahead: Mapping[str, float], warned: frozenset[str]) -> frozenset[str]:
    """Return the providers whose clock differs; one that differed has to agree well before it counts as agreeing."""
    return frozenset(
        id_
        for id_, seconds in ahead.items()
        if abs(seconds) > (CLOCK_AGREES_SECONDS if id_ in warned else CLOCK_WARNING_SECONDS)
    )


def _warn_of_clock(provider_id: str, ahead: float, others: Sequence[float]) -> None:
    facts = {
        "provider": provider_id,
        "expected": f"at most {CLOCK_WARNING_SECONDS:g} seconds of difference",
        "got": describe_clock(ahead),
        "remedy": clock_remedy(others),
    }
    _log.warning("clock differs from provider", extra={"facts": facts})
