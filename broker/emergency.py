"""Break-glass: the address that signs one agent in while the provider or the service is down.

The command needs the settings and Comm100's shared secret, and nothing else. A person who can read the secret can
make any token anyway; the command is narrower (listed addresses of the providers' domains), and each use is logged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from broker.comm100 import Site, build_claims, build_delivery_url, build_token, check_redirect_url
from broker.errors import EmailMalformed, RedirectUrlRefused
from broker.identity import Identity, check_email
from broker.signing import CLOCK_LEEWAY, sign_value, unsign_value
from broker.text import printable

EVENT = "emergency link issued"
PATH = "/emergency-links"  # of the operations port

_REPORT = b"broker emergency report 1"


class NotIssued(Exception):
    """No address is issued; the text tells the admin why."""


@dataclass(frozen=True, slots=True)
class EmergencyLink:
    """An address of Comm100 that signs a person in, while its token is valid.

    Args:
        token_id: `jti` of the token.
        seconds: until the token expires.
    """

    address: str = field(repr=False)
    identity: Identity
    token_id: str
    seconds: int


def issue_link(
    email: str,
    redirect_url: str | None,
    site: Site,
    *,
    listed: Collection[str],
    email_domains: Collection[str],
    now: float,
) -> EmergencyLink:
    """Return the address that signs an agent in at a site, with the token of an ordinary sign-in.

    Args:
        email: unverified.
        redirect_url: unverified; None for the page that Comm100 chooses.
        listed: the addresses of `emergency_access`.
        email_domains: of the site's providers: the command admits only people whom a provider could admit.
        now: seconds since the epoch.

    Raises:
        NotIssued: the address may not be used, or the redirect_url is refused.
    """
    try:
        address = check_email(email)
    except EmailMalformed:
        raise NotIssued("--email must be one plain e-mail address.") from None
    if address not in {one.lower() for one in listed}:
        raise NotIssued(f"{address} is not in sites.{site.id}.emergency_access: add the address there first.")
    domain = address.rpartition("@")[2]
    if domain not in email_domains:
        raise NotIssued(
            f"No identity provider of the site {site.id} may assert addresses of {domain}: email_domains has "
            f"{', '.join(sorted(email_domains)) or 'no domain'}."
        )
    try:
        checked_url = None if redirect_url is None else check_redirect_url(redirect_url, site)
    except RedirectUrlRefused as error:
        expected, got = printable(error.expected), printable(error.got)
        raise NotIssued(f"--redirect-url is refused: expected {expected}, got {got}.") from None
    name = address.partition("@")[0]
    identity = Identity(address, "emergency_access", name, "the e-mail address", subject="", issuer="")
    claims = build_claims(identity, site, now=now)
    delivery = build_delivery_url(build_token(claims, site), checked_url, site)
    return EmergencyLink(delivery, identity, str(claims["jti"]), site.token_lifetime)


def sign_report(facts: Mapping[str, object], *, now: float, secret_keys: Sequence[str]) -> str:
    """Return the report of an issued address for the running service, which writes it to its log.

    Args:
        facts: of the log line.
        now: seconds since the epoch.
    """
    return sign_value({"t": int(now), "f": dict(facts)}, purpose=_REPORT, key=secret_keys[0])


def check_report(unverified_report: str, *, now: float, secret_keys: Sequence[str]) -> Mapping[str, object] | None:
    """Return the facts of a report; None if the command did not make it a moment ago.

    Args:
        now: seconds since the epoch.
    """
    opened = unsign_value(unverified_report, purpose=_REPORT, secret_keys=secret_keys)
    if opened is None or abs(now - opened[0]["t"]) > CLOCK_LEEWAY:
        return None
    facts: Mapping[str, object] = opened[0]["f"]
    return facts
