"""Metadata and keys of one provider: fetched for everybody, kept through its outages (S-43, S-44)."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from broker.errors import KeysInvalid, MetadataIssuer, ProviderUnreachable
from broker.oidc.discovery import LIFETIME_SPREAD, METADATA_LIFETIME, Cached, Discovery
from broker.oidc.keys import KeySet
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.metadata import ProviderMetadata
from tests.fakes.clock import Clock
from tests.oidc.samples import ISSUER, METADATA, answer, published, registration, signing_key

METADATA_URL = f"{ISSUER}/.well-known/openid-configuration"
A_MOMENT = 1 / 64  # second: a float clock adds it up exactly
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": METADATA.authorization_endpoint,
    "token_endpoint": METADATA.token_endpoint,
    "jwks_uri": METADATA.jwks_uri,
    "userinfo_endpoint": METADATA.userinfo_endpoint,
}


class Wire:
    """Answers by address, and counts."""

    def __init__(self) -> None:
        self.answers: dict[str, ProviderResponse | Exception] = {
            METADATA_URL: answer(DOCUMENT),
            METADATA.jwks_uri: answer({"keys": [published(signing_key())]}),
        }
        self.asked: list[str] = []

    async def send(self, request: ProviderRequest) -> ProviderResponse:
        self.asked.append(request.url)
        await asyncio.sleep(0)
        given = self.answers[request.url]
        if isinstance(given, Exception):
            raise given
        return given


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def discovery(wire: Wire, clock: Clock) -> Discovery:
    return Discovery(registration(), wire.send, clock, chance=lambda: 0.0)


Kept = Cached[ProviderMetadata] | Cached[KeySet]


@pytest.fixture(params=["metadata", "keys"])
def one(request: pytest.FixtureRequest, discovery: Discovery) -> tuple[Kept, str]:
    """One of the two documents, and its address; whatever the one needs of the other is there and fresh."""
    return (discovery.metadata, METADATA_URL) if request.param == "metadata" else (discovery.keys, METADATA.jwks_uri)


async def ask_again(document: Kept) -> None:
    """Ask for the document, whether or not there is one, and let a fetch meanwhile come to its end."""
    with contextlib.suppress(ProviderUnreachable):
        await document.get()
    for _ in range(10):
        await asyncio.sleep(0)


async def test_keeping_warm_fetches_each_document_once(discovery: Discovery, wire: Wire) -> None:
    await discovery.keep_warm()
    await discovery.keep_warm()
    assert wire.asked == [METADATA_URL, METADATA.jwks_uri]
    assert discovery.metadata.peek() == METADATA
    keys = discovery.keys.peek()
    assert keys is not None
    assert [key.kid for key in keys.keys] == ["key-1"]


async def test_everyone_who_arrives_cold_shares_the_fetches(discovery: Discovery, wire: Wire) -> None:
    await asyncio.gather(*(discovery.keys.get() for _ in range(50)), *(discovery.metadata.get() for _ in range(50)))
    assert wire.asked == [METADATA_URL, METADATA.jwks_uri]


@pytest.mark.requirement("S-44")
async def test_metadata_is_refreshed_by_age(discovery: Discovery, wire: Wire, clock: Clock) -> None:
    await discovery.metadata.get()
    clock.advance(METADATA_LIFETIME)
    moved = f"{ISSUER}/token/v2"
    wire.answers[METADATA_URL] = answer({**DOCUMENT, "token_endpoint": moved})
    assert (await discovery.metadata.get()).token_endpoint == moved


async def test_a_lifetime_is_shorter_by_chance_and_never_longer(wire: Wire, clock: Clock) -> None:
    """Hundreds of providers that were fetched at one start are not fetched at one instant an hour later."""
    wire.answers[METADATA.jwks_uri] = answer({"keys": [published(signing_key())]}, max_age=600)
    chances = iter([1.0, 0.5])
    discovery = Discovery(registration(), wire.send, clock, chance=lambda: next(chances))
    await discovery.keep_warm()
    assert discovery.metadata.fresh_until - clock() == METADATA_LIFETIME * (1 - LIFETIME_SPREAD)
    assert discovery.keys.fresh_until - clock() == 600 * (1 - LIFETIME_SPREAD / 2)


async def test_a_document_is_fresh_for_its_lifetime_and_fetched_by_no_one_who_only_looks(
    discovery: Discovery, wire: Wire, clock: Clock
) -> None:
    assert discovery.metadata.fresh() is None
    await discovery.metadata.get()
    assert discovery.metadata.fresh() == METADATA
    clock.advance(METADATA_LIFETIME)
    assert discovery.metadata.fresh() is None
    assert wire.asked == [METADATA_URL]


async def test_keys_are_asked_for_where_the_newest_metadata_says(
    discovery: Discovery, wire: Wire, clock: Clock
) -> None:
    await discovery.keep_warm()
    clock.advance(METADATA_LIFETIME)
    moved = f"{ISSUER}/keys/v2"
    wire.answers |= {
        METADATA_URL: answer({**DOCUMENT, "jwks_uri": moved}),
        moved: answer({"keys": [published(signing_key("ES256", "new"))]}),
    }
    await discovery.keep_warm()
    assert [key.kid for key in (await discovery.keys.get()).keys] == ["new"]


@pytest.mark.requirement("S-43")
async def test_keys_are_kept_as_long_as_the_provider_says(discovery: Discovery, wire: Wire, clock: Clock) -> None:
    wire.answers[METADATA.jwks_uri] = answer({"keys": [published(signing_key())]}, max_age=600)
    await discovery.keys.get()
    clock.advance(599)
    await discovery.keys.get()
    assert wire.asked.count(METADATA.jwks_uri) == 1
    clock.advance(1)
    await discovery.keys.get()
    assert wire.asked.count(METADATA.jwks_uri) == 2


@pytest.mark.requirement("S-43")
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(ProviderUnreachable(), id="no answer"),
        pytest.param(answer(b"<html>"), id="a web page"),
        pytest.param(answer({"keys": []}), id="no keys"),
        pytest.param(answer({"keys": [{"kty": "oct", "k": "AA"}]}), id="no usable key"),
        pytest.param(answer({}, 500), id="a server error"),
    ],
)
async def test_a_broken_key_set_takes_no_good_keys_away(
    discovery: Discovery, wire: Wire, broken: ProviderResponse | Exception
) -> None:
    keys = await discovery.keys.get()
    wire.answers[METADATA.jwks_uri] = broken
    assert await discovery.keys.refetch(keys) is keys
    assert discovery.keys.failure is not None


@pytest.mark.requirement("S-44")
async def test_a_provider_that_was_down_recovers(discovery: Discovery, wire: Wire, clock: Clock) -> None:
    honest = wire.answers[METADATA_URL]
    wire.answers[METADATA_URL] = ProviderUnreachable()
    with pytest.raises(ProviderUnreachable):
        await discovery.keep_warm()
    wire.answers[METADATA_URL] = honest
    clock.advance(1)
    await discovery.keep_warm()
    assert (discovery.metadata.failure, discovery.keys.failure) == (None, None)


@pytest.mark.requirement("S-44")
async def test_what_is_missing_is_asked_for_once_a_second_and_no_more_often(
    one: tuple[Kept, str], wire: Wire, clock: Clock
) -> None:
    document, address = one
    wire.answers[address] = ProviderUnreachable()
    for seconds, fetches in ((0, 1), (0, 1), (1 - A_MOMENT, 1), (A_MOMENT, 2), (1 - A_MOMENT, 2), (A_MOMENT, 3)):
        clock.advance(seconds)
        await ask_again(document)
        assert wire.asked.count(address) == fetches


@pytest.mark.requirement("S-43", "S-44")
async def test_what_is_old_and_cannot_be_had_is_asked_for_once_a_minute_and_no_more_often(
    one: tuple[Kept, str], wire: Wire, clock: Clock
) -> None:
    document, address = one
    wire.answers[METADATA.jwks_uri] = answer({"keys": [published(signing_key())]}, max_age=int(METADATA_LIFETIME))
    await ask_again(document)
    clock.advance(METADATA_LIFETIME)
    kept = document.peek()
    wire.answers[address] = ProviderUnreachable()
    for seconds, fetches in ((0, 2), (0, 2), (60 - A_MOMENT, 2), (A_MOMENT, 3), (60 - A_MOMENT, 3), (A_MOMENT, 4)):
        clock.advance(seconds)
        await ask_again(document)
        assert wire.asked.count(address) == fetches
        assert document.peek() is kept


@pytest.mark.requirement("S-40")
async def test_metadata_of_another_issuer_is_no_metadata(discovery: Discovery, wire: Wire) -> None:
    """Nor are its keys fetched."""
    wire.answers[METADATA_URL] = answer({**DOCUMENT, "issuer": "https://evil.example"})
    with pytest.raises(MetadataIssuer):
        await discovery.keep_warm()
    with pytest.raises(MetadataIssuer):
        await discovery.keys.get()
    assert METADATA.jwks_uri not in wire.asked


async def test_no_key_at_all_fails_for_its_own_reason(discovery: Discovery, wire: Wire) -> None:
    wire.answers[METADATA.jwks_uri] = answer({"keys": []})
    with pytest.raises(KeysInvalid):
        await discovery.keep_warm()


async def test_members_that_are_ignored_are_logged_once(
    discovery: Discovery, wire: Wire, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    wire.answers[METADATA_URL] = answer({**DOCUMENT, "end_session_endpoint": "", "userinfo_endpoint": "http://x"})
    for _ in range(3):
        assert (await discovery.metadata.get()).userinfo_endpoint is None
        clock.advance(METADATA_LIFETIME)
    (record,) = [record for record in caplog.records if record.name == "broker"]
    assert vars(record)["facts"] == {
        "issuer": ISSUER,
        "ignored": ("userinfo_endpoint: http://x", "end_session_endpoint: an empty string"),
    }
