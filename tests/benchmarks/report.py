"""Writes a run's results as a page: what must hold, ratios, absolute figures, versions, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.benchmarks.bounds import MEGABYTE, Bound, bounds, bursts_of, digits
from tests.benchmarks.figures import OURS, PROVIDER, Burst, Results, added_p50, login_ratio, middle, of, ratio

METHOD = """\
- One run starts every product on one processor core, and the stub provider and load generator on another core.
- A round measures all products in turn. Ratios compare two products within a round. Each figure is the median of the
  rounds.
- A sign-in is real: `/login`, the provider's redirect with an ID token signed for the nonce (RS256), `/callback` once.
  The callback must redirect to the endpoint with a token; a failure ends the run.
- 16 connections keep the product busy. Fewer cost every product more for a sign-in, up to twice as much with one.
- CPU is user and system time of the whole process tree. It is measured for all `/login`, then for all `/callback`.
- The provider signs ID tokens before the timed callbacks. It answers token and userinfo calls over kept connections.
- All products warm up first: four times the CPU of a round. Node compiles its code meanwhile.
- `p50 added` is a callback's median less that of the same two calls made by the load generator directly.
  Each call takes 20 ms.
- In a burst, callbacks begin at even intervals for two seconds, and each call takes 300 ms. `/login` came before.
  Latencies count from the moment a callback was due.
- A loop stall is the longest wait for `/healthz` on the operations port, asked every 5 ms in a burst and 2 ms
  otherwise. The product is not changed for it. A stall can be one such interval longer.
- Memory of several processes counts shared pages once. Their peaks are added, with shared pages in each.
"""


def page(results: Results, notes: Mapping[str, str]) -> str:
    """Return the page in Markdown.

    Args:
        notes: What to say about a contestant, by name.
    """
    parts = (
        "# Performance\n",
        "For developers and admins: how much processor time does a sign-in cost, next to other products?\n",
        f"`{results.command}` wrote this page on {results.date}.",
        "It measures all products side by side.",
        f"Absolute figures depend on the machine ({results.machine}). Ratios compare runs.",
        f"Other programs kept {results.other_load:.2f} cores busy meanwhile.\n",
        "![Processor time of a callback, by product](performance.svg)\n",
        "## What must hold\n",
        _table(("figure", "must be", "goal", "measured", "holds"), map(_bound_row, bounds(results))),
        "## Ratios\n",
        "A product's CPU as a multiple of the broker's: above 1, the broker is cheaper.\n",
        _table(("product", "callback, TLS", "callback, http", "`/login`, TLS", "`/login`, http"), _ratio_rows(results)),
        "## Absolute figures\n",
        _table(
            ("product", "callback, TLS", "callback, http", "`/login`", "sign-ins a second a core, TLS", "memory"),
            _cost_rows(results),
        ),
        "Sign-ins a second: one `/login` and one callback each, from CPU.\n",
        "## Latency at 60 a second, TLS\n",
        _table(("product", "p50", "p99", "p50 added"), _steady_rows(results)),
        "## Bursts, TLS\n",
        _table(
            ("product", "sign-ins", "failed", "p99", "done", "goodput", "peak memory", "loop stall"), _bursts(results)
        ),
        "## The load is not the limit\n",
        f"{_straight(results)}\n",
        "## How it is measured\n",
        METHOD,
        "## Versions\n",
        _table(("product", "versions", "notes"), _version_rows(results, notes)),
    )
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure(value: float | None, unit: str = "") -> str:
    """Return a figure with its unit, or a dash."""
    if value is None:
        return "-"
    separator = "" if unit == "x" else " "
    return f"{value:,.{digits(value)}f}{separator}{unit}".strip()


def _bound_row(bound: Bound) -> Sequence[str]:
    says = {True: "yes", False: "**no**", None: "-"}
    holds = says[bound.holds] + (", goal reached" if bound.meets(bound.stretch) else "")
    must, measured = _must(bound), figure(bound.measured, bound.unit)
    if bound.otherwise is not None:
        must = f"{must}, or {_short(bound.otherwise.must, bound.otherwise.unit)}"
        measured = f"{measured}, {figure(bound.otherwise.measured, bound.otherwise.unit)}"
    return bound.figure, must, _short(bound.stretch, bound.unit), measured, holds


def _must(bound: Bound) -> str:
    return "-" if bound.must is None else f"{bound.sense} {_short(bound.must, bound.unit)}"


def _short(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:g}{'' if unit == 'x' else ' '}{unit}".strip()


def contestants(results: Results) -> list[str]:
    """Return the names in the order they were measured first."""
    return list(dict.fromkeys(reading.contestant for reading in results.readings))


def shown(name: str) -> str:
    """Return a contestant's name as readers know it."""
    return {OURS: "this broker", PROVIDER: "the provider's two calls alone"}.get(name, name)


