"""Serves each request by the newest edition of the service: an edition is the service with one reading of the settings.

A replaced edition ends after its last request is answered, so that a reload loses no request.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

LONGEST_REQUEST_SECONDS = 60.0  # more than the wait, the deadline and a run of checks; a client may never read

Application = Callable[[Any, Any, Any], Any]  # ASGI


class Edition(Protocol):
    """The applications of both ports with one reading of the settings."""

    @property
    def public(self) -> Application:
        """The application of the public port."""

    @property
    def operations(self) -> Application:
        """The application of the operations port."""


EditionType = TypeVar("EditionType", bound=Edition)


@dataclass(eq=False, slots=True)
class _Open(Generic[EditionType]):
    """An edition that answers requests, or has requests to finish."""

    edition: EditionType
    resources: AsyncExitStack
    requests: int = 0
    unused: asyncio.Event = field(default_factory=asyncio.Event)


class Editions(Generic[EditionType]):
    """The edition in use, and the replaced editions with requests in flight."""

    def __init__(self) -> None:
        self._open: _Open[EditionType] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.public = Front[EditionType](self, lambda edition: edition.public)
        self.operations = Front[EditionType](self, lambda edition: edition.operations)

    def newest(self) -> EditionType:
        """Return the edition in use.

        Raises:
            RuntimeError: no edition was opened.
        """
        return self._newest().edition

    def _newest(self) -> _Open[EditionType]:
        if self._open is None:
            raise RuntimeError("no edition was opened")
        return self._open

    async def replace(self, opening: AbstractAsyncContextManager[EditionType]) -> None:
        """Open an edition and use it for all new requests; requests in flight end in the edition where they began."""
        resources = AsyncExitStack()
        edition = await resources.enter_async_context(opening)
        replaced, self._open = self._open, _Open(edition, resources)
        if replaced is not None:
            ending = asyncio.create_task(_end(replaced))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def enter(self) -> _Open[EditionType]:
        """Return the newest edition, with one more request in flight."""
        newest = self._newest()
        newest.requests += 1
        return newest

    async def close(self) -> None:
        """End all editions at once."""
        for ending in self._ending:
            ending.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._open is not None:
            await self._open.resources.aclose()


class Front(Generic[EditionType]):
    """Passes each request to the newest edition's application of one port.

    Args:
        application_of: returns the application of the port.
    """

    def __init__(self, editions: Editions[EditionType], application_of: Callable[[EditionType], Application]) -> None:
        self._editions = editions
        self._application_of = application_of

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application of the port (ASGI)."""
        used = self._editions.enter()
        try:
            await self._application_of(used.edition)(scope, receive, send)
        finally:
            used.requests -= 1
            if not used.requests:
                used.unused.set()


async def _end(replaced: _Open[Any]) -> None:
    """Close the resources of an edition after its last request."""
    try:
        async with asyncio.timeout(LONGEST_REQUEST_SECONDS):
            while replaced.requests:
                replaced.unused.clear()
                await replaced.unused.wait()
    except TimeoutError:
        pass
    finally:
        await replaced.resources.aclose()
    gc.collect()  # the collector is set to run rarely, and an edition holds cycles
