"""What the certified provider is told so that it answers as a vendor's does, and what the broker is told about it.

Data only: addresses, claims of each scope, members of documents. Who the people are belongs to the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Members = Mapping[str, Any]

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
NEIGHBOUR = "11111111-2222-4333-8444-555555555555"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"

# None of the three announces RFC 9207, and none sends `iss` to the callback.
_SILENT_ABOUT_ISS = {"authorization_response_iss_parameter_supported": None}
_ENTRA_CLAIMS = {
    "openid": ["sub", "tid", "oid", "ver", "preferred_username", "acct", "xms_edov", "groups", "login_hint"],
    "email": ["email"],
    "profile": ["name"],
}


@dataclass(frozen=True, slots=True)
class Vendor:
    """One kind of provider.

    Args:
        settings: the broker's, of this provider.
        provider: for `oidc_provider.mjs`.
        authentication: how the token endpoint knows the client.
    """

    settings: Members
    provider: Members
    authentication: str = "client_secret_basic"

    def saying(self, **more: Any) -> Vendor:
        """Return the same vendor with more for `oidc_provider.mjs`."""
        return replace(self, provider={**self.provider, **more})

    def configured(self, **more: Any) -> Vendor:
        """Return the same vendor with more of the broker's settings of this provider."""
        return replace(self, settings={**self.settings, **more})


def okta(origin: str, *, server: str = "") -> Vendor:
    """Return Okta's org server, or the custom server of that name: thin ID tokens, the rest at userinfo."""
    path = f"/oauth2/{server}" if server else ""
    routes = f"{path}/v1" if server else "/oauth2/v1"
    return Vendor(
        {"preset": "okta", "issuer": f"{origin}{path}", "email_domains": ["acme.example"]},
        {
            "issuer_path": path,
            "claims_in_id_token": False,
            "routes": {
                "authorization": f"{routes}/authorize",
                "token": f"{routes}/token",
                "userinfo": f"{routes}/userinfo",
                "jwks": f"{routes}/keys",
                "end_session": f"{routes}/logout",
            },
            "discovery": _SILENT_ABOUT_ISS,
        },
    )


def entra(origin: str, *, key_tenant: str = TENANT) -> Vendor:
    """Return Entra with one tenant: endpoints beside the issuer, and userinfo, which says little, on another host."""
    issuer = f"{origin}/{TENANT}/v2.0"
    return Vendor(
        {"preset": "entra", "issuer": issuer, "tenant": TENANT, "email_domains": ["acme.example"]},
        _entra(origin, TENANT, key_tenant),
        "client_secret_post",
    )


def entra_of_several(origin: str, *, key_tenant: str = "{tenantid}") -> Vendor:
    """Return Entra's `organizations`: the metadata and the keys name a template, tokens the tenant's own issuer."""
    provider = _entra(origin, "organizations", key_tenant)
    provider["discovery"] = {**provider["discovery"], "issuer": f"{origin}/{{tenantid}}/v2.0"}
    several = {"issuer": f"{origin}/organizations/v2.0", "tenants": [TENANT, NEIGHBOUR]}
    return Vendor({"preset": "entra", "email_domains": ["acme.example"], **several}, provider, "client_secret_post")


def google(origin: str, *, tls: Members) -> Vendor:
    """Return Google: everything in the ID token, a server that signs nobody out, https for the sake of its issuer."""
    return Vendor(
        {"preset": "google", "issuer": origin.replace("http:", "https:"), "email_domains": ["acme-labs.example"]},
        {
            "tls": tls,
            "claims_in_id_token": True,
            "claims": {"openid": ["sub"], "email": ["email", "email_verified", "hd"], "profile": ["name"]},
            "routes": {
                "authorization": "/o/oauth2/v2/auth",
                "token": "/token",
                "userinfo": "/v1/userinfo",
                "jwks": "/oauth2/v3/certs",
            },
            "signs_out": False,
            "discovery": _SILENT_ABOUT_ISS,
        },
        "client_secret_post",
    )


def _entra(origin: str, authority: str, key_tenant: str) -> dict[str, Any]:
    userinfo = "/oidc/userinfo"
    return {
        "issuer_path": f"/{authority}/v2.0",
        "claims_in_id_token": True,
        "claims": _ENTRA_CLAIMS,
        "userinfo_claims": ["sub", "name", "email"],
        "routes": {
            "authorization": f"/{authority}/oauth2/v2.0/authorize",
            "token": f"/{authority}/oauth2/v2.0/token",
            "userinfo": userinfo,
            "jwks": f"/{authority}/discovery/v2.0/keys",
            "end_session": f"/{authority}/oauth2/v2.0/logout",
        },
        "discovery": {**_SILENT_ABOUT_ISS, "userinfo_endpoint": origin.replace("127.0.0.1", "localhost") + userinfo},
        "key_members": {"issuer": f"{origin}/{key_tenant}/v2.0"},
    }
