"""The products that the broker is measured against, each doing the work of one sign-in."""

from collections.abc import Mapping

from tests.benchmarks.contestants import Peer, Running, Setting
from tests.benchmarks.peers.programs import (
    apache_versions,
    authlib_versions,
    openid_client_versions,
    start_apache,
    start_authlib,
    start_openid_client,
)
from tests.benchmarks.peers.verifying import verify

__all__ = ["NOTES", "PEERS", "callback_location", "verify"]

AUTHLIB = Peer("naive Authlib", authlib_versions, start_authlib)
APACHE = Peer("mod_auth_openidc", apache_versions, start_apache)
OPENID_CLIENT = Peer("openid-client", openid_client_versions, start_openid_client)

PEERS = (AUTHLIB, APACHE, OPENID_CLIENT)
"""In the order of the report. A setting's client id and secret must be of letters and digits: openid-client encodes
all others for Basic (RFC 6749, section 2.3.1), and a stub provider may compare without decoding."""

NOTES: Mapping[str, str] = {
    AUTHLIB.name: (
        "Written as Authlib's documentation shows: Starlette, SessionMiddleware, uvicorn with one worker. "
        "It trusts certifi's authorities and the stub provider's. "
        "The integration makes an HTTP client for each call. Each client loads all authorities, over plain http too."
    ),
    APACHE.name: (
        "Event MPM, 4 processes of 100 threads, sessions in the client's cookie (cheaper here than shared memory). "
        "Its shared memory has the default size, because a larger one costs more; its warnings about that are off. "
        "It trusts the stub provider's authority alone. "
        "It makes no HS256 token for Comm100, so it does less work. "
        "Its callback redirects to the protected address, which redirects to the endpoint. Only the callback counts."
    ),
    OPENID_CLIENT.name: (
        "Plain node:http, one process, the transaction in a signed cookie, jose for the HS256 token. "
        "It verifies the ID token's signature, which openid-client leaves out by default. "
        "Connections to the provider stay open, as fetch does by default."
    ),
}
"""What the report says about each peer, by name."""


def callback_location(peer: Peer, setting: Setting, running: Running) -> str:
    """Return what the address begins with that the peer's callback redirects to."""
    return running.login_url if peer is APACHE else setting.endpoint
