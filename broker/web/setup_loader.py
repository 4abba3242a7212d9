"""Loads the setup pages when they are first used: most processes never show one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.web.setup_pages import SetupPages


class SetupLoader:
    """Returns the setup pages when called; the first call loads them and `web.setup` in a thread."""

    def __init__(self, *, site_name: str | None = None, logo: str | None = None) -> None:
        self._site_name = site_name
        self._logo = logo
        self._loading: asyncio.Task[SetupPages] | None = None

    async def __call__(self) -> SetupPages:
        """Return the setup pages."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        # The first caller may disconnect; the loading continues for the others.
        return await asyncio.shield(self._loading)

    def _load(self) -> SetupPages:
        from broker.web import setup as _setup  # noqa: F401 - with the checks and the test sign-in
        from broker.web.setup_pages import SetupPages

        return SetupPages(site_name=self._site_name, logo=self._logo)
