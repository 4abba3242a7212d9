"""Keys change, the provider's and ours, and clocks differ: no sign-in is lost to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import httpx
import pytest

from broker.errors import IdTokenKeyUnknown, StateInvalid
from tests.fakes.clock import Clock
from tests.fakes.lies import AlterAnswer, Lies, says, status, with_
from tests.fakes.provider import new_key
from tests.fakes.world import PAGE, SECRET_KEY, World, assert_refused

NEWER_KEY = "k2-0718293a4b5c6d7e8f90a1b2c3d4e5f6"


def drop_connection(_: httpx.Response) -> httpx.Response:
    raise httpx.ReadError("connection lost")


@pytest.mark.requirement("S-43")
async def test_a_provider_that_rotates_between_two_sign_ins_costs_neither(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
        world.provider.rotate()
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
    assert world.provider.count("/keys") == 2
    assert world.provider.count("/token") == 2


@pytest.mark.requirement("S-43")
async def test_a_provider_that_rotates_just_before_signing_costs_no_sign_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        world.provider.rotate()
        assert str((await browser.follow(await browser.open(callback))).url) == PAGE


@pytest.mark.requirement("S-43")
async def test_a_new_key_under_an_old_kid_costs_no_sign_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        world.provider.keys = [new_key("RS256", world.provider.keys[0].kid)]
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


def publish_late(world: World, seconds: float) -> Lies:
    """Let the provider's key document follow its signer after some time, as behind a cache."""
    published, due = [key.as_dict(private=False) for key in world.provider.keys], world.clock.now + seconds
    return Lies(jwks=lambda jwks: jwks if world.clock.now >= due else {"keys": published})


@pytest.mark.requirement("S-43")
@pytest.mark.parametrize("people", [1, 20])
async def test_a_key_document_a_second_late_costs_a_second_and_no_sign_in(world: World, people: int) -> None:
    async with world.broker() as service:
        browsers = [world.browser(service) for _ in range(people)]
        callbacks = [await browser.to_callback(redirect_url=PAGE) for browser in browsers]
        await world.browser(service).sign_in()
        world.provider.lies = publish_late(world, 1)
        world.provider.rotate()
        began = world.clock.now
        answers = await asyncio.gather(
            *(browser.open(callback) for browser, callback in zip(browsers, callbacks, strict=True))
        )
        assert [answer.status_code for answer in answers] == [303] * people
    assert world.provider.count("/keys") == 3
    assert world.clock.now - began <= people  # each waits a second by itself; together it is one


@pytest.mark.requirement("S-43")
async def test_a_key_document_three_seconds_late_costs_three_seconds(world: World, clock: Clock) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        world.provider.lies = publish_late(world, 3)
        world.provider.rotate()
        assert_refused(await browser.sign_in(), IdTokenKeyUnknown)
        clock.advance(1)
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
    assert world.provider.count("/keys") == 4


@pytest.mark.requirement("S-43")
async def test_unknown_keys_are_asked_for_less_and_less_often(world: World, clock: Clock) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        world.provider.lies = Lies(header=lambda header: {**header, "kid": "made-up"})
        began = clock.now
        while clock.now - began < 600:
            assert_refused(await browser.sign_in(), IdTokenKeyUnknown)
            clock.advance(5)
    assert world.provider.count("/keys") <= 1 + 6 + 10
    assert world.provider.count("/userinfo") == 1


@pytest.mark.requirement("S-43")
@pytest.mark.vulnerability("CVE-2026-48524")
async def test_unknown_keys_while_the_key_set_fails_leave_the_known_keys_alone(world: World) -> None:
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        world.provider.requests.clear()
        for number in range(5):
            world.provider.lies = Lies(header=with_(kid=f"unknown-{number}"), answers={"/keys": status(500)})
            assert_refused(await world.browser(service).sign_in(), IdTokenKeyUnknown)
        world.provider.lies = Lies(answers={"/keys": status(500)})
        assert (await world.browser(service).sign_in()).status_code == 200
    assert world.provider.count("/keys") == 2  # at once and a second later


