"""Identity providers as presets: what is known of one kind of provider, as data and named quirks.

A preset decides which claim is the e-mail address and whether the provider may be believed about it. The protocol
itself is in `oidc`, which knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.providers import oidc
from broker.providers.record import ClaimRules, IdentityDecision, Provider, Userinfo, Vouched

__all__ = ["PRESETS", "ClaimRules", "IdentityDecision", "Provider", "Userinfo", "Vouched"]

PRESETS: Mapping[str, IdentityDecision] = {"oidc": oidc.decide_identity}
