"""An admin in front of the setup page: a link, a test sign-in, and what its page says."""

from __future__ import annotations

import html
import re

import httpx

from broker.signing import make_link
from tests.fakes.world import BROKER, SECRET_KEY, SHARED_SECRET, Browser, World

EVERY_STEP = [
    "Metadata of the provider",
    "Back in the same browser",
    "Callback: issuer (iss)",
    "Callback: authorization code",
    "Code exchanged for tokens",
    "ID token: signature",
    "ID token: issuer (iss)",
    "ID token: audience (aud)",
    "ID token: times (exp, iat, nbf)",
    "ID token: nonce",
    "ID token: time of authentication (auth_time)",
    "ID token: access token (at_hash)",
    "ID token: subject (sub)",
    "ID token: strength of the sign-in (acr, amr)",
    "userinfo",
    "E-mail address",
    "E-mail domain allowed",
    "Group allowed",
]


def link_for(world: World, *, hours: int = 1, public_url: str = BROKER, key: str = SECRET_KEY) -> str:
    """Make a link as the command does; return what the address carries."""
    return make_link(public_url=public_url, hours=hours, now=world.clock(), secret_keys=[key]).token


async def run_dry_run(browser: Browser, idp: str = "idp", *, link: str = "") -> httpx.Response:
    """Go a test sign-in to its end."""
    link = link or link_for(browser.world)
    return await browser.follow(await browser.open(f"{BROKER}/setup/test/{idp}", link=link))


async def to_report(browser: Browser, idp: str = "idp", *, link: str = "") -> str:
    """Go a test sign-in until the provider sends the browser back; return that address without opening it."""
    link = link or link_for(browser.world)
    start = await browser.open(f"{BROKER}/setup/test/{idp}", link=link)
    last = await browser.follow(start, until=f"{BROKER}/callback")
    return str(last.headers["location"])


def text_of(page: httpx.Response) -> str:
    """Return what a person reads on a page, a line for each piece."""
    body = re.sub(r"<(style|script).*?</\1>", "", page.text, flags=re.DOTALL)
    return "\n".join(
        line.strip() for line in html.unescape(re.sub(r"<[^>]+>", "\n", body)).splitlines() if line.strip()
    )


def steps_of(page: httpx.Response) -> dict[str, str]:
    """Return the checks on the page at the end of a test sign-in: how each ended."""
    found = re.findall(r'<span class="tag (\w+)">.*?<strong>(.*?)</strong>', page.text, flags=re.DOTALL)
    return {html.unescape(name): status for status, name in found}


def assert_no_token(world: World, *answers: httpx.Response) -> None:
    """Check that nothing went to Comm100, and nothing could."""
    assert not world.received
    for answer in answers:
        assert "jwt=" not in answer.text + str(answer.headers)
        assert SHARED_SECRET not in answer.text
        assert not re.search(r"eyJ(hbGci|0eXAi|raWQi|pc3Mi|[\w-]+\.eyJ)", answer.text), "the beginning of a token"
