"""Rows about keys, secrets and certificates that change while people sign in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from broker.errors import IdTokenKeyUnknown, IdTokenSignature
from tests.chaos.people import coming, failed
from tests.chaos.row import Bench, Check, Row, none_failed
from tests.chaos.stage import Stage, client_secret, staged, start_all, until
from tests.fakes.hostile_server import KEYS
from tests.fakes.world import SECRET_KEY, SHARED_SECRET

LOOK_SECONDS = 3.0  # until each replica has looked at a file, and every sign-in of before has ended
NEW_SHARED_SECRET = "chaos-shared-secret-2-0123456789abcdef"
NEW_KEY = "chaos-secret-key-2-0123456789abcdef"
LAG_SECONDS = 3.0  # of a key document
REFETCH_SECONDS = 4.5  # the wait before the refetch that follows such a lag, and a little


def put(file: Path, text: str) -> None:
    """Replace a file, as Kubernetes does: at once, by another file."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def measure_rotation(orders: Sequence[tuple[float, dict[str, Any]]], bench: Bench) -> Sequence[Check]:
    """Rotate the keys of provider a.

    Args:
        orders: seconds to wait before each rotation, and its arguments.
    """
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        fetches = stage.a.count(KEYS)
        for wait, arguments in orders:
            time.sleep(wait)
            stage.a.order("rotate", **arguments)
        time.sleep(bench.seconds(8, 4))
        fetches = stage.a.count(KEYS) - fetches
    return [
        none_failed("all", people.since(began)),
        Check(f"{fetches} fetches by {bench.replicas} replicas", holds=fetches <= 12),
    ]


def measure_lagging_keys(bench: Bench) -> Sequence[Check]:
    """Drop the old key of provider a at once, and publish the new key later."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        time.sleep(2)
        lag = bench.seconds(LAG_SECONDS, 0.8)
        stage.a.order("rotate", lag=lag)
        published = time.monotonic() + lag
        time.sleep(lag + bench.seconds(REFETCH_SECONDS + 10, REFETCH_SECONDS + 1.5))
    hurt = failed(people.since(began, provider="a"))
    last = max((one.ended - published for one in hurt), default=0.0)
    codes = {one.end for one in hurt}
    return [
        Check(
            f"{len(hurt)} of {len(people.since(began, provider='a'))} failed",
            holds=codes <= {IdTokenKeyUnknown.code, IdTokenSignature.code},
        ),
        bench.timed(f"the last {last:.1f} s after the key is published", holds=last < REFETCH_SECONDS),
        none_failed("a from then on", people.since(published + REFETCH_SECONDS + 0.5, provider="a")),
        none_failed("b", people.since(began, provider="b")),
    ]


def measure_client_secret(bench: Bench, *, overlaps: bool) -> Sequence[Check]:
    """Replace the client secret of provider a."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        time.sleep(1.5)
        file, new = stage.secret("client_a"), stage.secret("client_a_2")
        new.write_text(client_secret("a", 2), encoding="utf-8")
        if overlaps:
            stage.a.order("accept_secrets", secrets=[client_secret("a"), client_secret("a", 2)])
            new.replace(file)
            time.sleep(LOOK_SECONDS)
            stage.a.order("accept_secrets", secrets=[client_secret("a", 2)])
        else:
            stage.a.order("accept_secrets", secrets=[client_secret("a", 2)], file=str(file), new=str(new))
        time.sleep(bench.seconds(6, 3))
    return [none_failed("all", people.since(began))]


