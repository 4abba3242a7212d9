"""Where there are too many connections, the one that is missed least is closed."""

from __future__ import annotations

import time

import pytest

from broker.connections import GRACE_SECONDS, Connections
from tests.fakes.clock import Clock


class Line:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dropped = False

    def drop(self) -> None:
        assert not self.is_dropped
        self.is_dropped = True


def dropped(*lines: Line) -> list[str]:
    return [line.name for line in lines if line.is_dropped]


@pytest.mark.requirement("S-60")
def test_the_oldest_unfinished_goes_first_then_the_longest_idle_then_the_newcomer() -> None:
    everyone = slow, _, idle, idler, busy, new = [
        Line(name) for name in ("slow", "silent", "idle", "idler", "busy", "new")
    ]
    clock = Clock(0)
    connections = Connections(clock=clock)
    for line in everyone[:5]:
        connections.wait(line)
    connections.idle(idler)
    connections.idle(idle)
    connections.forget(busy)
    connections.wait(slow, 100)  # keeps its place, however often it sends a byte
    clock.advance(GRACE_SECONDS)
    connections.wait(new)
    order = []
    while connections.make_room(new):
        order += [name for name in dropped(*everyone) if name not in order]
    assert order == ["slow", "silent", "idler", "idle"]


@pytest.mark.requirement("S-60")
def test_in_its_first_moment_a_connection_is_spared_while_there_are_idle_ones() -> None:
    everyone = idle, first, second, third = [Line(name) for name in ("idle", "first", "second", "third")]
    connections = Connections(clock=Clock(0))
    connections.idle(idle)
    for newcomer, gone in ((first, "idle"), (second, "first"), (third, "second")):
        connections.wait(newcomer)
        assert connections.make_room(newcomer)
        assert dropped(*everyone)[-1] == gone


@pytest.mark.requirement("S-60")
def test_unfinished_requests_hold_no_more_than_their_share_of_memory() -> None:
    first, second, third = lines = [Line(name) for name in ("first", "second", "third")]
    connections = Connections(max_held=100)
    connections.wait(first, 40)
    connections.wait(second, 40)
    connections.wait(second, 60)
    assert dropped(*lines) == []
    connections.wait(third, 30)
    assert dropped(*lines) == ["first"]
    connections.idle(second)
    connections.wait(third, 100)
    assert dropped(*lines) == ["first"]
    connections.wait(third, 101)  # one alone can hold too much
    assert dropped(*lines) == ["first", "third"]


@pytest.mark.requirement("S-60")
def test_making_room_takes_no_longer_where_there_are_more() -> None:
    def seconds(count: int) -> float:
        connections = Connections()
        for _ in range(count):
            connections.wait(Line(""))
        started = time.perf_counter()
        for _ in range(2_000):
            new = Line("")
            connections.wait(new)
            assert connections.make_room(new)
        return time.perf_counter() - started

    assert seconds(50_000) < 20 * seconds(500) + 0.05
