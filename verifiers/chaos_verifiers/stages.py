"""The stages of a failover: where the seconds between a fault and full service went.

    fault -> suspected by the cluster -> new leader elected -> new leader chosen
          -> first acknowledged -> first delivered -> in-sync set whole

A leader is elected before it is chosen where others than those who elect tell it to clients, such
as the name servers of RocketMQ: chosen is who clients are sent to.

What the cluster did is told by sightings, with the time between two looks as the uncertainty; what
clients saw is told by their interruptions, exactly. A stage that did not happen has no row: a
leader that was frozen and stayed leader, an in-sync set that did not shrink. What happened but
cannot be told apart is merged: into the same sighting, or because the broker does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from chaos.spi import Facts, FaultSpan, Sighting, Stage, View
from chaos_verifiers.interruptions import ACKED, ALL, DELIVERED, Interruption

SUSPECTED = "suspected by the cluster"
ELECTED = "new leader elected"
LEADER = "new leader chosen"
FIRST_ACKED = "first acknowledged"
FIRST_DELIVERED = "first delivered"
IN_SYNC = "in-sync set whole"
NAMES = (SUSPECTED, ELECTED, LEADER, FIRST_ACKED, FIRST_DELIVERED, IN_SYNC)


@dataclass(frozen=True)
class Milestone:
    """What ended a stage, and when: between `within_ns` before `time_ns` and that. None: what had
    to happen did not."""

    name: str
    time_ns: int | None
    within_ns: int = 0
    merged: tuple[str, ...] = ()


def find(facts: Facts, interruptions: Sequence[Interruption]) -> list[Stage]:
    """All stages: by fault and partition, those of the partition as a whole first."""
    partitions = {number for sighting in facts.sightings for number in sighting.view.leaders}
    partitions |= {gap.partition for gap in interruptions}
    return [
        stage
        for fault in facts.faults
        for partition in sorted(partitions)
        for stage in _of_partition(facts, fault, partition, interruptions)
    ]


def _of_partition(
    facts: Facts, fault: FaultSpan, partition: int, interruptions: Sequence[Interruption]
) -> Iterator[Stage]:
    mine = [g for g in interruptions if (g.fault, g.partition) == (fault.name, partition)]
    cluster = _cluster(facts, fault, partition)
    chosen = [done for done in cluster if done.name in (SUSPECTED, ELECTED, LEADER)]
    served = [_served(gap, facts) for gap in mine if gap.client == ALL]
    yield from _chain(fault, partition, ALL, [*cluster, *served])
    for gap in sorted(mine, key=lambda gap: (gap.what, gap.client)):
        if gap.client == ALL:
            continue
        done = _served(gap, facts)
        acked = [
            other for other in served if (other.name, done.name) == (FIRST_ACKED, FIRST_DELIVERED)
        ]
        yield _chain(fault, partition, gap.client, [*chosen, *acked, done], done)[-1]


def _served(gap: Interruption, facts: Facts) -> Milestone:
    names = {ACKED: FIRST_ACKED, DELIVERED: FIRST_DELIVERED}
    silent = not any(sighting.view.leaders for sighting in facts.sightings)
    merged = (SUSPECTED, LEADER) if silent else ()
    return Milestone(names[gap.what], gap.first_after_ns, 0, merged)


def _chain(
    fault: FaultSpan,
    partition: int,
    client: str,
    done: Iterable[Milestone],
    last: Milestone | None = None,
) -> list[Stage]:
    """One stage to each milestone, from the one before it; the first from the start of the fault.
    With `last`, milestones after that one are left out."""
    stages, start_ns = [], fault.started_ns
    for each in sorted(done, key=_order):
        if last and _order(each) > _order(last):
            break
        stages.append(
            Stage(fault.name, partition, client, each.name, start_ns, each.time_ns,
                  each.within_ns, each.merged)
        )  # fmt: skip
        start_ns = start_ns if each.time_ns is None else each.time_ns
    return stages


def _order(done: Milestone) -> tuple[bool, int, int]:
    """By time; what did not happen at the end, and what has one time as in the drawing above."""
    return done.time_ns is None, done.time_ns or 0, NAMES.index(done.name)


# -------------------------------------------------------------------------------- the cluster


def _cluster(facts: Facts, fault: FaultSpan, partition: int) -> list[Milestone]:
    """What the cluster did about a fault on nodes that hold the partition."""
    before, later = _window(facts, fault, partition)
    if not before or not _concerns(fault, before.view, partition):
        return []
    suspected = _suspected(fault, partition, before.view, later)
    elected = _elected(partition, before.view, later)
    leader = _new_leader(fault, partition, before.view, later)
    found = _merged([done for done in (suspected, elected, leader) if done])
    if found and not any(s.view.alive for s in facts.sightings):
        found[0] = replace(found[0], merged=(SUSPECTED, *found[0].merged))
    whole = _whole(partition, later)
    return [*found, whole] if whole else found


def _merged(found: Sequence[Milestone]) -> list[Milestone]:
    """Of those with one time the last, which has the others inside."""
    at: dict[int | None, list[Milestone]] = {}
    for each in found:
        at.setdefault(each.time_ns, []).append(each)
    return [
        replace(same[-1], merged=tuple(each.name for each in same[:-1])) for same in at.values()
    ]


def _window(
    facts: Facts, fault: FaultSpan, partition: int
) -> tuple[Sighting | None, list[Sighting]]:
    """The last sighting before a fault, and those that may tell of it: until another fault on the
    partition begins after its end."""
    before = [s for s in facts.sightings if s.time_ns <= fault.started_ns]
    ends = [
        other.started_ns
        for other in facts.faults
        if fault.ended_ns is not None
        and other.started_ns >= fault.ended_ns
        and before
        and _concerns(other, before[-1].view, partition)
    ]
    later = [s for s in facts.sightings if s.time_ns > fault.started_ns]
    if ends:
        later = [s for s in later if s.time_ns <= min(ends)]
    return (before[-1] if before else None), later


def _concerns(fault: FaultSpan, view: View, partition: int) -> bool:
    return bool(set(fault.nodes) & set(view.replicas.get(partition, ())))


def _suspected(
    fault: FaultSpan, partition: int, before: View, later: Sequence[Sighting]
) -> Milestone | None:
    """The first of the fault's nodes that hold the partition counts as dead."""
    watched = set(fault.nodes) & set(before.alive) & set(before.replicas.get(partition, ()))
    return _first(SUSPECTED, later, lambda view: bool(view.alive and watched - set(view.alive)))


