"""The settings file while the service runs: read again when asked, looked at in between, and never used half."""

from __future__ import annotations

import asyncio
import copy
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.app import Service
from broker.errors import NoSuchPage, StateInvalid, TransactionSpent
from broker.reload import follow_settings
from broker.settings import SettingsSource
from tests.fakes.world import BROKER, SECRET_KEY, SHARED_SECRET, World, assert_refused
from tests.test_app import DISCOVERY, KEYS, body_of, warm

pytestmark = pytest.mark.anyio


class Following:
    """A service that follows its settings file.

    Args:
        asked: set to ask for a reload.
    """

    def __init__(self, world: World, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        self.world = world
        self.service = service
        self.asked = asyncio.Event()
        self._caplog = caplog

    @property
    def source(self) -> SettingsSource:
        return SettingsSource(self.world.folder / "broker.yaml", {})

    def write(self, **changes: Any) -> None:
        """Replace the settings file by one with other top-level keys."""
        settings = {**copy.deepcopy(self.world.settings), **changes}
        self.write_text(yaml.safe_dump(settings, sort_keys=False))

    def write_text(self, text: str) -> None:
        (self.world.folder / "new.yaml").write_text(text, encoding="utf-8")
        (self.world.folder / "new.yaml").rename(self.world.folder / "broker.yaml")

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the facts of every line of an event."""
        return [getattr(each, "facts", {}) for each in self._caplog.records if each.getMessage() == event]

    async def hears(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait for a line, and return its facts."""
        for _ in range(1000):
            if len(self.told(event)) >= times:
                return self.told(event)[-1]
            await asyncio.sleep(0.01)
        raise AssertionError(f"never told: {event}")

    async def reload(self, **changes: Any) -> dict[str, Any]:
        """Change the file, ask for a reload, and return the facts of the line that it causes."""
        times = len(self.told("settings reloaded")) + 1
        self.write(**changes)
        self.asked.set()
        return await self.hears("settings reloaded", times)

    async def metric(self, sample: str) -> float | None:
        lines = (await body_of(self.service.operations, "/metrics")).decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), None)


@asynccontextmanager
async def following(
    world: World, caplog: pytest.LogCaptureFixture, *, look_seconds: float = 30.0
) -> AsyncIterator[Following]:
    caplog.set_level("INFO")
    async with world.broker() as service:
        await warm(service)
        it = Following(world, service, caplog)
        seen = it.source.fingerprint()
        task = asyncio.create_task(
            follow_settings(service, it.source, it.asked, seen, look_seconds=look_seconds, pause_seconds=0)
        )
        try:
            yield it
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_reload_keeps_documents_counts_and_consumed_states(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog) as it:
        browser = world.browser(it.service)
        callback = await browser.to_callback()
        cookies = list(browser.client.cookies.jar)
        assert (await browser.open(callback)).status_code == 303
        assert (await it.reload(site_name="Acme"))["changed"] == ("site_name",)
        for cookie in cookies:
            browser.client.cookies.jar.set_cookie(cookie)
        assert_refused(await browser.open(callback), TransactionSpent)
        signed_in = 'comm100_sso_signins_total{provider="idp",reason="none",result="signed_in",site="main"}'
        assert await it.metric(signed_in) == 1
        assert "Acme" in (await browser.open(BROKER)).text
        assert (await browser.sign_in()).status_code == 200
        assert await it.metric(signed_in) == 2
    asked = [path for path in world.provider.requests if path in (DISCOVERY, KEYS)]
    assert asked == [DISCOVERY, KEYS], "once in all"


async def test_a_sign_in_begun_before_a_reload_is_completed_after_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog) as it:
        browser = world.browser(it.service)
        callback = await browser.to_callback()
        await it.reload(support_email="it-desk@acme.example")
        assert (await browser.follow(await browser.open(callback))).status_code == 200
    assert world.received


async def test_a_request_in_flight_ends_with_the_settings_it_began_with(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog) as it:
        browser = world.browser(it.service)
        callback = await browser.to_callback()
        answered, held = asyncio.Event(), world.provider.handle

        async def slow(request: Any) -> Any:
            if request.url.path == "/token":
                await answered.wait()
            return await held(request)

        world.provider.handle = slow  # type: ignore[method-assign]
        arriving = asyncio.create_task(browser.open(callback))
        await asyncio.sleep(0.05)
        sites = copy.deepcopy(world.settings["sites"])
        sites["main"]["shared_secret"] = "M2E1ZjA3" * 3 + SHARED_SECRET
        assert (await it.reload(sites=sites))["changed"] == ("sites.main.shared_secret",)
        answered.set()
        assert (await browser.follow(await arriving)).status_code == 200
    assert world.received, "Comm100 still has the old secret"


async def test_the_person_of_a_removed_provider_gets_a_plain_page(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog) as it:
        browser = world.browser(it.service)
        callback = await browser.to_callback()
        other = {"other": world.settings["identity_providers"]["idp"]}
        told = await it.reload(identity_providers=other)
        assert (told["added"], told["removed"]) == (("identity_providers.other",), ("identity_providers.idp",))
        assert_refused(await browser.open(callback), NoSuchPage)
        assert "/callback/other" in await browser.to_callback()
        document = 'comm100_sso_provider_fetched_timestamp_seconds{document="keys",provider="%s"}'
        assert await it.metric(document % "idp") is None
        assert await it.metric(document % "other") == world.clock()
        assert b'"idp"' not in await body_of(it.service.operations, "/readyz")


