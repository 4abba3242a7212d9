"""The signed link to the setup page: an admin makes one on the broker's machine, and for a while it opens the page.

Whoever has the link sees the page: it is the only key. It is signed by the broker's own keys for this purpose alone,
it says when it expires, and it is bound to one `public_url`, so that another broker with the same keys refuses it.
Nothing is stored. This file knows no request and no page.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.errors import SetupLinkRefused
from broker.signing import CLOCK_LEEWAY, sign_value, unsign_value

MAX_HOURS = 168  # a week

_PURPOSE = b"broker setup link 1"


@dataclass(frozen=True, slots=True)
class SetupLink:
    """A link that is good at this moment.

    Args:
        token: what the address carries.
        expires: seconds since the epoch.
    """

    token: str = field(repr=False)
    expires: int


def make_link(*, public_url: str, hours: int, now: float, secret_keys: Sequence[str]) -> SetupLink:
    """Return a new link.

    Args:
        public_url: where browsers reach the broker; the link is good there alone.
        hours: for how long, from 1 to `MAX_HOURS`.
        now: seconds since the epoch.
        secret_keys: newest first; the first signs.
    """
    expires = int(now) + 3600 * hours
    return SetupLink(sign_value([expires, public_url], purpose=_PURPOSE, key=secret_keys[0]), expires)


def build_setup_url(public_url: str, token: str) -> str:
    """Return the address an admin opens.

    Args:
        public_url: where browsers reach the broker.
        token: of a link; it needs no escaping.
    """
    return f"{public_url}/setup?link={token}"


def check_link(unverified_token: str, *, public_url: str, now: float, secret_keys: Sequence[str]) -> SetupLink:
    """Return the link, if it is ours and has not expired.

    Args:
        unverified_token: from the address.
        public_url: where browsers reach this broker.
        now: seconds since the epoch.
        secret_keys: any of them may have signed it.

    Raises:
        SetupLinkRefused: it is not ours to the byte, another broker's, expired, or good for longer than any is made.
    """
    unsigned = unsign_value(unverified_token, purpose=_PURPOSE, secret_keys=secret_keys)
    if unsigned is None:
        got = f"{len(unverified_token)} characters that none of them signed"
        raise SetupLinkRefused(expected="a link signed by one of secret_keys", got=got)
    (expires, made_for), _ = unsigned
    if not hmac.compare_digest(made_for.encode(), public_url.encode()):
        raise SetupLinkRefused(expected=f"a link for {public_url}", got=f"one for {made_for}")
    if now >= expires:
        raise SetupLinkRefused(expected="a link that has not expired", got=f"expired {now - expires:.0f} s ago")
    if expires - now > 3600 * MAX_HOURS + CLOCK_LEEWAY:
        raise SetupLinkRefused(
            expected=f"a link for {MAX_HOURS} hours at most", got=f"one for {(expires - now) / 3600:.0f} hours"
        )
    return SetupLink(unverified_token, expires)
