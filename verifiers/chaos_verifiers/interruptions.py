"""Interruptions: the gaps in the service of clients that stand out and overlap a fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from chaos.spi import Facts, FaultSpan
from chaos_verifiers import gaps
from chaos_verifiers.gaps import Spans, Tracks

_NOTICEABLE_NS = 100_000_000
ACKED, DELIVERED = "acknowledged", "delivered"
ALL = "all"
"""In place of a client's name: the partition served none of them."""


@dataclass
class Served:
    """When whom was served."""

    acks: Tracks = field(default_factory=dict)
    deliveries: Tracks = field(default_factory=dict)


@dataclass(frozen=True)
class Interruption:
    """One interruption. `first_after_ns` is None when it lasted to the end of the load;
    `usual_s` is the longest gap of the same kind before the first fault."""

    fault: str
    what: str
    client: str
    partition: int
    last_before_ns: int
    first_after_ns: int | None
    gap_s: float
    usual_s: float


def find(served: Served, facts: Facts, before_ns: int) -> list[Interruption]:
    """The longest interruption of each client and partition by each fault, the longest of all
    first. `before_ns` is the start of the first fault."""
    return sorted(_interruptions(served, facts, before_ns), key=lambda found: -found.gap_s)


def too_long(
    served: Served, facts: Facts, before_ns: int, limit_s: float
) -> Iterator[tuple[int, int]]:
    """All interruptions of clients above a limit, also those that are not the longest of any fault,
    as (from, until) in ns. Deliveries count of all clients together."""
    for _, what, client, _, spans, _ in _noticed(served, facts, before_ns):
        if (client == ALL) is (what == DELIVERED):
            yield from gaps.pairs(gaps.longer(spans, limit_s))


def noticeable_s(usual_s: float) -> float:
    """A gap up to this long is no interruption where gaps of `usual_s` are usual."""
    return max(3 * usual_s, _NOTICEABLE_NS / 1e9)


def usual_ns(spans: Spans, facts: Facts, before_ns: int) -> int:
    """The longest gap before the first fault."""
    return gaps.length_ns(gaps.inside(spans, facts.load_started_ns, before_ns))


def late_heal(too_long: Iterable[tuple[int, int]], limit_s: float, facts: Facts) -> str:
    """What to say when all of these times (from, until; in ns), which are above a limit, would be
    within it but for faults that were to be over and were still being undone, which is the doing of
    whoever undoes them, not of the brokers. Empty: at least one is too long all the same."""
    late = []
    for from_ns, until_ns in too_long:
        late.append(_undoing_ns(from_ns, until_ns, facts) / 1e9)
        if (until_ns - from_ns) / 1e9 - late[-1] > limit_s:
            return ""
    return (
        f"{max(late):.3f} s of that passed while a fault that was to be over was still being"
        f" undone, and without them it is within {limit_s:g} s."
    )


def _undoing_ns(from_ns: int, until_ns: int, facts: Facts) -> int:
    found_ns, reached_ns = 0, from_ns
    for heal_ns, undone_ns in sorted(
        (fault.heal_ns, fault.undone_ns)
        for fault in facts.faults
        if fault.heal_ns is not None and fault.undone_ns is not None
    ):
        begin_ns, end_ns = max(heal_ns, reached_ns), min(undone_ns, until_ns)
        if end_ns > begin_ns:
            found_ns, reached_ns = found_ns + end_ns - begin_ns, end_ns
    return found_ns


def _series(served: Served, facts: Facts) -> Iterator[tuple[str, str, int, Spans]]:
    """What happened, to which client, at which partition, and all gaps of that kind."""
    until_ns = facts.load_ended_ns
    for (client, partition), track in served.acks.items():
        # One that a fault killed waits for nothing any more.
        gone_ns = facts.lives.get(client, (0, until_ns))[1]
        yield ACKED, client, partition, track.spans(gone_ns)
    for (client, partition), track in served.deliveries.items():
        # A consumer that gets no more of a partition may have given it to another one.
        yield DELIVERED, client, partition, track.spans(track.last_ns)
    for what, tracks in ((ACKED, served.acks), (DELIVERED, served.deliveries)):
        for partition, several in gaps.by_partition(tracks).items():
            spans = gaps.together(several, 0, until_ns)
            yield what, ALL, partition, spans[spans[:, 0] > 0]


def _interruptions(served: Served, facts: Facts, before_ns: int) -> Iterator[Interruption]:
    for fault, what, client, partition, spans, usually_s in _noticed(served, facts, before_ns):
        start, end = gaps.longest(spans)
        yield Interruption(
            fault.name, what, client, partition, start,
            None if end == facts.load_ended_ns else end, (end - start) / 1e9, usually_s,
        )  # fmt: skip


def _noticed(
    served: Served, facts: Facts, before_ns: int
) -> Iterator[tuple[FaultSpan, str, str, int, Spans, float]]:
    """By fault, what, client and partition: the gaps that stand out, if there are any, and how long
    one is usually."""
    for what, client, partition, spans in _series(served, facts):
        usually_s = usual_ns(spans, facts, before_ns) / 1e9
        standing_out = gaps.longer(spans, noticeable_s(usually_s))
        for fault in facts.faults:
            if len(hit := _during(standing_out, fault, facts)):
                yield fault, what, client, partition, hit, usually_s


def _during(spans: Spans, fault: FaultSpan, facts: Facts) -> Spans:
    """The gaps to hold against a fault: those that overlap it, and one that never ended if no
    other fault came after it."""
    hit = gaps.overlapping(spans, fault.started_ns, fault.ended_ns or facts.load_ended_ns)
    last = all(other.started_ns <= fault.started_ns for other in facts.faults)
    unended = (spans[:, 1] == facts.load_ended_ns) & (spans[:, 0] >= fault.started_ns)
    return np.concatenate([hit, spans[unended]]) if last else hit
