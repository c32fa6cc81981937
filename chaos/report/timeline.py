"""Who led, who was in sync, which fault was on: the lanes that stand below the plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

from chaos.facts import FaultStory
from chaos.report.evidence import Digest
from chaos.report.series import Axis
from chaos.spi import Sighting, View
from chaos.ui.text import listed

T = TypeVar("T")

MOST_PARTITIONS = 16
"""Of more, those in which something happened come first and the rest is left out."""
PATTERNS = 6
"""How many patterns the page has for nodes; of more nodes some share one."""


@dataclass(frozen=True)
class Bar:
    """One bar of a lane, in seconds from the run's start. `style` names its look on the page,
    `pattern` (1 and up, 0: none) tells nodes apart, `title` is told when one points at it."""

    from_s: float
    to_s: float
    label: str
    style: str
    title: str
    pattern: int = 0


@dataclass(frozen=True)
class Lane:
    """One row: its name, its bars, and how high it is ("tall" or "thin"). `head` is set on the
    first one of a group."""

    name: str
    bars: tuple[Bar, ...]
    size: str = "tall"
    head: str = ""


@dataclass(frozen=True)
class Clock:
    """Turns times of the run into seconds from its start, cut to what is drawn."""

    zero_ns: int
    axis: Axis
    until_ns: int

    def at(self, time_ns: int) -> float:
        """Seconds from the run's start."""
        return (time_ns - self.zero_ns) / 1e9

    def cut(self, time_ns: int) -> float:
        """The same, not before or behind the axis."""
        return self.at(min(max(time_ns, self.axis.start_ns), self.axis.end_ns))


@dataclass(frozen=True)
class Watched:
    """What was seen of the cluster, in order."""

    sightings: Sequence[Sighting]

    @property
    def nodes(self) -> list[str]:
        """Every node that is named, in the order of names."""
        named = {
            node
            for view in self.views
            for node in (
                view.controller, *view.leaders.values(),
                *(name for nodes in view.replicas.values() for name in nodes),
            )
        }  # fmt: skip
        return sorted(node for node in named if node)

    @property
    def views(self) -> list[View]:
        """Without their times."""
        return [sighting.view for sighting in self.sightings]

    @property
    def partitions(self) -> list[int]:
        """Every partition, those first in which more happened."""
        numbers = sorted({number for view in self.views for number in view.leaders})
        return sorted(numbers, key=lambda number: (-self._changes(number), number))

    def _changes(self, number: int) -> int:
        states = [
            (view.leaders[number], set(view.in_sync.get(number, ())))
            for view in self.views
            if number in view.leaders
        ]
        return sum(a != b for a, b in pairwise(states))


def lanes(
    clock: Clock,
    phases: Sequence[tuple[str, int]],
    faults: Iterable[FaultStory],
    evidence: Iterable[Digest],
    watched: Watched,
    group: Sequence[tuple[int, str]] = (),
    blocked: Mapping[str, Sequence[tuple[int, str | None]]] = MappingProxyType({}),
) -> list[Lane]:
    """All lanes, from what was done to the cluster to what it says of itself."""
    found = [Lane("phase", tuple(_phases(clock, phases)), "thin")]
    attempted = (fault for fault in faults if fault.attempt_ns is not None)
    found += [Lane("fault", (_fault(clock, fault),)) for fault in attempted]
    for digest in evidence:
        bars = tuple(_marks(clock, digest))
        if bars:
            found.append(Lane(digest.kind, bars))
    if any(view.controller for view in watched.views):
        found.append(Lane("controller", tuple(_controller(clock, watched))))
    found += _alarms(clock, watched)
    found += [
        Lane(f"{client} blocked", tuple(_blocked(clock, states)), "thin")
        for client, states in sorted(blocked.items())
    ]
    found.append(Lane("group", tuple(_group(clock, group)), "thin"))
    for number in sorted(watched.partitions[:MOST_PARTITIONS]):
        found += _partition(clock, watched, number)
    return [lane for lane in found if lane.bars]


def _alarms(clock: Clock, watched: Watched) -> Iterator[Lane]:
    for node in sorted({node for view in watched.views for node in view.alarms}):
        states = [(each.time_ns, each.view.alarms.get(node, ())) for each in watched.sightings]
        yield Lane(f"alarm on {node}", tuple(
            bar
            for kinds, from_ns, to_ns in _spans(clock, states) if kinds
            for bar in _bar(clock, from_ns, to_ns, listed(kinds), "wrong")
        ), "thin")  # fmt: skip


def _blocked(clock: Clock, states: Sequence[tuple[int, str | None]]) -> Iterator[Bar]:
    for why, from_ns, to_ns in _spans(clock, states):
        if why:
            yield from _bar(clock, from_ns, to_ns, why, "wrong")


def _group(clock: Clock, states: Sequence[tuple[int, str]]) -> Iterator[Bar]:
    for state, from_ns, to_ns in _spans(clock, states):
        yield from _bar(clock, from_ns, to_ns, state, "phase", f"consumers' group {state}")


