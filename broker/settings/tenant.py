"""Tenants of Microsoft Entra ID: how one is written, and the issuer that follows from it.

It owns the grammar and the sentences about it. What a token of a tenant may say belongs to `broker.providers`.
"""

from __future__ import annotations

import re

from broker.providers.entra import PERSONAL_ACCOUNTS_TENANT, TENANT_TEMPLATE
from broker.settings.values import InvalidValue

_AUTHORITY = "https://login.microsoftonline.com"
_SEVERAL = "/organizations/"
_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WHERE = "a tenant id is found in Entra > Overview > Tenant ID"
_PERSONAL = "personal Microsoft accounts, which anyone can make: name your organisation's tenant"


def tenant_id(text: str) -> str:
    """Take the id of one tenant, a GUID in lower case.

    Raises:
        InvalidValue: it is none, or the one of personal accounts.
    """
    if text.lower() in {"common", "organizations"}:
        raise InvalidValue(f"must name one organisation, not all: enter its tenant id, or several in tenants; {_WHERE}")
    if text.lower() in {"consumers", PERSONAL_ACCOUNTS_TENANT}:
        raise InvalidValue(f"must not name {_PERSONAL}; {_WHERE}")
    if re.fullmatch(_GUID, text):
        return text
    if re.fullmatch(_GUID, text.lower()):
        raise InvalidValue("must be in lower case, as tokens spell it")
    if "." in text:
        raise InvalidValue(f"must be the tenant's id, not its domain name, which can change; {_WHERE}")
    raise InvalidValue(f"must be the tenant's id, of the form in the example; {_WHERE}")


def issuer_of(tenant: object) -> str:
    """Return the address where a tenant's metadata is found.

    Args:
        tenant: one tenant as the admin wrote it; anything that is no tenant id stands for several tenants.
    """
    if isinstance(tenant, str) and re.fullmatch(_GUID, tenant):
        return f"{_AUTHORITY}/{tenant}/v2.0"
    return f"{_AUTHORITY}{_SEVERAL}v2.0"


def issuer_by_domain(domain: str) -> str:
    """Return the address whose metadata tells the id of the tenant that has a domain.

    Microsoft answers there with the issuer of the tenant by its id:
    https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc

    Args:
        domain: one of the tenant's.
    """
    return f"{_AUTHORITY}/{domain}/v2.0"


def tenant_named_in(address: str) -> str | None:
    """Return the one tenant id that stands in an address, or in what else was copied; None if it is not one.

    Args:
        address: such as an issuer.
    """
    found = set(re.findall(_GUID, address.lower()))
    return found.pop() if len(found) == 1 else None


def check_issuer(issuer: str, *, tenant: str | None) -> None:
    """Check that an issuer the admin wrote fits the tenant, or several tenants.

    Args:
        issuer: as written, for a national cloud or a test.
        tenant: the only one; None for several.

    Raises:
        InvalidValue: it is of another tenant, or not of several.
    """
    if tenant is None and _SEVERAL not in issuer:
        raise InvalidValue(f"must contain {_SEVERAL} while tenants is given, or be left out")
    named = re.findall(_GUID, issuer.lower())
    if tenant is not None and ((named and tenant not in named) or _SEVERAL in issuer):
        raise InvalidValue("is not the one of tenant: leave it out, unless your tenant is in a national cloud")


def metadata_issuer_of(issuer: str) -> str:
    """Return what the metadata of several tenants calls itself: a template to be filled with a token's tenant.

    Args:
        issuer: where the metadata is found.
    """
    return issuer.replace(_SEVERAL, f"/{TENANT_TEMPLATE}/")
