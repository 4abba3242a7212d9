"""Identity providers as presets: what is known of one kind of provider, as data and named quirks.

A preset decides which claim is the e-mail address and whether the provider may be believed about it. The protocol
itself is in `oidc`, which knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.providers import entra, google, oidc, okta
from broker.providers.identify import decide_identity, lacks_email_or_name
from broker.providers.record import (
    ClaimRules,
    Considered,
    EmailDecision,
    Preset,
    Provider,
    Userinfo,
    Vouched,
)

__all__ = [
    "PRESETS",
    "ClaimRules",
    "Considered",
    "EmailDecision",
    "Preset",
    "Provider",
    "Userinfo",
    "Vouched",
    "decide_identity",
    "lacks_email_or_name",
]

PRESETS: Mapping[str, Preset] = {
    "oidc": oidc.PRESET,
    "okta": okta.PRESET,
    "entra": entra.PRESET,
    "google": google.PRESET,
}
