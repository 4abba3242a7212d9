"""Rows about a provider that is down, slow or wrong, and about connections to it that die."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from broker.errors import (
    AnswerUnexpected,
    AnswerUnreadable,
    ProviderCertificate,
    ProviderFailing,
    ProviderTimedOut,
    ProviderUnreachable,
    TokenResponseInvalid,
)
from broker.oidc.transport import RESOLVED_SECONDS
from tests.chaos.people import coming, failed, sign_in_once
from tests.chaos.row import Bench, Check, Row, all_failed_as, none_failed, not_slower, some_failed
from tests.chaos.stage import Lookup, Replica, Stage, staged, until
from tests.fakes.hostile_server import DISCOVERY, KEYS, TOKEN, USERINFO

USUAL_SECONDS = 6.0  # before a fault, for comparison
RECOVERY_SECONDS = 2.0  # until the first good sign-in after a fault, with the thinking of the person
TOLD_SECONDS = 60.0  # until the admin learns of an outage
PAGE_SECONDS = 8.5  # of waiting, until a person reads the page: the deadline of a sign-in, and a little

Order = Callable[[Stage], object]


@dataclass(frozen=True)
class Outage:
    """How provider a fails for a while.

    Args:
        codes: the error codes that its people may read.
        page_seconds: of waiting, until they read it.
        recovery_seconds: until the first good sign-in afterwards.
        shimmed: the fault is one of names.
    """

    begin: Order
    end: Order
    codes: Sequence[str]
    page_seconds: float = 1.0
    recovery_seconds: float = RECOVERY_SECONDS
    seconds: float = 12.0
    shimmed: bool = False


def order(name: str, **more: Any) -> Order:
    """Return an order to provider a."""
    return lambda stage: stage.a.order(name, **more)


def measure_outage(outage: Outage, bench: Bench) -> Sequence[Check]:
    """Let people sign in before, during and after an outage of provider a."""
    with (
        staged(bench, count=bench.replicas, proxy="nginx", shimmed=outage.shimmed) as stage,
        coming(stage.address, bench.rates) as people,
    ):
        began = time.monotonic()
        time.sleep(bench.seconds(USUAL_SECONDS, 2))
        broken = time.monotonic()
        outage.begin(stage)
        time.sleep(bench.seconds(outage.seconds, 3))
        healed = time.monotonic()
        outage.end(stage)
        time.sleep(outage.recovery_seconds + bench.seconds(4, 2))
    hurt = failed(people.since(began, provider="a"))
    slowest = max((one.waited for one in hurt), default=0.0)
    good = [one.ended - healed for one in people.since(healed, provider="a") if one.is_good]
    first = min(good, default=float("inf"))
    return [
        all_failed_as("a meanwhile", hurt, *bench.codes(*outage.codes)),
        bench.timed(f"the page came after {slowest:.2f} s at most", holds=slowest < outage.page_seconds),
        bench.timed(f"first sign-in {first:.2f} s after it", holds=first < outage.recovery_seconds),
        none_failed("a from then on", people.since(healed + outage.recovery_seconds, provider="a")),
        none_failed("b", people.since(began, provider="b")),
        not_slower(bench, "b", people.since(broken, healed, "b"), people.since(began, broken, "b")),
    ]


def _lose_name(kind: Lookup) -> Order:
    """Return an order to the shims. Nobody notices until addresses are forgotten and connections are closed."""

    def begin(stage: Stage) -> None:
        for replica in stage.replicas:
            replica.set_orders(lookup=kind)
        time.sleep(RESOLVED_SECONDS + 1)
        stage.a.order("drop")

    return begin


def _find_name(stage: Stage) -> None:
    for replica in stage.replicas:
        replica.set_orders(lookup="found")


HEAL = order("fail")
OUTAGES = {
    "refuses connections for 40 s": Outage(
        order("refuse"), order("listen"), [ProviderUnreachable.code], seconds=40.0, page_seconds=2.0
    ),
    "takes 8 s": Outage(order("fail", delay=8.0), HEAL, [ProviderTimedOut.code], PAGE_SECONDS),
    "never answers": Outage(order("fail", silent=True), HEAL, [ProviderTimedOut.code], PAGE_SECONDS),
    "answers 500": Outage(order("fail", status=500), HEAL, [ProviderFailing.code], page_seconds=2.0),
    "answers with a redirect": Outage(
        order("fail", status=302, location="https://127.0.0.1:9/login"), HEAL, [AnswerUnexpected.code], page_seconds=2.0
    ),
    "resets connections": Outage(order("fail", cut="reset"), HEAL, [ProviderUnreachable.code], page_seconds=2.0),
    "truncates answers": Outage(
        order("fail", cut="truncated"), HEAL, [ProviderUnreachable.code, AnswerUnreadable.code], page_seconds=2.0
    ),
    "answers half of the JSON": Outage(
        order("fail", cut="half_json"), HEAL, [AnswerUnreadable.code, TokenResponseInvalid.code], page_seconds=2.0
    ),
    "certificate expired, then renewed": Outage(
        order("show_certificate", certificate="expired"),
        order("show_certificate", certificate="good"),
        [ProviderCertificate.code, ProviderUnreachable.code],  # the latter where a connection is cut
        page_seconds=2.0,
    ),
    "name does not resolve": Outage(
        _lose_name("no such name"),
        _find_name,
        [ProviderUnreachable.code],
        page_seconds=2.0,
        shimmed=True,
    ),
    "name server hangs, 10 s a question": Outage(
        _lose_name("no answer"),
        _find_name,
        [ProviderUnreachable.code, ProviderTimedOut.code],
        PAGE_SECONDS,
        recovery_seconds=12.0,
        shimmed=True,
    ),
}


def measure_down_at_start(bench: Bench) -> Sequence[Check]:
    """Start the replicas while provider a is down."""
    with (
        staged(bench, count=bench.replicas, proxy="nginx", is_a_down=True) as stage,
        coming(stage.address, bench.rates) as people,
    ):
        began = time.monotonic()
        time.sleep(bench.seconds(20, 2))
        healed = time.monotonic()
        stage.a.order("listen")
        time.sleep(RECOVERY_SECONDS + bench.seconds(4, 2))
    good = [one.ended - healed for one in people.since(healed, provider="a") if one.is_good]
    first = min(good, default=float("inf"))
    return [
        all_failed_as("a meanwhile", people.since(began, healed - 0.1, "a"), *bench.codes(ProviderUnreachable.code)),
        bench.timed(f"first sign-in {first:.2f} s after it is back", holds=first < RECOVERY_SECONDS),
        none_failed("a from then on", people.since(healed + RECOVERY_SECONDS, provider="a")),
        none_failed("b", people.since(began, provider="b")),
    ]


def measure_snapshot_start(bench: Bench) -> Sequence[Check]:
    """Start a replica while discovery and keys of provider a do not answer, with a snapshot of before."""
    snapshot = bench.folder / "snapshot.json"
    with staged(bench, settings={"snapshot_file": str(snapshot)}) as stage:
        replica = stage.replicas[0]
        written = until(snapshot.exists, 75)
        replica.stop()
        stage.a.fail(paths=[DISCOVERY, KEYS], status=503)
        replica.start()
        with coming(stage.address, bench.rates) as people:
            time.sleep(bench.seconds(15, 3))
        state = replica.readiness()["identity_providers"]["a"]
        in_use = replica.metric("comm100_sso_provider_snapshot_in_use", provider="a")
        stage.a.fail()
        fetched = until(lambda: replica.metric("comm100_sso_provider_snapshot_in_use", provider="a") == 0, 75, step=0.5)
    return [
        Check(f"snapshot written {_seconds(written)} after the start", holds=written is not None),
        none_failed("signed in with the snapshot", people.signed_in),
        Check(f"/readyz of a: {state}", holds="snapshot" in str(state)),
        Check(f"metric {in_use} meanwhile", holds=in_use == 1),
        Check(f"back to fetched documents {_seconds(fetched)} after the end", holds=fetched is not None),
    ]


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.1f} s"


# -------------------------------------------------------------------------------------------------- what the admin sees


def measure_told(begin: Order, end: Order, bench: Bench) -> Sequence[Check]:
    """Let provider a fail while its documents are fresh, and look where an admin looks."""
    with staged(bench) as stage, coming(stage.address, bench.rates):
        replica = stage.replicas[0]
        time.sleep(1)
        begin(stage)
        began = time.monotonic()
        signs = {"metric": _is_down_by_metric, "/readyz": _is_down_by_readyz, "log": _is_down_by_log}
        told = {name: _first_time(partial(sign, replica), began, TOLD_SECONDS) for name, sign in signs.items()}
        end(stage)
        ready = until(partial(_says_ready_last, replica), TOLD_SECONDS, step=0.2)
        cleared = until(lambda: not _is_down_by_metric(replica) and not _is_down_by_readyz(replica), TOLD_SECONDS)
    said = ", ".join(f"{name} {_seconds(seconds)}" for name, seconds in told.items())
    return [
        Check(f"told by {said}", holds=None not in told.values()),
        Check(f"taken back by the log {_seconds(ready)} after the end", holds=ready is not None),
        Check("taken back by metric and /readyz", holds=cleared is not None),
    ]


def _first_time(holds: Callable[[], bool], began: float, seconds: float) -> float | None:
    found = until(holds, max(0.5, began + seconds - time.monotonic()), step=0.2)
    return None if found is None else time.monotonic() - began


def _is_down_by_metric(replica: Replica) -> bool:
    return replica.metric("comm100_sso_provider_down", provider="a") == 1


def _is_down_by_readyz(replica: Replica) -> bool:
    return replica.readiness()["identity_providers"]["a"].get("down") is True


def _is_down_by_log(replica: Replica) -> bool:
    return any(line["provider"] == "a" for line in replica.lines("identity provider is not usable"))


def _says_ready_last(replica: Replica) -> bool:
    events = [line["event"] for line in replica.lines() if line.get("provider") == "a"]
    about = [event for event in events if event.startswith("identity provider is")]
    return bool(about) and about[-1] == "identity provider is ready"


# ---------------------------------------------------------------------------------------------------- connections


def measure_closing_connections(bench: Bench) -> Sequence[Check]:
    """Let people come back in the 40 ms in which a kept connection is closed but the broker cannot know it."""
    tries = int(bench.seconds(20, 3))
    with staged(bench) as stage:
        stage.a.fail(idle_close=1.0)
        stage.a.order("drop")
        sign_ins = [sign_in_once(stage.address, "a")]
        for _ in range(tries):
            time.sleep(1.005)  # the callback arrives some milliseconds later, after /login and the provider
            sign_ins.append(sign_in_once(stage.address, "a"))
        met = stage.a.count("met a closing connection")
    return [Check(f"{met} of {tries} met a closing connection", holds=met > 0), none_failed("signed in", sign_ins)]


def measure_dead_connections(bench: Bench) -> Sequence[Check]:
    """Let the kept connections to provider a die without a word."""
    with (
        staged(bench, count=bench.replicas, proxy="nginx") as stage,
        coming(stage.address, bench.rates, tries_again=True) as people,
    ):
        began = time.monotonic()
        time.sleep(bench.seconds(USUAL_SECONDS, 2))
        stage.a.order("deafen")
        dead = stage.a.count("deaf")
        time.sleep(bench.seconds(15, 7))
    hurt = failed(people.since(began, provider="a"))
    retried = [one for one in hurt if one.again == "signed in"]
    return [
        Check(f"{dead} connections died"),
        some_failed("a", people.since(began, provider="a"), at_most=dead, only=bench.codes(ProviderTimedOut.code)),
        Check(f"{len(retried)} of {len(hurt)} signed in with a second try", holds=len(retried) == len(hurt)),
        none_failed("b", people.since(began, provider="b")),
    ]


def measure_every_tenth(bench: Bench) -> Sequence[Check]:
    """Answer 503 to every tenth token call and to every tenth userinfo call of provider a."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        stage.a.fail(every=10)
        time.sleep(bench.seconds(15, 6))
        people.stop()
        tokens, userinfo = (stage.a.count(f"failed {path}") for path in (TOKEN, USERINFO))
    hurt = people.since(began, provider="a")
    return [
        Check(f"{tokens} token calls and {userinfo} userinfo calls failed", holds=userinfo > 0),
        some_failed("a (a token call is not repeated: the code may be used up)", hurt, at_most=tokens),
        none_failed("b", people.since(began, provider="b")),
    ]


