"""Signs agents in with Authlib's Starlette integration, written as Authlib's documentation shows.

A program of its own: `python authlib_app.py CONFIGURATION`, a JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import jwt
import uvicorn
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

TOKEN_SECONDS = 60


def create_app(configuration: Mapping[str, str]) -> Starlette:
    """Return the application for one provider and one endpoint."""
    oauth = OAuth()
    oauth.register(
        "provider",
        client_id=configuration["client_id"],
        client_secret=configuration["client_secret"],
        server_metadata_url=f"{configuration['issuer']}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
    )

    async def login(request: Request) -> Response:
        request.session["redirect_url"] = request.query_params["redirect_url"]
        response: Response = await oauth.provider.authorize_redirect(request, request.url_for("callback"))
        return response

    async def callback(request: Request) -> Response:
        token = await oauth.provider.authorize_access_token(request)
        person = await oauth.provider.userinfo(token=token)
        now = int(time.time())
        claims = {"email": person["email"], "name": person["name"], "iat": now, "exp": now + TOKEN_SECONDS}
        comm100_token = jwt.encode(claims, configuration["shared_secret"], algorithm="HS256")
        query = urlencode({"jwt": comm100_token, "redirect_url": request.session.pop("redirect_url")})
        return RedirectResponse(f"{configuration['endpoint']}?{query}", status_code=303)

    return Starlette(
        routes=[Route("/login", login), Route("/callback", callback)],
        middleware=[Middleware(SessionMiddleware, secret_key=configuration["session_secret"])],
    )


def main() -> None:
    """Serve until the process is ended."""
    configuration = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    uvicorn.run(
        create_app(configuration),
        port=int(configuration["port"]),
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
