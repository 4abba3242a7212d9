"""Which spellings of a path are the same page."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PlainPaths:
    """Routes by the path as it was sent: no percent-encoded spelling of a route is that route.

    A rule of a proxy in front, such as "deny /setup", sees the path as it was sent, too.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside (ASGI)."""
        if scope["type"] == "http":
            path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
            scope["path"] = _without_slashes_too_many(path)
        await self._app(scope, receive, send)


def _without_slashes_too_many(path: str) -> str:
    """Forgive one slash at the end and two at the start, as joined addresses have them; nothing else is corrected."""
    if path.startswith("//") and not path.startswith("///"):
        path = path[1:]
    if path != "/" and path.endswith("/") and not path.endswith("//"):
        path = path[:-1]
    return path
