"""The logout request: the browser's trip to the end-session endpoint (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from urllib.parse import urlencode


def build_end_session_url(
    end_session_endpoint: str,
    *,
    client_id: str,
    post_logout_redirect_uri: str,
    state: str,
    id_token_hint: str,
    logout_hint: str,
) -> str:
    """Return where the browser goes to sign out at the provider (section 2).

    Args:
        end_session_endpoint: from the metadata.
        client_id: ours; it must be the audience of the hint.
        post_logout_redirect_uri: where the provider sends the browser back, as registered.
        state: comes back with it.
        id_token_hint: whom to sign out; empty if it is not at hand.
        logout_hint: whom to sign out, in the provider's own words; empty if it gave none.
    """
    parameters = {
        "client_id": client_id,
        "post_logout_redirect_uri": post_logout_redirect_uri,
        "state": state,
        "id_token_hint": id_token_hint,
        "logout_hint": logout_hint,
    }
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{end_session_endpoint}{'&' if '?' in end_session_endpoint else '?'}{query}"