@pytest.mark.requirement("S-43")
@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(status(503), id="answers 503"),
        pytest.param(says(b'{"keys": []}'), id="has no keys"),
        pytest.param(says(b"<html>maintenance"), id="answers with a page"),
        pytest.param(drop_connection, id="drops the connection"),
    ],
)
async def test_good_keys_outlive_an_outage_of_the_key_set(world: World, clock: Clock, outage: AlterAnswer) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        clock.advance(2 * 86_400)
        world.provider.lies = Lies(answers={"/keys": outage})
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
        assert world.provider.count("/keys") == 2
        world.provider.lies = Lies(answers={"/keys": outage}, header=lambda header: {**header, "kid": "made-up"})
        assert_refused(await browser.sign_in(), IdTokenKeyUnknown)
        world.provider.lies = Lies(answers={"/keys": outage})
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-51")
@pytest.mark.parametrize(
    ("keys_before", "keys_after"),
    [
        pytest.param([SECRET_KEY], [NEWER_KEY, SECRET_KEY], id="to a replica with a newer key"),
        pytest.param([NEWER_KEY, SECRET_KEY], [SECRET_KEY, NEWER_KEY], id="to a replica that still signs with the old"),
    ],
)
async def test_a_secret_key_rotated_in_mid_sign_in_costs_nothing(
    world: World, keys_before: list[str], keys_after: list[str]
) -> None:
    async with (
        world.broker(secret_keys=keys_before) as before,
        world.broker(secret_keys=keys_after) as after,
    ):
        browser = world.browser(before)
        callback = await browser.to_callback(redirect_url=PAGE)
        browser.service = after
        assert str((await browser.follow(await browser.open(callback))).url) == PAGE


async def test_a_secret_key_that_is_gone_opens_nothing_any_more(world: World) -> None:
    async with world.broker() as before, world.broker(secret_keys=[NEWER_KEY]) as after:
        browser = world.browser(before)
        callback = await browser.to_callback(redirect_url=PAGE)
        browser.service = after
        assert_refused(await browser.open(callback), StateInvalid)
    assert world.provider.count("/token") == 0


async def test_a_client_secret_changed_in_its_file_is_used_without_restart(world: World, tmp_path: Path) -> None:
    file = tmp_path / "client-secret"
    file.write_text(world.provider.client_secret or "")
    section = world.settings["identity_providers"]["idp"]
    del section["client_secret"]
    section["client_secret_file"] = str(file)
    async with world.broker() as service:
        browser = world.browser(service)
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
        world.provider.client_secret = "the next one, somewhat longer"
        renewed = tmp_path / "renewed"
        renewed.write_text(world.provider.client_secret)
        renewed.replace(file)
        await anyio.sleep(1.05)  # the file is looked at once a second
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-51")
@pytest.mark.parametrize("seconds", [-30, 30], ids=["behind", "ahead"])
async def test_two_replicas_whose_clocks_differ_by_half_a_minute_share_a_sign_in(
    world: World, clock: Clock, seconds: float
) -> None:
    async with world.broker() as here, world.broker(clock=Clock(clock.now + seconds)) as there:
        browser = world.browser(here)
        callback = await browser.to_callback(redirect_url=PAGE)
        browser.service = there
        assert str((await browser.follow(await browser.open(callback))).url) == PAGE
    assert world.received[0].refusal is None


@pytest.mark.requirement("S-51")
async def test_any_replica_can_take_any_request(world: World) -> None:
    async with world.broker() as first, world.broker() as second:
        browser = world.browser(first)
        one = await browser.to_callback(redirect_url=PAGE)
        browser.service = second
        other = await browser.to_callback(redirect_url=f"{PAGE}2")
        assert str((await browser.follow(await browser.open(one))).url) == PAGE
        browser.service = first
        assert str((await browser.follow(await browser.open(other))).url) == f"{PAGE}2"