def _ratio_rows(results: Results) -> Iterator[Sequence[str]]:
    for name in contestants(results):
        if name == OURS:
            continue
        callbacks = [figure(ratio(results.readings, name, OURS, tls=tls), "x") for tls in (True, False)]
        logins = [figure(login_ratio(results.readings, name, OURS, tls=tls), "x") for tls in (True, False)]
        yield shown(name), *callbacks, *logins


def _cost_rows(results: Results) -> Iterator[Sequence[str]]:
    for name in contestants(results):
        tls, plain = of(results.readings, name, tls=True), of(results.readings, name, tls=False)
        per_second = middle(1000 / (reading.callback_ms + reading.login_ms) for reading in tls)
        memory = results.memory.get(name)
        yield (
            shown(name),
            figure(middle(reading.callback_ms for reading in tls), "ms"),
            figure(middle(reading.callback_ms for reading in plain), "ms"),
            figure(middle(reading.login_ms for reading in tls), "ms"),
            figure(per_second),
            figure(None if memory is None else memory / MEGABYTE, "MB"),
        )


def _steady_rows(results: Results) -> Iterator[Sequence[str]]:
    names = dict.fromkeys(row.contestant for row in results.steady)
    for name in names:
        rows = [row for row in results.steady if row.contestant == name]
        added = None if name == PROVIDER else added_p50(results.steady, name)
        p50, p99 = middle(row.p50 for row in rows), middle(row.p99 for row in rows)
        yield shown(name), figure(p50, "ms"), figure(p99, "ms"), figure(added, "ms")


def _bursts(results: Results) -> Iterator[Sequence[str]]:
    kinds = dict.fromkeys((burst.contestant, burst.planned) for burst in results.bursts)
    for name, planned in kinds:
        found = bursts_of(results, name, planned)
        stalls = middle(one.longest_stall for one in found if one.longest_stall is not None)
        yield (
            shown(name),
            f"{planned:,}",
            _failures(found),
            figure(middle(one.p99 / 1000 for one in found), "s"),
            figure(middle(one.seconds for one in found), "s"),
            figure(middle(one.goodput for one in found), "a second"),
            figure(middle(one.peak_bytes / MEGABYTE for one in found), "MB"),
            figure(stalls, "ms"),
        )


def _failures(bursts: Sequence[Burst]) -> str:
    """Show the failures of the worst burst, by status or by what happened."""
    worst = max(bursts, key=lambda one: one.planned - one.succeeded)
    kinds = ", ".join(f"{kind}: {count:,}" for kind, count in sorted(worst.failed.items()))
    return f"{worst.planned - worst.succeeded:,}" + (f" ({kinds})" if kinds else "")


def _straight(results: Results) -> str:
    said = [f"{row.calls_per_second:,.0f} over {'TLS' if row.tls else 'plain http'}" for row in results.straight]
    return (
        "Without a product between, the load generator and the stub provider exchange this many calls a second,\n"
        f"both on one core: {', '.join(said) or '-'}. A callback makes two."
    )


def _version_rows(results: Results, notes: Mapping[str, str]) -> Iterator[Sequence[str]]:
    for name, versions in results.versions.items():
        yield shown(name), versions, notes.get(name, "")