def _phases(clock: Clock, phases: Sequence[tuple[str, int]]) -> Iterator[Bar]:
    ends = [*(time_ns for _, time_ns in phases[1:]), clock.axis.end_ns]
    for (phase, time_ns), end_ns in zip(phases, ends, strict=False):
        yield from _bar(clock, time_ns, end_ns, phase, "phase")


def _bar(
    clock: Clock, from_ns: int, to_ns: int, label: str, style: str, title: str = "",
    pattern: int = 0,
) -> Iterator[Bar]:  # fmt: skip
    """A bar, unless it lies outside."""
    start_s, end_s = clock.cut(from_ns), clock.cut(to_ns)
    if end_s > start_s:
        when = f"from {clock.at(from_ns):.1f} s to {clock.at(to_ns):.1f} s"
        yield Bar(start_s, end_s, label, style, f"{title or label}, {when}", pattern)


def _fault(clock: Clock, fault: FaultStory) -> Bar:
    assert fault.attempt_ns is not None
    end_ns = fault.gone_ns if fault.gone_ns is not None else clock.axis.end_ns
    doubt = "" if fault.proved else "NOT PROVED: "
    label = f"{doubt}{fault.fault} on {listed(fault.nodes)}" if fault.nodes else fault.fault
    unhealed = "" if fault.healed else ", not proved gone"
    return Bar(
        clock.cut(fault.attempt_ns), clock.cut(end_ns), label + unhealed, "fault",
        f"{label}: from {clock.at(fault.attempt_ns):.1f} s to {clock.at(end_ns):.1f} s{unhealed}",
    )  # fmt: skip


def _marks(clock: Clock, digest: Digest) -> Iterator[Bar]:
    """Where in time the rows of evidence lie; buckets that touch are one bar."""
    runs: list[list[int]] = []
    for place in sorted(digest.buckets):
        if runs and place <= runs[-1][1] + 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    start_ns, width_ns = clock.axis.start_ns, clock.axis.width_ns
    for first, last in runs:
        count = sum(digest.buckets[place] for place in range(first, last + 1))
        label = f"{count:,} {digest.kind}"
        from_ns, to_ns = start_ns + first * width_ns, start_ns + (last + 1) * width_ns
        yield from _bar(clock, from_ns, to_ns, label, "wrong")


def _controller(clock: Clock, watched: Watched) -> Iterator[Bar]:
    states = [(each.time_ns, each.view.controller) for each in watched.sightings]
    for node, from_ns, to_ns in _spans(clock, states):
        yield from _led(clock, watched, node, from_ns, to_ns, "controller")


def _led(
    clock: Clock, watched: Watched, node: str | None, from_ns: int, to_ns: int, what: str
) -> Iterator[Bar]:
    if node is None:
        yield from _bar(clock, from_ns, to_ns, "none", "nobody", f"no {what} is known")
    else:
        pattern = watched.nodes.index(node) % PATTERNS + 1
        yield from _bar(clock, from_ns, to_ns, node, "node", f"{what} {node}", pattern)


def _spans(clock: Clock, states: Sequence[tuple[int, T]]) -> Iterator[tuple[T, int, int]]:
    """How long each state lasted; equal ones that follow each other are one."""
    changes = [
        state for place, state in enumerate(states) if not place or state[1] != states[place - 1][1]
    ]
    ends = [*(time_ns for time_ns, _ in changes[1:]), clock.until_ns]
    for (time_ns, value), end_ns in zip(changes, ends, strict=False):  # there may be none at all
        yield value, time_ns, end_ns


def _partition(clock: Clock, watched: Watched, number: int) -> Iterator[Lane]:
    seen = [(each.time_ns, each.view) for each in watched.sightings if number in each.view.leaders]
    leaders = [(time_ns, view.leaders[number]) for time_ns, view in seen]
    bars = [
        bar
        for node, from_ns, to_ns in _spans(clock, leaders)
        for bar in _led(clock, watched, node, from_ns, to_ns, "leader")
    ]
    yield Lane("leader", tuple(bars), head=f"partition {number}")
    replicas = sorted({node for _, view in seen for node in view.replicas.get(number, ())})
    for node in replicas:
        states = [(time_ns, _standing(view, number, node)) for time_ns, view in seen]
        yield Lane(node, tuple(_in_sync(clock, states)), "thin")


def _standing(view: View, number: int, node: str) -> str:
    if node not in view.replicas.get(number, ()):
        return ""
    return "in sync" if node in view.in_sync.get(number, ()) else "out of sync"


def _in_sync(clock: Clock, states: Sequence[tuple[int, str]]) -> Iterator[Bar]:
    for standing, from_ns, to_ns in _spans(clock, states):
        if standing:
            yield from _bar(clock, from_ns, to_ns, standing, standing.replace(" ", "-"))
