"""The demo's identity provider: a real OpenID provider library with pages of our own.

Owns its people and its one client. Refuses to know the protocol, which is the library's, and Comm100. Needs the extra
`demo`.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import flask
from authlib.deprecate import AuthlibDeprecationWarning
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import Client

from broker.demo.pages import PAGE_HEADERS, TEMPLATES
from broker.demo.people import Person

with warnings.catch_warnings():
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # the library still uses authlib.jose
    import oidc_provider_mock

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True, slots=True)
class Registration:
    """What the provider gave the broker when it was registered."""

    client_id: str
    client_secret: str


def create_provider(people: Iterable[Person]) -> "WSGIApplication":
    """Return the provider, without the interactive debugger the library wraps around it."""
    known = tuple(people)
    app = flask.Flask(__name__, template_folder=str(TEMPLATES), static_folder=None)
    without_debugger = app.wsgi_app
    oidc_provider_mock.init_app(
        app,
        require_client_registration=True,
        require_nonce=True,
        issue_refresh_token=False,
        user_claims=[
            oidc_provider_mock.User(
                sub=person.subject, claims={"name": person.name, "email": person.email, "email_verified": True}
            )
            for person in known
        ],
    )
    app.debug = False
    # Its issuer is whatever Host says, so only one host may be said.
    app.config.update(TRUSTED_HOSTS=["127.0.0.1"], SESSION_COOKIE_NAME="demo_provider_session")
    app.context_processor(lambda: {"people": known})
    app.after_request(_add_page_headers)
    return without_debugger


def register_broker(provider: "WSGIApplication", *, issuer: str, redirect_uri: str) -> Registration:
    """Register the broker as the provider's client, by the library's own registration endpoint (RFC 7591)."""
    answer = Client(provider).post("/oauth2/clients", base_url=issuer, json={"redirect_uris": [redirect_uri]})
    registered = answer.get_json()
    return Registration(client_id=registered["client_id"], client_secret=registered["client_secret"])


def build_server(provider: "WSGIApplication", *, descriptor: int) -> BaseWSGIServer:
    """Return a server for the provider on a listening socket's descriptor, one thread a request, no access log."""
    return make_server("127.0.0.1", 0, provider, threaded=True, request_handler=_Quiet, fd=descriptor)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _add_page_headers(response: flask.Response) -> flask.Response:
    for name, value in PAGE_HEADERS.items():
        response.headers[name] = value
    return response
