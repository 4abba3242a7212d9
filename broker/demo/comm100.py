"""The Comm100 stand-in: a strict site that sends agents to the broker and verifies its tokens.

The stand-in serves the demo and the tests. It knows the broker by addresses and tokens alone.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.demo.pages import PAGE_HEADERS, build_page
from broker.demo.token_check import CLOCK_SKEW, TokenRefused, VerifiedToken, check_secret, verify_token

ENDPOINT_PATH = "/AdminWebService/SSO/SSOJWTConsumer.aspx"
SIGN_IN_PATH = "/signin"
SITE_ID = "10000"
SESSION_COOKIE = "comm100_demo_session"

_SSO_PATH = "/signin/sso"
_SIGN_OUT_PATH = "/signout"
_START_PAGE = "/dashboard"
_OTHER_PAGE = "/agentconsole?queue=vip"


@dataclass(frozen=True, slots=True)
class Agent:
    """A person with an account on the site."""

    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Received:
    """A request to the JWT endpoint.

    Args:
        refusal: the reason's code; None if the agent was signed in.
    """

    query: str
    parameters: tuple[tuple[str, str], ...]
    referer: str | None
    refusal: str | None = None
    token: VerifiedToken | None = None


@dataclass(frozen=True, slots=True)
class _Session:
    agent: Agent
    name: str
    token: VerifiedToken


@dataclass(frozen=True, slots=True)
class _Site:
    """The site's configuration and state.

    Args:
        used: ids of accepted tokens, with the time at which each can be forgotten.
    """

    public_url: str
    agents: Mapping[str, Agent]
    shared_secret: str
    remote_login_url: str
    remote_logout_url: str | None
    delivery: Literal["endpoint", "append"]
    clock: Callable[[], float]
    received: list[Received]
    sessions: dict[str, _Session] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)

    async def sign_in(self, request: Request) -> Response:
        return self._sign_in_page(request.query_params.get("page", _START_PAGE))

    async def send_to_broker(self, request: Request) -> Response:
        page = request.query_params.get("page", _START_PAGE)
        if request.query_params.get("site_id", "").strip() != SITE_ID:
            return self._sign_in_page(page, status=400)
        if self.delivery == "append":
            wanted = f"{self.public_url}{ENDPOINT_PATH}?page={quote(page, safe='')}"
        else:
            wanted = f"{self.public_url}/{page.lstrip('/')}"
        joint = "&" if "?" in self.remote_login_url else "?"
        return _redirect(f"{self.remote_login_url}{joint}redirect_url={quote(wanted, safe='')}", status=302)

    async def take_token(self, request: Request) -> Response:
        received = Received(
            query=request.url.query,
            parameters=tuple(request.query_params.multi_items()),
            referer=request.headers.get("referer"),
        )
        try:
            session, page = self._judge(request)
        except TokenRefused as refusal:
            self.received.append(replace(received, refusal=refusal.reason))
            return build_page(
                "comm100_refused.html", status=403, reason=refusal.reason, sentence=refusal.sentence, start=SIGN_IN_PATH
            )
        self.received.append(replace(received, token=session.token))
        session_id = secrets.token_urlsafe(32)
        self.sessions[session_id] = session
        # Redirect at once: the token must not stay in the address bar or the history.
        response = _redirect(page)
        response.set_cookie(
            SESSION_COOKIE, session_id, httponly=True, samesite="lax", secure=self.public_url.startswith("https:")
        )
        return response

    async def show_page(self, request: Request) -> Response:
        session = self.sessions.get(request.cookies.get(SESSION_COOKIE, ""))
        page = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if session is None:
            return _redirect(f"{SIGN_IN_PATH}?page={quote(page, safe='')}")
        return build_page(
            "comm100_page.html",
            name=session.name,
            email=session.agent.email,
            page=page,
            header=json.dumps(dict(session.token.header), indent=2),
            claims=json.dumps(dict(session.token.claims), indent=2, ensure_ascii=False),
            sign_out=_SIGN_OUT_PATH,
            start_page=_START_PAGE,
            other_page=_OTHER_PAGE,
        )

    async def sign_out(self, request: Request) -> Response:
        self.sessions.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        response = _redirect(self.remote_logout_url or SIGN_IN_PATH)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
        return response

    def _sign_in_page(self, page: str, *, status: int = 200) -> Response:
        return build_page(
            "comm100_sign_in.html",
            status=status,
            site_id=SITE_ID,
            page=page,
            wrong_site=status != 200,
            action=_SSO_PATH,
        )

    def _judge(self, request: Request) -> tuple[_Session, str]:
        tokens = request.query_params.getlist("jwt")
        if not tokens:
            raise TokenRefused("token_missing", "No token arrived.")
        if len(tokens) > 1:
            raise TokenRefused("token_repeated", "More than one token arrived.")
        token = verify_token(tokens[0], shared_secret=self.shared_secret, now=self.clock())
        self._use_once(token)
        agent = self.agents.get(token.email.casefold())
        if agent is None:
            raise TokenRefused("unknown_agent", f"No agent of this site has the e-mail address {token.email}.")
        name = token.claims.get("name")
        session = _Session(agent=agent, name=name if isinstance(name, str) and name else agent.name, token=token)
        return session, self._wanted_page(request)

    def _use_once(self, token: VerifiedToken) -> None:
        now = self.clock()
        for token_id in [known for known, forget_at in self.used.items() if forget_at <= now]:
            del self.used[token_id]
        if token.token_id in self.used:
            raise TokenRefused("replayed", "This token was used before.")
        self.used[token.token_id] = token.expires + CLOCK_SKEW

    def _wanted_page(self, request: Request) -> str:
        if self.delivery == "append":
            return f"{self.public_url}/{request.query_params.get('page', _START_PAGE).lstrip('/')}"
        wanted = request.query_params.getlist("redirect_url")
        if not wanted:
            return f"{self.public_url}{_START_PAGE}"
        if len(wanted) > 1 or not wanted[0].startswith(f"{self.public_url}/"):
            raise TokenRefused("foreign_page", "The page asked for is not a page of this site.")
        # Comm100 may name its own endpoint as the page. Without a token that page would be an error.
        return f"{self.public_url}{_START_PAGE}" if urlsplit(wanted[0]).path == ENDPOINT_PATH else wanted[0]


def create_comm100(
    *,
    public_url: str,
    agents: Iterable[Agent],
    shared_secret: str,
    remote_login_url: str,
    remote_logout_url: str | None = None,
    delivery: Literal["endpoint", "append"] = "endpoint",
    clock: Callable[[], float] = time.time,
    received: list[Received] | None = None,
) -> Starlette:
    """Return the stand-in as an ASGI application.

    Args:
        public_url: the site's origin, without a slash at the end; the JWT endpoint is `public_url + ENDPOINT_PATH`.
        agents: e-mail addresses are compared without regard to case.
        shared_secret: its UTF-8 bytes are the key.
        remote_login_url: "Sign in with Custom SSO" leads there, with `redirect_url` added.
        remote_logout_url: "Sign out" leads there; None for the sign-in page.
        delivery: `redirect_url` is a page of the site (`endpoint`), or the JWT endpoint with the page in the query
            (`append`).
        clock: seconds since the epoch.
        received: each request to the JWT endpoint is appended to this list.

    Raises:
        ValueError: the shared secret is too short for HS256.
    """
    site = _Site(
        public_url=public_url,
        agents={agent.email.casefold(): agent for agent in agents},
        shared_secret=check_secret(shared_secret),
        remote_login_url=remote_login_url,
        remote_logout_url=remote_logout_url,
        delivery=delivery,
        clock=clock,
        received=[] if received is None else received,
    )
    return Starlette(
        routes=[
            Route(SIGN_IN_PATH, site.sign_in),
            Route(_SSO_PATH, site.send_to_broker),
            Route(ENDPOINT_PATH, site.take_token),
            Route(_SIGN_OUT_PATH, site.sign_out, methods=["POST"]),
            Route("/favicon.ico", _no_icon),
            Route("/", _to_start_page),
            Route("/{page:path}", site.show_page),
        ]
    )


async def _no_icon(_request: Request) -> Response:
    return Response(status_code=204)


async def _to_start_page(_request: Request) -> Response:
    return _redirect(_START_PAGE)


def _redirect(address: str, *, status: int = 303) -> Response:
    return RedirectResponse(address, status_code=status, headers=PAGE_HEADERS)
