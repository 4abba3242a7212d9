"""Open redirects and over-trusted headers that others had to repair, tried on the broker: one row per identifier."""

from __future__ import annotations

import httpx
import jwt
import pytest

from broker.errors import BrokerError, NoSuchPage, RedirectUrlRefused, StateMissing
from tests.fakes.world import BROKER, ENDPOINT, SHARED_SECRET, World, assert_refused

EVIL = "evil.example"


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    "redirect_url",
    [
        # oauth2-proxy looked at the first characters of a relative address; browsers drop line breaks and tabs in it,
        # so that white space between two slashes hid the address of another host.
        pytest.param(f"/\n/{EVIL}", id="CVE-2020-11053 line feed"),
        pytest.param(f"/\x0b/{EVIL}", id="CVE-2020-11053 vertical tab"),
        pytest.param(f"/\r/{EVIL}", id="CVE-2020-11053 carriage return"),
        pytest.param(f"/%0a/{EVIL}", id="CVE-2020-11053 encoded twice"),
        pytest.param(f"https://acme.comm100.example\n.{EVIL}/", id="CVE-2020-11053 within the host"),
        # oauth2-proxy compared the end of the host's name without a dot before it: badexample.com passed for
        # .example.com.
        pytest.param("https://evilacme.comm100.example/", id="CVE-2021-21291 a name with the same end"),
        pytest.param("https://evil.acme.comm100.example/", id="CVE-2021-21291 a subdomain nobody listed"),
        # mod_auth_openidc knew // and /\ as the start of another host, not a slash and a tab.
        pytest.param(f"/\t/{EVIL}", id="CVE-2022-23527 tab"),
        pytest.param(f"https://acme.comm100.example\t.{EVIL}/", id="CVE-2022-23527 within the host"),
        # mod_auth_openidc took the address for a relative one when its parser found no host; browsers read \ as /.
        pytest.param(f"/\\{EVIL}/logout.html", id="CVE-2019-20479 slash and backslash"),
        pytest.param(f"https:\\\\{EVIL}/", id="CVE-2019-20479 two backslashes"),
        # mod_auth_openidc compared the host that its own parser saw; to a browser it ends at the backslash.
        pytest.param(f"https://{EVIL}\\.acme.comm100.example/", id="CVE-2021-39191 backslash in the host"),
        pytest.param(f"https://{EVIL}\\@acme.comm100.example/", id="CVE-2021-39191 backslash and credentials"),
        # authentik read a plain host as a regular expression, in which a dot stands for any character.
        pytest.param("https://acmeXcomm100.example/", id="CVE-2024-52289 a dot is a dot"),
        # Keycloak compared loosely, so that an address which only begins like the registered one passed.
        pytest.param(f"https://acme.comm100.example.{EVIL}/", id="CVE-2023-6291 a name with the same start"),
        pytest.param(f"https://acme.comm100.example@{EVIL}/", id="CVE-2023-6291 the host as credentials"),
    ],
)
@pytest.mark.parametrize("delivery", ["endpoint", "append"])
async def test_an_address_that_led_elsewhere_at_others_is_refused_at_login(
    world: World, redirect_url: str, delivery: str
) -> None:
    world.settings["sites"]["main"]["delivery"] = delivery
    async with world.broker() as service:
        browser = world.browser(service)
        refused = await browser.open(f"{BROKER}/login", redirect_url=redirect_url)
    assert_refused(refused, RedirectUrlRefused)
    assert EVIL not in refused.text
    assert not browser.broker_cookies()
    assert world.provider.count("/authorize") == 0


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "redirect_url",
    [
        # Fosite compared redirect addresses without regard to case, although paths have one.
        pytest.param(ENDPOINT.replace("SSOJWTConsumer", "ssojwtconsumer"), id="CVE-2020-15234 path in lower case"),
        pytest.param(ENDPOINT.upper().replace("HTTPS", "https"), id="CVE-2020-15234 path in upper case"),
        # Keycloak decoded or normalised only once what the server behind it decoded again.
        pytest.param(f"{ENDPOINT}%252f..%252fother", id="CVE-2022-3782 encoded twice"),
        pytest.param(f"{ENDPOINT}/../other", id="CVE-2022-3782 dot segments"),
    ],
)
async def test_the_token_goes_to_the_endpoint_to_the_letter_or_nowhere(world: World, redirect_url: str) -> None:
    world.settings["sites"]["main"]["delivery"] = "append"
    async with world.broker() as service:
        refused = await world.browser(service).open(f"{BROKER}/login", redirect_url=redirect_url)
    assert_refused(refused, RedirectUrlRefused)


