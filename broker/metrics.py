"""What is measured of the service between sign-ins: calls to providers, what is kept of them, secrets' files.

This file owns the names of these metrics and their units. It counts no sign-in and writes no log; how an answer is
judged, and when a document is fetched, it does not know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from broker.oidc.discovery import Cached, Discovery, Send
from broker.oidc.messages import ProviderRequest, ProviderResponse, RequestKind, is_failing

_CALLS: tuple[RequestKind, ...] = ("metadata", "keys", "token", "userinfo")
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds; after the last a call is given up


class Metrics:
    """The metrics of one service that are no counts of sign-ins.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series, and no alert asks for them
        build = Gauge("comm100_sso_build_info", "1, with the version that runs.", ["version"], registry=registry)
        build.labels(_version()).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._call_seconds = Histogram(
            "comm100_sso_provider_call_seconds",
            "How long calls to a provider took; failed: no answer came, or one that says to try later.",
            ["provider", "call", "result"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._fetched = Gauge(
            "comm100_sso_provider_fetched_timestamp_seconds",
            "When the provider's metadata or keys were fetched last; 0 while there are none.",
            ["provider", "document"],
            registry=registry,
        )
        self._fresh_until = Gauge(
            "comm100_sso_provider_fresh_until_timestamp_seconds",
            "When they are to be fetched anew, 0 while there are none; old ones stay in use.",
            ["provider", "document"],
            registry=registry,
        )
        self._rejected = Gauge(
            "comm100_sso_secret_file_rejected",
            "1 while a secret's file holds what cannot be used, so that the previous secret stays in use.",
            ["setting"],
            registry=registry,
        )

    def timed(self, provider: str, send: Send) -> Send:
        """Return the same way to send, with every call measured.

        Args:
            provider: id of the identity provider.
            send: its client.
        """
        seconds = self._call_seconds
        for call, result in product(_CALLS, ("answered", "failed")):
            seconds.labels(provider, call, result)  # at 0 from the start: an increase from nothing is not seen

        async def send_timed(request: ProviderRequest) -> ProviderResponse:
            began, result = time.perf_counter(), "failed"
            try:
                answer = await send(request)
                result = "failed" if is_failing(answer) else "answered"
                return answer
            finally:
                seconds.labels(provider, request.kind, result).observe(time.perf_counter() - began)

        return send_timed

    def watch_provider(self, provider: str, discovery: Discovery) -> None:
        """Export what is kept of a provider, as it is whenever metrics are read.

        Args:
            provider: id of the identity provider.
            discovery: its metadata and keys.
        """
        documents: dict[str, Cached[Any]] = {"metadata": discovery.metadata, "keys": discovery.keys}
        for name, document in documents.items():
            self._fetched.labels(provider, name).set_function(partial(getattr, document, "fetched"))
            self._fresh_until.labels(provider, name).set_function(partial(getattr, document, "fresh_until"))

    def watch_secret(self, setting: str, is_rejected: Callable[[], bool]) -> None:
        """Export whether a secret's file is rejected, as it is whenever metrics are read.

        Args:
            setting: the secret's path in the settings.
            is_rejected: looks at the file.
        """
        self._rejected.labels(setting).set_function(lambda: float(is_rejected()))


def _version() -> str:
    """Return the version installed; a checkout that is run as it is has none."""
    try:
        return version("comm100-sso-broker")
    except PackageNotFoundError:
        return "unknown"