def _elected(partition: int, before: View, later: Sequence[Sighting]) -> Milestone | None:
    """Nobody, where nobody tells it."""
    old = before.elected.get(partition)
    if old is None:
        return None
    return _first(ELECTED, later, lambda view: view.elected.get(partition) not in (None, old))


def _new_leader(
    fault: FaultSpan, partition: int, before: View, later: Sequence[Sighting]
) -> Milestone | None:
    old = before.leaders.get(partition)
    found = _first(LEADER, later, lambda view: view.leaders.get(partition) not in (None, old))
    orphan = bool(later) and later[-1].view.leaders.get(partition) is None
    return found or (Milestone(LEADER, None) if orphan and old in fault.nodes else None)


def _whole(partition: int, later: Sequence[Sighting]) -> Milestone | None:
    """The in-sync set has all replicas again, for the last time."""
    lacking = [place for place, s in enumerate(later) if _lacks(s.view, partition)]
    if not lacking:
        return None
    return _first(IN_SYNC, later[lacking[-1] + 1 :], lambda _: True) or Milestone(IN_SYNC, None)


def _first(name: str, later: Sequence[Sighting], so: Callable[[View], bool]) -> Milestone | None:
    found = next((s for s in later if so(s.view)), None)
    return Milestone(name, found.time_ns, found.time_ns - found.since_ns) if found else None


def _lacks(view: View, partition: int) -> bool:
    return bool(set(view.replicas.get(partition, ())) - set(view.in_sync.get(partition, ())))
