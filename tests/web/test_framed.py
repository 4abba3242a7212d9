"""Inside a frame: a page with one link to a new tab, on the two addresses where sign-ins start, and nothing else."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from broker.errors import BrokerError, NotANavigation, RedirectUrlRefused
from tests.fakes.world import BROKER, PAGE, World, assert_refused, metrics, signins_counted

FRAMES = ["iframe", "frame", "embed", "object", "fencedframe"]
IN_A_FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
LOGIN = f"{BROKER}/login/main"
INITIATE = f"{BROKER}/initiate/idp?iss=https://idp.example"


async def framed(world: World, url: str, **headers: str) -> httpx.Response:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.client.get(url, headers={**IN_A_FRAME, **headers})
        assert browser.broker_cookies() == []
        assert signins_counted(await metrics(service)) == []
    assert "/authorize" not in world.provider.requests
    return answer


def links(page: httpx.Response) -> list[tuple[str, str]]:
    """Read the attributes of the page's links, href first."""
    found = re.findall(r'<a class="button" href="([^"]*)"([^>]*)>', page.text)
    assert page.text.count("<a ") == len(found)
    return [(html.unescape(href), rest.strip()) for href, rest in found]


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize("dest", FRAMES)
@pytest.mark.parametrize(
    ("url", "leads_to"),
    [
        pytest.param(f"{BROKER}/login", LOGIN, id="login"),
        pytest.param(LOGIN, LOGIN, id="login of a site"),
        pytest.param(f"{LOGIN}?idp=idp", f"{LOGIN}?idp=idp", id="a choice is kept"),
        pytest.param(f"{LOGIN}?idp=nobody", LOGIN, id="a choice there is not, is not"),
        pytest.param(f"{LOGIN}?login_hint=x&evil=1", LOGIN, id="nothing else is kept"),
        pytest.param(f"{LOGIN}?login_hint=eve@other.example", LOGIN, id="nor a hint of another domain"),
        pytest.param(
            f"{LOGIN}?login_hint=ada@acme.example", f"{LOGIN}?idp=idp", id="a hint is kept as the choice it makes"
        ),
        pytest.param(
            f"{LOGIN}?idp=idp&another_account=x", f"{LOGIN}?idp=idp&another_account=1", id="another account is kept"
        ),
        pytest.param(INITIATE, f"{LOGIN}?idp=idp", id="a tile"),
    ],
)
async def test_a_sign_in_in_a_frame_is_offered_in_a_new_tab(world: World, dest: str, url: str, leads_to: str) -> None:
    page = await framed(world, url, **{"Sec-Fetch-Dest": dest})
    assert page.status_code == 200
    assert links(page) == [(leads_to, 'target="_blank" rel="noopener"')]
    assert "refresh" not in page.headers
    assert "set-cookie" not in page.headers
    assert "<script" not in page.text


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize("url", [LOGIN, INITIATE], ids=["login", "a tile"])
async def test_that_answer_alone_may_be_framed_and_keeps_every_other_header(world: World, url: str) -> None:
    page = await framed(world, url)
    async with world.broker() as service:
        home = await world.browser(service).open(f"{BROKER}/")
    policy, usual = (one.headers["content-security-policy"].split("; ") for one in (page, home))
    assert [part for part in policy if part not in usual] == ["frame-ancestors https:"]
    assert [part for part in usual if part not in policy] == ["frame-ancestors 'none'"]
    assert "x-frame-options" not in page.headers
    per_answer = {"content-security-policy", "x-frame-options", "content-length"}
    same = [{k: v for k, v in one.headers.items() if k not in per_answer} for one in (page, home)]
    assert same[0] == same[1]


async def test_the_new_tab_goes_on_with_the_same_page(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.client.get(f"{BROKER}/login", params={"redirect_url": PAGE}, headers=IN_A_FRAME)
        [(href, _)] = links(page)
        assert str((await browser.follow(await browser.open(href))).url) == PAGE


async def test_with_several_providers_the_person_chooses_in_the_new_tab(world: World) -> None:
    world.add_provider("eu")
    page = await framed(world, LOGIN)
    assert links(page) == [(LOGIN, 'target="_blank" rel="noopener"')]


@pytest.mark.requirement("S-33", "S-53")
@pytest.mark.parametrize(
    ("url", "headers", "error"),
    [
        pytest.param(f"{LOGIN}?redirect_url=https://evil.example/", {}, RedirectUrlRefused, id="a stranger's page"),
        pytest.param(
            f"{INITIATE}&target_link_uri=https://evil.example/", {}, RedirectUrlRefused, id="a stranger's, by a tile"
        ),
        pytest.param(LOGIN, {"Sec-Purpose": "prefetch"}, NotANavigation, id="a prefetch"),
        pytest.param(LOGIN, {"Sec-Fetch-Mode": "cors"}, NotANavigation, id="a script's fetch"),
    ],
)
async def test_what_is_refused_is_refused_in_a_frame_too_and_not_shown_there(
    world: World, url: str, headers: dict[str, str], error: type[BrokerError]
) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.get(url, headers={**IN_A_FRAME, **headers})
    assert_refused(answer, error)
    assert_not_framed(answer)


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/", 200, id="home"),
        pytest.param("GET", "/logout", 200, id="signed out"),
        pytest.param("GET", "/logout/main", 200, id="signed out of a site"),
        pytest.param("GET", "/callback/idp", 400, id="a callback"),
        pytest.param("GET", "/callback/nobody", 404, id="nobody's callback"),
        pytest.param("GET", "/initiate/idp", 400, id="a tile without an issuer"),
        pytest.param("GET", "/initiate/nobody", 404, id="nobody's tile"),
        pytest.param("GET", "/login/nowhere", 404, id="no such site"),
        pytest.param("GET", "/login?redirect_url=a&redirect_url=b", 400, id="a parameter twice"),
        pytest.param("GET", "/nowhere", 404, id="no such page"),
        pytest.param("HEAD", "/login", 405, id="HEAD of login"),
        pytest.param("POST", "/login", 405, id="POST to login"),
        pytest.param("GET", f"/login?{'a' * 9_000}", 414, id="an address too long"),
    ],
)
async def test_every_other_answer_refuses_to_be_framed(world: World, method: str, path: str, status: int) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.request(method, f"{BROKER}{path}", headers=IN_A_FRAME)
    assert answer.status_code == status
    assert_not_framed(answer)


@pytest.mark.parametrize("dest", ["document", "empty", "IFRAME", ""], ids=["document", "empty", "upper case", "none"])
async def test_outside_of_a_frame_nothing_changes(world: World, dest: str) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.get(LOGIN, headers={"Sec-Fetch-Dest": dest})
    assert answer.status_code == 303
    assert_not_framed(answer)


async def test_a_sign_in_that_ends_in_a_frame_is_not_shown_there(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        arrived = await browser.client.get(await browser.to_callback(redirect_url=PAGE), headers=IN_A_FRAME)
    assert arrived.status_code == 303
    assert_not_framed(arrived)


def assert_not_framed(answer: httpx.Response) -> None:
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