ROWS = [
    Row(
        "1",
        "provider down at start, back after 20 s",
        "a page at once, no restart, first sign-in within 2 s of recovery, b unharmed",
        measure_down_at_start,
        is_short=True,
    ),
    Row(
        "1",
        "start without discovery and keys, with snapshot_file",
        "everybody signs in; /readyz and a metric say so; back to fetched documents by itself",
        measure_snapshot_start,
    ),
    *(
        Row(
            "2",
            f"provider {name}",
            f"only its people fail, page within {outage.page_seconds:g} s, first sign-in within "
            f"{outage.recovery_seconds:g} s, b: 0 failed and p99 < 2x before + 50 ms",
            partial(measure_outage, outage),
        )
        for name, outage in OUTAGES.items()
    ),
    Row(
        "2",
        "admin learns of an outage",
        "/readyz, log and metric within 60 s, and back",
        partial(measure_told, order("refuse"), order("listen")),
        is_short=True,
    ),
    Row(
        "2",
        "admin learns of an outage of userinfo alone",
        "/readyz, log and metric within 60 s, and back",
        partial(measure_told, order("fail", paths=[USERINFO], status=500), HEAL),
    ),
    Row(
        "2",
        "provider closes a kept connection as it is used",
        "0 failed",
        measure_closing_connections,
        is_short=True,
    ),
    Row(
        "2",
        "kept connections die silently",
        "one failed sign-in a connection at most, all succeed with a second try",
        measure_dead_connections,
    ),
    Row(
        "2",
        "every tenth call fails",
        "only failed token calls cost a sign-in",
        measure_every_tenth,
    ),
]
