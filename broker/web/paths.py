"""Decides which spellings of a path reach a route."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PlainPaths:
    """Routes by the path as sent: a percent-encoded spelling of a route does not reach it.

    A rule of a proxy in front, such as "deny /setup", also sees the path as sent.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside (ASGI)."""
        if scope["type"] == "http":
            path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
            scope["path"] = _without_extra_slashes(path)
        await self._app(scope, receive, send)


def _without_extra_slashes(path: str) -> str:
    """Drop one slash at the end and a second one at the start, as joined addresses have them; no more."""
    if path.startswith("//") and not path.startswith("///"):
        path = path[1:]
    if path != "/" and path.endswith("/") and not path.endswith("//"):
        path = path[:-1]
    return path
