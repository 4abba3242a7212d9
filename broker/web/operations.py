"""The operations port: health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from broker import emergency
from broker.oidc.discovery import Cached
from broker.providers import Provider
from broker.web.middleware import PlainPaths


def operations_site(
    providers: Mapping[str, Provider],
    *,
    metrics: Callable[[], Awaitable[bytes]],
    stopping: Callable[[], bool],
    record_emergency_link: Callable[[str], bool],
) -> ASGIApp:
    """Return the ASGI application of the operations port.

    Args:
        providers: readiness shows their state, and does not depend on it.
        metrics: in Prometheus' text format.
        record_emergency_link: records a report of `broker emergency-link`, unverified; returns whether it is genuine.
    """

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_: Request) -> Response:
        is_stopping = stopping()
        body = {"ready": not is_stopping, "identity_providers": {id_: _state(each) for id_, each in providers.items()}}
        return JSONResponse(body, 503 if is_stopping else 200)

    async def all_metrics(_: Request) -> Response:
        return Response(await metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def emergency_link(request: Request) -> Response:
        return Response(status_code=204 if record_emergency_link(request.query_params.get("report", "")) else 403)

    pages = [Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", all_metrics)]
    application = Starlette(routes=[*pages, Route(emergency.PATH, emergency_link, methods=["POST"])])
    application.router.redirect_slashes = False
    return PlainPaths(application)


def _state(provider: Provider) -> dict[str, object]:
    """Return whether a provider is usable, when its calls last succeeded and failed, and the state of its clock."""
    discovery, health = provider.discovery, provider.health
    state: dict[str, object] = {
        "metadata": _source(discovery.metadata),
        "keys": _source(discovery.keys),
        "down": health.is_down(),
    }
    if (age := discovery.snapshot_age) is not None:
        state["snapshot_age_seconds"] = round(age)
    if (success := health.seconds_since_success()) is not None:
        state["last_success_seconds_ago"] = round(success)
    if (failure := health.last_failure()) is not None:
        state["last_failure"] = failure.code
        state["last_failure_call"] = failure.call
        state["last_failure_seconds_ago"] = round(health.seconds_since(failure.at))
    if (ahead := health.clock_ahead()) is not None:
        state["clock_ahead_seconds"] = round(ahead)
    return state


def _source(document: Cached[Any]) -> str:
    if document.peek() is None:
        return "missing"
    return "snapshot" if document.is_restored else "present"
