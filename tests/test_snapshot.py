"""The snapshot file: what a running service writes, and what a service that starts believes of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from broker.oidc.client import NetworkPolicy, ProviderClient
from broker.providers import Provider
from broker.settings import load_settings
from broker.snapshot import MAX_AGE_SECONDS, MAX_BYTES, WRITE_SECONDS, Snapshot
from broker.wiring import wire_provider
from tests.fakes.clock import START, Clock
from tests.fakes.lies import Lies
from tests.fakes.ports import free_port
from tests.fakes.processes import provider_site, running_broker, served, wait_until
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SECRET_KEY, SHARED_SECRET, World, metrics, settings_for

pytestmark = pytest.mark.anyio

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"
DAY = 86400.0


def wire(world: World, identifier: str = "idp") -> Provider:
    """Return a provider as a service that starts has it, without metadata and keys."""
    path = world.folder / "broker.yaml"
    path.write_text(yaml.safe_dump(world.settings, sort_keys=False))
    client = httpx.MockTransport(world._provider_answer)  # noqa: SLF001 - one world
    send = ProviderClient(client, NetworkPolicy()).send
    return wire_provider(load_settings(path, {}), identifier, send=send, clock=world.clock, sleep=world.clock.sleep)


def silence(provider: FakeProvider) -> None:
    """Let the provider answer people and codes, but neither for metadata nor for keys."""
    provider.lies = Lies(answers={path: lambda _: httpx.Response(503) for path in (DISCOVERY, KEYS)})


async def written_by(world: World, file: Path, identifier: str = "idp") -> Provider:
    """Let a running service write the file; return its provider."""
    provider = wire(world, identifier)
    await provider.discovery.keep_warm()
    await Snapshot(file, world.clock).look([provider])
    return provider


async def restored(world: World, file: Path, identifier: str = "idp") -> tuple[Snapshot, Provider]:
    """Let a service start with the file; return its snapshot and its provider."""
    snapshot, provider = Snapshot(file, world.clock), wire(world, identifier)
    await snapshot.restore([provider])
    return snapshot, provider


def change(file: Path, alter: Callable[[dict[str, Any]], object]) -> None:
    """Alter the entry of the provider in the file, as a person with an editor would."""
    document = json.loads(file.read_text())
    alter(document["providers"]["idp"])
    file.write_text(json.dumps(document))


def entries(file: Path) -> dict[str, Any]:
    providers: dict[str, Any] = json.loads(file.read_text())["providers"]
    return providers


def look_at(file: Path) -> tuple[str, int]:
    """Return the text of a file, and who may do what with it."""
    return file.read_text(), file.stat().st_mode & 0o777


def names_beside(file: Path) -> list[str]:
    return sorted(one.name for one in file.parent.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.json"


async def test_people_sign_in_at_a_service_that_starts_while_metadata_and_keys_cannot_be_fetched(
    world: World, file: Path
) -> None:
    await written_by(world, file)
    silence(world.provider)
    world.clock.advance(DAY)
    async with world.broker(snapshot_file=str(file)) as service:
        for _ in range(3):
            assert (await world.browser(service).sign_in()).status_code == 200
        exported = await metrics(service)
        assert 'comm100_sso_provider_snapshot_in_use{provider="idp"} 1.0' in exported
        assert "comm100_sso_snapshot_rejected 0.0" in exported
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.operations)) as client:
            ready = (await client.get("http://127.0.0.1:9000/readyz")).json()["identity_providers"]["idp"]
        assert (ready["metadata"], ready["keys"], ready["snapshot_age_seconds"]) == ("snapshot", "snapshot", DAY)
    assert world.provider.count(DISCOVERY) <= 2, "the start's own attempt, and none of a sign-in"


async def test_without_a_snapshot_file_nothing_is_written_and_nothing_is_exported(world: World) -> None:
    async with world.broker() as service:
        exported = await metrics(service)
    assert "comm100_sso_snapshot_written" not in exported
    assert names_beside(world.folder / "broker.yaml") == ["broker.yaml"]


async def test_the_first_good_fetch_replaces_the_snapshot(world: World, file: Path) -> None:
    await written_by(world, file)
    _, provider = await restored(world, file)
    assert provider.discovery.snapshot_age == 0
    assert provider.discovery.metadata.fresh() is None, "stale from the first moment"
    world.clock.advance(10)
    await provider.discovery.keep_warm()
    assert provider.discovery.metadata.is_restored is provider.discovery.keys.is_restored is False
    assert provider.discovery.metadata.fetched == world.clock.now
    assert provider.discovery.metadata.fresh() is not None


async def test_no_sign_in_waits_for_a_provider_that_hangs_while_its_snapshot_is_in_use(
    world: World, file: Path
) -> None:
    await written_by(world, file)
    hangs = asyncio.Event()

    async def send(_: object) -> Any:
        await hangs.wait()

    _, provider = await restored(world, file)
    provider.discovery._send = send  # noqa: SLF001 - the wire alone
    warming = asyncio.create_task(provider.discovery.keep_warm())
    await asyncio.sleep(0)
    began = time.perf_counter()
    for _ in range(100):
        await provider.discovery.metadata.get()
        await provider.discovery.keys.get()
    assert time.perf_counter() - began < 0.5
    warming.cancel()


async def test_a_key_that_changed_meanwhile_is_fetched_when_a_token_names_it(world: World, file: Path) -> None:
    await written_by(world, file)
    world.provider.lies = Lies(answers={DISCOVERY: lambda _: httpx.Response(503)})
    world.provider.rotate()
    async with world.broker(snapshot_file=str(file)) as service:
        assert (await world.browser(service).sign_in()).status_code == 200


async def test_a_snapshot_in_use_is_no_longer_used_after_seven_days(world: World, file: Path) -> None:
    await written_by(world, file)
    silence(world.provider)
    _, provider = await restored(world, file)
    world.clock.advance(MAX_AGE_SECONDS - 1)
    assert provider.discovery.metadata.peek() is not None
    world.clock.advance(1)
    assert provider.discovery.metadata.peek() is None
    assert provider.discovery.keys.peek() is None


@pytest.mark.parametrize(
    ("age", "used"),
    [
        pytest.param(MAX_AGE_SECONDS - 1, True, id="almost seven days"),
        pytest.param(MAX_AGE_SECONDS, False, id="seven days"),
        pytest.param(-60, True, id="a clock that differs by a minute"),
    ],
)
async def test_a_snapshot_is_used_for_seven_days(world: World, file: Path, age: float, used: bool) -> None:
    await written_by(world, file)
    world.clock.advance(age)
    snapshot, provider = await restored(world, file)
    assert (provider.discovery.snapshot_age is not None) is used
    assert not snapshot.is_rejected


async def test_the_file_has_public_members_alone_and_only_its_owner_may_read_it(world: World, file: Path) -> None:
    def publish_more(answer: httpx.Response) -> httpx.Response:
        own = {**answer.json()["keys"][0], "d": "private-part"}
        return httpx.Response(200, json={"keys": [own, {"kty": "oct", "k": "a-shared-key"}]})

    world.provider.lies = Lies(answers={KEYS: publish_more})
    await written_by(world, file)
    text, mode = look_at(file)
    assert mode == 0o600
    for secret in (SECRET_KEY, SHARED_SECRET, world.provider.client_secret, "private-part", "a-shared-key"):
        assert secret is not None
        assert secret not in text
    entry = entries(file)["idp"]
    assert entry["metadata"]["document"]["issuer"] == world.provider.issuer
    assert {*entry["keys"]["document"]["keys"][0]} == {"kty", "kid", "n", "e"}
    assert names_beside(file) == ["broker.yaml", "snapshot.json"], "no temporary file is left"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_keys_of_each_type_come_back_as_they_were(world: World, file: Path, algorithm: str) -> None:
    world.settings = settings_for(FakeProvider(world.provider.issuer, world.clock, algorithm=algorithm))
    world.provider = world.providers[0] = FakeProvider(world.provider.issuer, world.clock, algorithm=algorithm)
    before = (await written_by(world, file)).discovery
    after = (await restored(world, file))[1].discovery
    assert after.metadata.peek() == before.metadata.peek()
    old, new = before.keys.peek(), after.keys.peek()
    assert old is not None
    assert new is not None
    assert new.as_document() == old.as_document()
    assert new.candidates(kid="key-1", algorithm=algorithm)


def set_times(fetched: float) -> Callable[[dict[str, Any]], object]:
    return lambda entry: [entry[part].update(fetched=fetched) for part in ("metadata", "keys")]


def set_document(part: str, **members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry[part]["document"].update(members)


@pytest.mark.parametrize(
    ("alter", "got"),
    [
        pytest.param(set_times(START + 61), "a time in the future", id="from the future"),
        pytest.param(set_times(float(10**12)), "another form", id="a time that is none"),
        pytest.param(set_document("metadata", issuer="https://evil.example"), "evil.example", id="another issuer"),
        pytest.param(
            set_document("metadata", token_endpoint="http://evil.example/token"), "token_endpoint", id="plain http"
        ),
        pytest.param(set_document("metadata", jwks_uri="file:///etc/passwd"), "jwks_uri", id="no address"),
        pytest.param(set_document("keys", keys=[]), "0 keys", id="no keys"),
        pytest.param(set_document("keys", keys=[{"kty": "oct", "k": "AAAA"}]), "kty: oct", id="a symmetric key"),
        pytest.param(set_document("keys", keys={"a": 1}), "keys: an object", id="keys of another form"),
        pytest.param(lambda entry: entry.pop("keys"), "another form", id="without keys"),
        pytest.param(lambda entry: entry["metadata"].update(document=[]), "another form", id="a list"),
        pytest.param(lambda entry: entry["keys"].update(fetched=True), "another form", id="true as a time"),
    ],
)
async def test_an_entry_that_fails_a_check_is_not_used(
    world: World, file: Path, alter: Callable[[dict[str, Any]], object], got: str, caplog: pytest.LogCaptureFixture
) -> None:
    await written_by(world, file)
    change(file, alter)
    snapshot, provider = await restored(world, file)
    assert provider.discovery.metadata.peek() is None
    assert provider.discovery.keys.peek() is None
    assert snapshot.is_rejected
    [record] = [one for one in caplog.records if one.getMessage() == "snapshot file rejected"]
    assert got in str(vars(record)["facts"]["got"])
    assert vars(record)["facts"]["provider"] == "idp"
    await provider.discovery.keep_warm()
    await snapshot.look([provider])
    assert not snapshot.is_rejected, "a good file took its place"


@pytest.mark.parametrize("setting", ["client_id", "issuer", "metadata_url"])
async def test_an_entry_of_other_settings_is_not_used(world: World, file: Path, setting: str) -> None:
    await written_by(world, file)
    world.settings["identity_providers"]["idp"][setting] = "https://idp.example/other"
    snapshot, provider = await restored(world, file)
    assert provider.discovery.metadata.peek() is None
    assert not snapshot.is_rejected, "changed settings are no fault of the file"


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def nest(file: Path, levels: int) -> None:
    """Put a deep value into the entry; one of a thousand levels could be read and not be written again."""
    text = file.read_text()
    assert '"issuer":' in text
    file.write_text(text.replace('"issuer":', f'"x": {"[" * levels}{"]" * levels}, "issuer":', 1))


def enlarge(file: Path) -> None:
    with file.open("ab") as opened:
        opened.truncate(MAX_BYTES + 1)


def link(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("elsewhere")))


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "got", "replaced"),
    [
        pytest.param(truncate, "not JSON", True, id="truncated"),
        pytest.param(lambda file: file.write_bytes(b""), "", True, id="empty"),
        pytest.param(enlarge, f"{MAX_BYTES + 1} bytes", True, id="too large"),
        pytest.param(lambda file: file.chmod(0o660), "mode 0660", True, id="a group may write it"),
        pytest.param(lambda file: file.chmod(0o602), "mode 0602", True, id="everybody may write it"),
        pytest.param(
            lambda file: file.write_text('{"comm100_sso_snapshot": 1, "providers": [1]}'),
            "another form",
            True,
            id="list",
        ),
        pytest.param(lambda file: nest(file, 11), "more levels", True, id="nested"),
        pytest.param(lambda file: nest(file, 940), "more levels", True, id="nested almost too deep to be read"),
        pytest.param(lambda file: nest(file, 100_000), "nested too deep", True, id="nested too deep to be read"),
        pytest.param(lambda file: file.write_text("public_url: https://..."), "another file", False, id="settings"),
        pytest.param(
            lambda file: file.write_text('{"comm100_sso_snapshot": 2, "providers": {}}'),
            "another file",
            False,
            id="newer",
        ),
        pytest.param(link, "a symbolic link", False, id="a symbolic link"),
        pytest.param(make_pipe, "another file", False, id="a pipe"),
        pytest.param(make_folder, "Is a directory", False, id="a folder"),
    ],
)
async def test_a_file_that_cannot_be_used_is_no_obstacle(
    world: World,
    file: Path,
    spoil: Callable[[Path], object],
    got: str,
    replaced: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await written_by(world, file)
    spoil(file)
    snapshot, provider = await restored(world, file)
    assert provider.discovery.metadata.peek() is None
    assert snapshot.is_rejected
    [record] = [one for one in caplog.records if one.getMessage() == "snapshot file rejected"]
    assert got in str(vars(record)["facts"]["got"])
    await provider.discovery.keep_warm()
    await snapshot.look([provider])
    assert snapshot.is_rejected is not replaced, "another file is never overwritten"
    assert (snapshot.written == world.clock.now) is replaced


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_file_of_another_user_is_not_used(world: World, file: Path) -> None:
    await written_by(world, file)
    os.chown(file, 12345, -1)
    snapshot, provider = await restored(world, file)
    assert provider.discovery.metadata.peek() is None
    assert snapshot.is_rejected


async def test_a_missing_file_is_a_first_start(world: World, file: Path) -> None:
    snapshot, provider = await restored(world, file)
    assert provider.discovery.metadata.peek() is None
    assert not snapshot.is_rejected


async def test_a_file_is_written_when_a_document_changed_and_at_most_once_a_minute(
    world: World, file: Path, clock: Clock
) -> None:
    provider, snapshot = wire(world), Snapshot(file, clock)
    await snapshot.look([provider])
    assert snapshot.written == 0, "nothing to keep yet"
    await provider.discovery.keep_warm()
    await snapshot.look([provider])
    assert snapshot.written == START
    clock.advance(10)
    await provider.discovery.metadata.refetch(provider.discovery.metadata.peek())  # type: ignore[arg-type]
    await snapshot.look([provider])
    assert snapshot.written == START, "too early"
    clock.advance(WRITE_SECONDS)
    await snapshot.look([provider])
    assert snapshot.written == clock.now
    clock.advance(WRITE_SECONDS)
    await snapshot.look([provider])
    assert snapshot.written == clock.now - WRITE_SECONDS, "nothing changed"
    clock.advance(3600)
    await provider.discovery.keep_warm()
    await snapshot.look([provider])
    assert snapshot.written == clock.now, "refreshed documents renew their times"


async def test_processes_that_share_a_file_keep_each_others_providers(world: World, file: Path) -> None:
    world.add_provider("eu")
    await written_by(world, file, "idp")
    world.clock.advance(5)
    await written_by(world, file, "eu")
    assert {name: entry["keys"]["fetched"] for name, entry in entries(file).items()} == {"idp": START, "eu": START + 5}
    world.clock.advance(MAX_AGE_SECONDS)
    await written_by(world, file, "eu")
    assert [*entries(file)] == ["eu"], "what nobody may use any more is dropped"


async def test_a_provider_without_an_answer_keeps_its_entry(world: World, file: Path) -> None:
    world.add_provider("eu")
    await written_by(world, file, "idp")
    silence(world.provider)
    world.clock.advance(DAY)
    snapshot, down = await restored(world, file)
    up = wire(world, "eu")
    await up.discovery.keep_warm()
    await snapshot.look([down, up])
    assert entries(file)["idp"]["keys"]["fetched"] == START, "its true age"


async def test_a_folder_that_cannot_be_written_is_told_once_and_tried_again(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "missing" / "snapshot.json"
    provider, snapshot = wire(world), Snapshot(file, world.clock)
    await provider.discovery.keep_warm()
    for _ in range(3):
        await snapshot.look([provider])
        world.clock.advance(WRITE_SECONDS)
    assert caplog.messages.count("snapshot file rejected") == 1
    assert snapshot.is_rejected is True
    file.parent.mkdir()
    await snapshot.look([provider])
    assert snapshot.written == world.clock.now
    assert (await restored(world, file))[1].discovery.snapshot_age == 3 * WRITE_SECONDS


async def test_the_log_tells_once_whose_snapshot_is_in_use_and_when_it_got_too_old(
    world: World, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await written_by(world, file)
    silence(world.provider)
    world.clock.advance(3600)
    snapshot, provider = await restored(world, file)
    await snapshot.look([provider])
    assert "snapshot in use" not in caplog.messages, "the provider may answer in a moment"
    await provider.discovery.keep_warm()
    for _ in range(3):
        await snapshot.look([provider])
    [record] = [one for one in caplog.records if one.getMessage() == "snapshot in use"]
    facts = vars(record)["facts"]
    assert (facts["provider"], facts["age_seconds"], facts["code"]) == ("idp", 3600, "provider_failing")
    world.clock.advance(MAX_AGE_SECONDS)
    for _ in range(3):
        await snapshot.look([provider])
    assert caplog.messages.count("snapshot is too old") == 1


def test_a_process_that_starts_anew_while_the_provider_is_silent_signs_people_in(tmp_path: Path) -> None:
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    port = free_port()
    settings = settings_for(provider) | {"public_url": f"http://127.0.0.1:{port}"}
    settings["sites"]["main"]["endpoint"] = "http://127.0.0.1:9/sso"
    settings["snapshot_file"] = "snapshot.json"
    with served(provider_site(provider), urlsplit(provider.issuer).port):
        with running_broker(tmp_path, settings, port) as broker:
            wait_until((tmp_path / "snapshot.json").exists, "the snapshot is written")
            assert broker.stop() == 0
        silence(provider)
        with running_broker(tmp_path, settings, port) as broker:
            with httpx.Client(trust_env=False, timeout=20) as person:
                departed = person.get(f"{broker.public}/login")
                back = person.get(departed.headers["location"]).headers["location"]
                ended = person.get(back)
            assert ended.status_code == 303, ended.text
            assert ended.headers["location"].startswith("http://127.0.0.1:9/sso?")
            wait_until(lambda: any(line["event"] == "snapshot in use" for line in broker.lines()), "the log tells")


async def test_a_provider_that_has_its_documents_reads_no_entry(world: World, file: Path) -> None:
    """At a reload, the keys of a hundred providers would take the event loop a tenth of a second."""
    await written_by(world, file)
    change(file, lambda entry: entry.update(metadata="no document"))
    snapshot, provider = Snapshot(file, world.clock), wire(world)
    await provider.discovery.keep_warm()
    await snapshot.restore([provider])
    assert not snapshot.is_rejected
