"""The kinds of identity providers: one file and one class per vendor, listed in `KINDS`.

To add a kind: one file, its commands as templates in `commands/`, one line in `KINDS`, a guide in
`docs/admin/guides/`, and a recorded discovery document in `tests/data/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from broker.identity import ClaimRules
from broker.providers.admission import admit_person, decide_identity, wants_userinfo
from broker.providers.entra import Entra
from broker.providers.google import Google
from broker.providers.kind import (
    ClaimTrace,
    EmailDecision,
    PersonClaims,
    Provider,
    ProviderKind,
    UnverifiedIdToken,
    VerifiedClaims,
)
from broker.providers.oidc import Oidc
from broker.providers.okta import Okta

__all__ = [
    "KINDS",
    "ClaimRules",
    "ClaimTrace",
    "EmailDecision",
    "PersonClaims",
    "Provider",
    "ProviderKind",
    "UnverifiedIdToken",
    "VerifiedClaims",
    "admit_person",
    "decide_identity",
    "wants_userinfo",
]

KINDS: Mapping[str, ProviderKind] = MappingProxyType({kind.name: kind for kind in (Okta(), Entra(), Google(), Oidc())})
"""Every kind, by the value of `preset`, in the order in which `broker init` offers them."""
