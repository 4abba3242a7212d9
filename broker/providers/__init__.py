"""Identity providers as presets: what is known of one kind of provider, as data and named quirks.

A preset decides which claim is the e-mail address and whether the provider may be believed about it. The protocol
itself is in `oidc`, which knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.providers import entra, google, oidc, okta
from broker.providers.admission import admit_person, wants_userinfo
from broker.providers.identify import decide_identity
from broker.providers.record import (
    ClaimRules,
    ClaimTrace,
    ConsolePaths,
    EmailDecision,
    Preset,
    Provider,
    Userinfo,
    VerifiedClaims,
)

__all__ = [
    "PRESETS",
    "ClaimRules",
    "ClaimTrace",
    "ConsolePaths",
    "EmailDecision",
    "Preset",
    "Provider",
    "Userinfo",
    "VerifiedClaims",
    "admit_person",
    "decide_identity",
    "wants_userinfo",
]

PRESETS: Mapping[str, Preset] = {one.name: one for one in (oidc.PRESET, okta.PRESET, entra.PRESET, google.PRESET)}