async def test_a_reload_fetches_the_documents_of_a_new_provider_before_it_is_used(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog) as it:
        provider = world.add_provider("eu")
        await it.reload()
        assert provider.requests == [DISCOVERY, KEYS]
        assert b"missing" not in await body_of(it.service.operations, "/readyz")


async def test_a_provider_at_another_address_is_asked_anew(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with following(world, caplog) as it:
        providers = copy.deepcopy(world.settings["identity_providers"])
        providers["idp"]["metadata_url"] = f"{world.provider.issuer}{DISCOVERY}"
        assert (await it.reload(identity_providers=providers))["changed"] == ("identity_providers.idp.metadata_url",)
    assert world.provider.count(DISCOVERY) == 2


@pytest.mark.parametrize("keeps_old", [True, False], ids=["the old key is kept", "the old key is gone"])
async def test_a_sign_in_under_way_needs_the_key_that_it_began_with(
    world: World, caplog: pytest.LogCaptureFixture, keeps_old: bool
) -> None:
    async with following(world, caplog) as it:
        browser = world.browser(it.service)
        callback = await browser.to_callback()
        keys = ["k2-0a1b2c3d4e5f60718293a4b5c6d7e8f9", *([SECRET_KEY] if keeps_old else [])]
        assert (await it.reload(secret_keys=keys))["changed"] == ("secret_keys",)
        if keeps_old:
            assert (await browser.follow(await browser.open(callback))).status_code == 200
        else:
            assert_refused(await browser.open(callback), StateInvalid)
            assert (await browser.sign_in()).status_code == 200, "the person starts again"


async def test_a_reload_that_fails_leaves_the_settings_in_use(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async with following(world, caplog) as it:
        task = asyncio.create_task(
            follow_settings(replace(it.service, reload=fail), it.source, asked := asyncio.Event(), None)
        )
        asked.set()
        told = await it.hears("settings file rejected")
        task.cancel()
        assert "Too many open files" in told["mistakes"][0]
        assert await it.metric("comm100_sso_settings_file_rejected") == 1
        assert (await world.browser(it.service).sign_in()).status_code == 200


async def test_a_changed_secret_is_told_before_a_sign_in_needs_it(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "client-secret"
    file.write_text("s3cret:with %odd+chars")
    section = world.settings["identity_providers"]["idp"]
    del section["client_secret"]
    section["client_secret_file"] = str(file)
    async with following(world, caplog, look_seconds=0.1) as it:
        file.write_text("")
        await it.hears(f"{file} changed and is empty; the previous value stays in use")
        assert (await world.browser(it.service).sign_in()).status_code == 200


UNUSABLE = [
    pytest.param("public_url: [", "is not YAML", id="no YAML"),
    pytest.param("", "is required", id="empty"),
    pytest.param("site_nam: Acme", "did you mean site_name", id="a misspelt key"),
    pytest.param("sites: {main: {shared_secret: s3cret}}", "is shorter than 32 bytes", id="a short secret"),
]


@pytest.mark.parametrize(("text", "words"), UNUSABLE)
async def test_settings_that_cannot_be_used_change_nothing(
    world: World, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    async with following(world, caplog) as it:
        it.write_text(text)
        it.asked.set()
        told = await it.hears("settings file rejected")
        assert words in " ".join(told["mistakes"])
        assert told["count"] == len(told["mistakes"])
        assert "s3cret" not in str(told)
        assert "SIGHUP" in told["remedy"]
        assert await it.metric("comm100_sso_settings_file_rejected") == 1
        assert (await world.browser(it.service).sign_in()).status_code == 200
        await it.reload()
        assert await it.metric("comm100_sso_settings_file_rejected") == 0


async def test_a_mistake_in_a_changed_file_is_told_without_being_asked(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(world, caplog, look_seconds=0.02) as it:
        it.write(log_emial="plain")
        await it.hears("settings file rejected")
        (it.world.folder / "broker.yaml").unlink()
        told = await it.hears("settings file rejected", 2)
        assert "cannot be read" in told["mistakes"][0]
        assert await it.metric("comm100_sso_settings_file_rejected") == 1
        it.write()
        for _ in range(500):
            if await it.metric("comm100_sso_settings_file_rejected") == 0:
                break
            await asyncio.sleep(0.01)
        assert await it.metric("comm100_sso_settings_file_rejected") == 0, "the file is what runs"
        assert it.told("settings file changed") == []


async def test_a_changed_file_is_named_once_and_not_used(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with following(world, caplog, look_seconds=0.02) as it:
        it.write(site_name="Acme")
        told = await it.hears("settings file changed")
        assert told["changed"] == ("site_name",)
        assert "SIGHUP" in told["remedy"]
        await asyncio.sleep(0.1)
        assert len(it.told("settings file changed")) == 1
        assert "Acme" not in (await world.browser(it.service).open(BROKER)).text


async def test_a_secret_in_another_file_is_no_change(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with following(world, caplog) as it:
        (world.folder / "secret").write_text(SHARED_SECRET)
        sites = copy.deepcopy(world.settings["sites"])
        del sites["main"]["shared_secret"]
        sites["main"]["shared_secret_file"] = "secret"
        told = await it.reload(sites=sites)
        assert told == {"added": (), "removed": (), "changed": ()}
        assert await it.metric('comm100_sso_secret_file_rejected{setting="sites.main.shared_secret"}') == 0
