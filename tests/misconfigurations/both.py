"""One fault, for `broker check` and a test sign-in to judge: neither is green where the other fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.world import Browser
from tests.misconfigurations.bench import Said, SignIn, bench, sign_in, without_particulars
from tests.misconfigurations.record import NOTHING_SAID, Change

WITHOUT_SIGN_IN = "not asked"  # the fault is on the way to the provider, which the test's memory does not have

Journey = Callable[[Browser], Awaitable[str]]


@dataclass(frozen=True)
class Both:
    """One fault, for both to judge.

    Args:
        cause: what is injected, for the table.
        check: words of what `broker check` says first; empty: nothing is to be said.
        sign_in: words of what a test sign-in says; empty: it succeeds.
        inject: breaks the set-up.
        remedy: words of the remedy of whoever says something first.
        journey: what a browser does, in place of a test sign-in; returns what was seen.
        tls: the provider speaks TLS.
        critical: the basicConstraints of its certificate's authority are.
    """

    cause: str
    check: str
    sign_in: str
    inject: Change
    remedy: str = ""
    journey: Journey | None = None
    tls: bool = False
    critical: bool = True


async def ask_both(row: Both, folder: Path) -> tuple[Said, Said]:
    """Inject the fault into two set-ups of the same kind, and return what the check and the sign-in say."""
    for name in ("check", "sign-in"):
        (folder / name).mkdir()
    async with bench("oidc", folder / "check", tls=row.tls, critical=row.critical) as on_sockets:
        row.inject(on_sockets, NOTHING_SAID)
        checked = await on_sockets.ask(with_unknown=True) or NOTHING_SAID
        checked = without_particulars(checked, folder / "check", on_sockets.names)
    if row.sign_in == WITHOUT_SIGN_IN:
        return checked, Said("", WITHOUT_SIGN_IN, "")
    in_memory = sign_in("oidc", folder / "sign-in")
    row.inject(in_memory, NOTHING_SAID)
    return checked, without_particulars(await _sign_in(row, in_memory), folder / "sign-in", in_memory.names)


async def _sign_in(row: Both, set_up: SignIn) -> Said:
    if row.journey is None:
        return await set_up.ask() or NOTHING_SAID
    async with set_up.world.broker() as service:
        return Said("sign-in", await row.journey(set_up.world.browser(service)), "")


def line(row: Both, checked: Said, signed_in: Said) -> str:
    """Return a row of the table, without its number."""
    told = [f"{one.where}: {one.text}" if one.where else one.text or "nothing" for one in (checked, signed_in)]
    remedy = checked.remedy or signed_in.remedy
    return " | ".join([row.cause, *(text.replace("|", "\\|") for text in (*told, remedy))]) + " |"
