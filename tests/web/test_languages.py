"""Which language a browser gets, and that it is told."""

from __future__ import annotations

import pytest

from tests.fakes.world import BROKER, World

PAGES = [
    pytest.param("/", 200, id="home"),
    pytest.param("/nothing", 404, id="a problem"),
    pytest.param("/logout", 200, id="signed out"),
    pytest.param(f"/login?x={'x' * 9_000}", 414, id="a request beyond the bounds"),
]


@pytest.mark.parametrize(("path", "status"), PAGES)
async def test_a_page_says_its_language_and_that_the_browser_chose_it(world: World, path: str, status: int) -> None:
    async with world.broker() as service:
        page = await world.browser(service).client.get(f"{BROKER}{path}")
    assert page.status_code == status
    assert page.headers["content-language"] == "en"
    assert page.headers["vary"] == "Accept-Language"
    assert '<html lang="en">' in page.text
