"""What is entered as an issuer and is none: addresses that stand near it in a provider's own pages.

It owns what these look like and which issuer was meant. An issuer of the right form is judged elsewhere.
"""

from __future__ import annotations

import re

from broker.settings.values import InvalidValue

_DISCOVERY = re.compile(r"/\.well-known/(openid-configuration|oauth-authorization-server)/?$")
# https://help.okta.com: the Admin Console of acme.okta.com is at acme-admin.okta.com, and nobody signs in there.
_ADMIN_CONSOLE = re.compile(r"^(https://[a-z0-9-]+)-admin\.(okta(?:preview|-emea)?\.com)(?=/|$).*")


def no_other_address(issuer: str) -> None:
    """Refuse the address of a discovery document and of Okta's Admin Console.

    Args:
        issuer: an address without a user name and a query: it holds no secret and may be shown, corrected.

    Raises:
        InvalidValue: with the issuer that was meant.
    """
    if (before := _DISCOVERY.sub("", issuer)) != issuer:
        raise InvalidValue(
            "is the address of the discovery document: the issuer is what stands before /.well-known, with a slash at "
            "its end only if the document's own issuer has one",
            example=f"issuer: {before}",
        )
    if (before := without_admin_console(issuer)) != issuer:
        raise InvalidValue(
            "is the address of Okta's Admin Console: the issuer is the Okta domain without -admin",
            example=f"issuer: {before}",
        )


def without_admin_console(address: str) -> str:
    """Return the Okta domain whose Admin Console this is; any other address as it is.

    Args:
        address: an https address.
    """
    return _ADMIN_CONSOLE.sub(r"\1.\2", address)
