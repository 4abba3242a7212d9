"""The demo's identity provider: the library oidc-provider-mock with the demo's pages.

Importing this module needs the extra `demo`.
"""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import flask
from authlib.deprecate import AuthlibDeprecationWarning
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import Client

from broker.demo.pages import PAGE_HEADERS, TEMPLATES
from broker.demo.scenario import Person

with warnings.catch_warnings():
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # the library still uses authlib.jose
    import oidc_provider_mock

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_provider(people: Iterable[Person]) -> "WSGIApplication":
    """Return the provider as a WSGI application, without the interactive debugger that the library adds."""
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
    # The library takes its issuer from Host, so only one host is allowed.
    app.config.update(TRUSTED_HOSTS=["127.0.0.1"], SESSION_COOKIE_NAME="demo_provider_session")
    app.context_processor(lambda: {"people": known})
    app.after_request(_add_page_headers)
    return without_debugger


def register_broker(provider: "WSGIApplication", *, issuer: str, redirect_uri: str) -> tuple[str, str]:
    """Register the broker as a client (RFC 7591), and return its client ID and client secret."""
    response = Client(provider).post("/oauth2/clients", base_url=issuer, json={"redirect_uris": [redirect_uri]})
    registered = response.get_json()
    return registered["client_id"], registered["client_secret"]


def build_server(provider: "WSGIApplication", *, descriptor: int) -> BaseWSGIServer:
    """Return a server on a listening socket: one thread for each request, no access log."""
    return make_server("127.0.0.1", 0, provider, threaded=True, request_handler=_Quiet, fd=descriptor)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _add_page_headers(response: flask.Response) -> flask.Response:
    response.headers.update(PAGE_HEADERS)
    return response