# oauth2-proxy took headers of its own making off a request, but not their spelling with underscores, which many
# frameworks read as the same header: anybody could say who they were.
UNDERSCORES = {"X_Forwarded_User": "grace@acme.example", "X_Forwarded_Email": "grace@acme.example"}
UNDERSCORED_HOST = {"X_Forwarded_Host": EVIL, "X_Forwarded_Proto": "http", "X_Original_Url": f"https://{EVIL}/"}
# oauth2-proxy believed X-Forwarded-Uri from anybody, and judged that path instead of the one it was asked for.
FORWARDED_URI = {"X-Forwarded-Uri": "/", "X-Original-URL": "/", "X-Rewrite-URL": "/", "X-Forwarded-Prefix": "/evil"}
# Starlette put the Host header into request.url unchecked; with a / or ? in it, the path seen there was another one
# than the path that was routed.
HOSTS = [f"{EVIL}", f"{EVIL}/login?", "sso.acme.example/healthz#", "sso.acme.example@evil.example", "[::1", ""]

HEADERS = [
    pytest.param(UNDERSCORES, id="CVE-2025-64484 a person's name"),
    pytest.param(UNDERSCORED_HOST, id="CVE-2025-64484 a host"),
    pytest.param(FORWARDED_URI, id="CVE-2026-40575"),
    *[pytest.param({"Host": host}, id=f"CVE-2026-48710 Host: {host!r}") for host in HOSTS],
]


@pytest.mark.requirement("S-52")
@pytest.mark.parametrize("headers", HEADERS)
async def test_no_header_has_a_say_in_who_signs_in_or_where_the_browser_goes(
    world: World, headers: dict[str, str]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.client.get(f"{BROKER}/login", headers=headers)
        asked = httpx.URL(redirect.headers["location"])
        back = await browser.open(str(asked))
        signed_in = await browser.client.get(back.headers["location"], headers=headers)
    assert asked.host == "idp.example"
    assert asked.params["redirect_uri"] == f"{BROKER}/callback/idp"
    location = signed_in.headers["location"]
    assert location.startswith(f"{ENDPOINT}?jwt=")
    claims = jwt.decode(
        location.partition("jwt=")[2], SHARED_SECRET.encode(), ["HS256"], options={"verify_signature": False}
    )
    assert claims["email"] == "ada@acme.example"


# oauth2-proxy answered a request with a health checker's User-Agent as one, whatever path it asked for.
PROBES = ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", ""]


@pytest.mark.requirement("S-52", "S-56")
@pytest.mark.parametrize(
    ("path", "error"), [("/callback/idp", StateMissing), ("/healthz", NoSuchPage), ("/metrics", NoSuchPage)]
)
@pytest.mark.parametrize(
    "headers", [*HEADERS, *[pytest.param({"User-Agent": name}, id=f"CVE-2026-34457 {name!r}") for name in PROBES]]
)
async def test_no_header_opens_an_address_or_skips_a_check(
    world: World, headers: dict[str, str], path: str, error: type[BrokerError]
) -> None:
    async with world.broker() as service:
        refused = await world.browser(service).client.get(f"{BROKER}{path}", headers=headers)
    assert_refused(refused, error)
    assert EVIL not in refused.text