def measure_shared_secret(bench: Bench) -> Sequence[Check]:
    """Replace the shared secret; Comm100 takes both for some seconds, and then the new one alone."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        time.sleep(1.5)
        stage.shared_secrets.append(NEW_SHARED_SECRET)
        put(stage.secret("comm100"), NEW_SHARED_SECRET)
        time.sleep(LOOK_SECONDS)
        stage.shared_secrets.remove(SHARED_SECRET)
        time.sleep(bench.seconds(4, 2))
    return [none_failed("all", people.since(began))]


# The content of secret_keys_file, and the seconds until the next step: a new first key signs after two minutes.
STEPS = (
    ([SECRET_KEY, NEW_KEY], LOOK_SECONDS),
    ([NEW_KEY, SECRET_KEY], 135.0),
    ([NEW_KEY], LOOK_SECONDS),
)


def measure_secret_keys(
    bench: Bench, *, steps: Sequence[tuple[Sequence[str], float]], one_by_one: bool
) -> Sequence[Check]:
    """Rotate the broker's own keys.

    Args:
        steps: the content of the file, and the seconds until the next step.
        one_by_one: each replica has a file of its own, and gets each step two seconds after the replica before.
    """
    with staged(bench, count=bench.replicas, proxy="nginx", starts=not one_by_one) as stage:
        files = [stage.secret("keys")]
        if one_by_one:
            files = [_own_keys(stage, number) for number in range(len(stage.replicas))]
            start_all(stage.replicas)
        with coming(stage.address, bench.rates) as people:
            time.sleep(1.5)
            for keys, wait in steps:
                for file in files:
                    put(file, "\n".join(keys))
                    time.sleep(2 if one_by_one else 0)
                time.sleep(wait)
    return [none_failed("all", people.signed_in)]


def _own_keys(stage: Stage, number: int) -> Path:
    file = stage.secret(f"keys-{number}")
    file.write_text(SECRET_KEY, encoding="utf-8")
    stage.replicas[number].change_settings(lambda settings: settings.update(secret_keys_file=str(file)))
    return file


def measure_bad_secret_files(bench: Bench) -> Sequence[Check]:
    """Empty one secret's file, and put a text that is too short into another."""
    settings = {"client_secret of a": "identity_providers.a.client_secret", "shared_secret": "sites.main.shared_secret"}
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        time.sleep(1)
        put(stage.secret("client_a"), "")
        put(stage.secret("comm100"), "short")
        time.sleep(bench.seconds(6, 3))
        name = "comm100_sso_secret_file_rejected"
        found = {
            what: [replica.metric(name, setting=path) for replica in stage.replicas] for what, path in settings.items()
        }
    return [
        none_failed("all", people.signed_in),
        *(Check(f"metric of {what}: {values}", holds=set(values) == {1.0}) for what, values in found.items()),
    ]


def measure_own_authority(bench: Bench) -> Sequence[Check]:
    """Let provider a change to a certificate of another authority, which came to trusted_ca_file before."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        time.sleep(1.5)
        old = stage.secret("ca.pem").read_text(encoding="utf-8")
        new = stage.authorities["other"].write(stage.folder / "other.pem").read_text(encoding="utf-8")
        put(stage.secret("ca.pem"), old + new)
        time.sleep(LOOK_SECONDS)
        changed = time.monotonic()
        stage.a.order("show_certificate", certificate="other")
        time.sleep(bench.seconds(5, 2))
        put(stage.secret("ca.pem"), "no certificate")
        name = "comm100_sso_secret_file_rejected"
        rejected = until(lambda: stage.replicas[0].metric(name, setting="trusted_ca_file") == 1, 10)
    in_time = [one for one in people.signed_in if one.began > changed + 0.1 or one.ended < changed - 0.1]
    cut = [one for one in people.signed_in if one not in in_time]
    return [
        none_failed("all but those whose connection the change cut", in_time),
        Check(f"{len(failed(cut))} of {len(cut)} cut"),
        Check("a metric rings for a file without certificates", holds=rejected is not None),
    ]


ROTATIONS: Mapping[str, Sequence[tuple[float, dict[str, Any]]]] = {
    "old key stays": [(2.0, {"keep": True})],
    "old key dropped at once": [(2.0, {})],
    "new key with the same kid": [(2.0, {"same_kid": True})],
}

ROWS = [
    *(
        Row("3", f"keys rotate, {name}", "0 failed, few fetches", partial(measure_rotation, orders))
        for name, orders in ROTATIONS.items()
    ),
    Row(
        "3b",
        "keys rotate again 15 s later",
        "0 failed, few fetches",
        partial(measure_rotation, [(2.0, {}), (15.0, {})]),
    ),
    Row(
        "3c",
        "old key dropped, key document follows 3 s later",
        "nobody fails 4.5 s after the new key is published",
        measure_lagging_keys,
    ),
    Row("4", "client secret changes, both accepted", "0 failed", partial(measure_client_secret, overlaps=True)),
    Row(
        "4",
        "client secret changes, without overlap",
        "0 failed",
        partial(measure_client_secret, overlaps=False),
        is_short=True,
    ),
    Row("4", "shared secret changes", "0 failed, new secret in use within 3 s", measure_shared_secret),
    Row(
        "4",
        "secret_keys change in steps, one file",
        "0 failed",
        partial(measure_secret_keys, steps=STEPS[:2], one_by_one=False),
    ),
    Row("4", "empty and too short secret files", "0 failed, a metric rings", measure_bad_secret_files),
    Row("4", "trusted_ca_file changes before the certificate", "0 failed, a metric rings", measure_own_authority),
    Row(
        "13",
        "secret_keys change in steps, replica by replica",
        "0 failed",
        partial(measure_secret_keys, steps=STEPS, one_by_one=True),
    ),
    Row(
        "13",
        "secret_keys in one step, new key first, replica by replica",
        "0 failed in two minutes and after",
        partial(measure_secret_keys, steps=STEPS[1:2], one_by_one=True),
    ),
]
