"""Which language a browser gets, and that it is told."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.web.pages import LANGUAGES, choose_language
from tests.fakes.world import BROKER, World

WANTED = [
    pytest.param("", "en", id="nothing"),
    pytest.param("de", "de", id="one"),
    pytest.param("DE-ch", "de", id="of a country, in any case"),
    pytest.param("fr-CA,fr;q=0.9,en;q=0.8", "fr", id="as browsers send it"),
    pytest.param("en;q=0.8,es;q=0.9", "es", id="by weight, not by place"),
    pytest.param("pl,cs;q=0.9,de;q=0.2", "de", id="the best of those there are"),
    pytest.param("es,fr", "es", id="the first of two wanted alike"),
    pytest.param("ja,ko", "en", id="none of ours"),
    pytest.param("pt", "pt-BR", id="Portuguese"),
    pytest.param("pt-PT,en;q=0.5", "pt-BR", id="Portuguese of Portugal"),
    pytest.param("zh-CN,zh;q=0.9", "zh-Hans", id="Chinese of a country"),
    pytest.param("zh-Hans-SG", "zh-Hans", id="Chinese in this script"),
    pytest.param("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hans", id="Chinese in the other script"),
    pytest.param("*", "en", id="any"),
    pytest.param("ja,*;q=0.5", "en", id="any but rather another"),
    pytest.param("en;q=0,*", "fr", id="any but English"),
    pytest.param("fr;q=0.3,*;q=0.1", "fr", id="one, then any"),
    pytest.param("en;q=0,fr;q=0,de;q=0,es;q=0,pt;q=0,zh;q=0,*", "en", id="none at all"),
    pytest.param("fr;q=0,de", "de", id="not this one"),
    pytest.param("fr ; q=0.500 ,\tde;Q=1.0", "de", id="spaces and capitals"),
    pytest.param("fr;q=2,de;q=-1,es;q=x,en-;q=1,zh;level=1,,;", "en", id="broken items alone"),
    pytest.param("fr;q=2,,=;de;q=0.1,pt", "pt-BR", id="what is not broken counts"),
    pytest.param("d\u00e9,\x00,\U0001f600,es", "es", id="signs that are no language"),
    pytest.param("ja," * 100 + "de", "en", id="far too many"),
    pytest.param("x" * 100_000 + ",de", "en", id="far too long"),
    pytest.param(";" * 100_000, "en", id="far too odd"),
]
PAGES = [
    pytest.param("/", 200, id="home"),
    pytest.param("/nothing", 404, id="a problem"),
    pytest.param("/logout", 200, id="signed out"),
    pytest.param(f"/login?x={'x' * 9_000}", 414, id="a request beyond the bounds"),
]


@pytest.mark.parametrize(("accept_language", "language"), WANTED)
def test_a_browser_gets_the_language_it_wants_most(accept_language: str, language: str) -> None:
    assert choose_language(accept_language) == language


@given(st.text(max_size=40) | st.text("*,;=-q.01 \tdefrnzhHANS", max_size=40))
def test_no_header_is_too_odd(accept_language: str) -> None:
    assert choose_language(accept_language) in LANGUAGES


@pytest.mark.parametrize(("path", "status"), PAGES)
async def test_a_page_says_its_language_and_that_the_browser_chose_it(world: World, path: str, status: int) -> None:
    async with world.broker() as service:
        client = world.browser(service).client
        for language in LANGUAGES:
            page = await client.get(f"{BROKER}{path}", headers={"Accept-Language": f"{language},en;q=0.1"})
            assert page.status_code == status
            assert page.headers["content-language"] == language
            assert page.headers["vary"] == "Accept-Language"
            assert f'<html lang="{language}">' in page.text


async def test_every_page_has_the_name_and_the_logo_of_the_settings(world: World, tmp_path: Path) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1"/>'
    (tmp_path / "logo").write_text(svg)
    async with world.broker(site_name="Acme sign-in", logo_file=str(tmp_path / "logo")) as service:
        page = await world.browser(service).client.get(f"{BROKER}/nothing", headers={"Accept-Language": "fr"})
    assert page.text.count("Acme sign-in") == 2
    assert f'<img src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"' in page.text


async def test_several_headers_count_as_one(world: World) -> None:
    async with world.broker() as service:
        headers = [("Accept-Language", "en;q=0.5"), ("Accept-Language", "de")]
        page = await world.browser(service).client.get(f"{BROKER}/", headers=headers)
    assert page.headers["content-language"] == "de"
