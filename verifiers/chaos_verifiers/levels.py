"""The level of service before a fault, and when it was reached again: what recovery measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Column, Facts, Sighting
from chaos_verifiers import records
from chaos_verifiers.buckets import BUCKET_NS
from chaos_verifiers.timeline import Timeline

IN_SYNC, BACKLOG, THROUGHPUT, LATENCY = "in-sync sets", "backlog", "throughput", "latency"

A_SECOND = 1_000_000_000 // BUCKET_NS
"""Buckets."""
_OPEN = A_SECOND
"""What was due in so many buckets before a fault may have been open when it struck."""
_SMALLEST_NS, _IN_OCTAVE, _BINS = 100_000, 8, 180
"""Latencies from 0.1 ms to 10 min, each bin 9 % longer than the one before."""
_A_FEW = 2
"""Messages by which two seconds of the same rate may differ."""


@dataclass(frozen=True)
class Usual:
    """The baseline: messages in a bucket, 99th percentile of latency, most messages behind."""

    rate: float
    p99_s: float
    backlog: float


@dataclass(frozen=True)
class Band:
    """What counts as usual: least messages in a bucket, longest 99th percentile, most messages
    behind; and for how many seconds it has to hold."""

    rate: float
    p99_s: float
    backlog: float
    hold_s: float


@dataclass(frozen=True)
class Span:
    """A fault, or several that overlapped; it is looked at until the next one, or the end of load.

    `healed_ns` is None when it was never measured to be gone.
    """

    name: str
    effect_ns: int
    healed_ns: int | None
    until_ns: int

    @property
    def left_s(self) -> float:
        """How long there was to recover."""
        return (self.until_ns - (self.healed_ns or self.until_ns)) / 1e9


@dataclass(frozen=True)
class Return:
    """Since when something was as before; None: it was not. It may have been `within_s` earlier."""

    span: Span
    what: str
    back_ns: int | None
    within_s: float = BUCKET_NS / 1e9

    @property
    def after_heal_s(self) -> float | None:
        """0 when it was back before."""
        return self._after_s(self.span.healed_ns)

    @property
    def after_effect_s(self) -> float | None:
        """0 when it never left."""
        return self._after_s(self.span.effect_ns)

    def _after_s(self, time_ns: int | None) -> float | None:
        if self.back_ns is None or time_ns is None:
            return None
        return max(0.0, (self.back_ns - time_ns) / 1e9)


@dataclass
class Served:
    """By bucket of due time how many acknowledged messages took how long; by bucket of their own
    time how many were acknowledged, and one more than the highest offset of each partition that was
    acknowledged, and delivered."""

    latency: Timeline = field(default_factory=lambda: Timeline(np.add))
    rate: Timeline = field(default_factory=lambda: Timeline(np.add))
    acked: Timeline = field(default_factory=lambda: Timeline(np.maximum))
    delivered: Timeline = field(default_factory=lambda: Timeline(np.maximum))

    def add_acks(self, batch: Batch) -> None:
        """Take in acknowledged sends."""
        done_ns, due_ns = batch["done_ns"], batch["due_ns"]
        self.latency.add(due_ns, _bins(done_ns - due_ns))
        self.rate.add(done_ns, np.zeros(len(batch), np.int64))
        _reach(self.acked, batch, "done_ns")

    def add_deliveries(self, batch: Batch) -> None:
        """Take in deliveries."""
        _reach(self.delivered, batch, "received_ns")

    def merge(self, other: Served) -> None:
        """Take in all of another."""
        self.latency.merge(other.latency)
        self.rate.merge(other.rate)
        self.acked.merge(other.acked)
        self.delivered.merge(other.delivered)

    def behind(self, low: int, high: int) -> NDArray[np.int64]:
        """Messages acknowledged and not reached by consumers at the end of each bucket."""
        acked, delivered = self.acked, self.delivered
        # One side may have told no offset at all, as confirms of RabbitMQ streams and RocketMQ
        # transactions do.
        first = min([low, *(side.first for side in (acked, delivered) if len(side.rows))])
        a, d = (
            np.maximum.accumulate(side.between(first, high), axis=0) for side in (acked, delivered)
        )
        d = np.pad(d, ((0, 0), (0, max(0, a.shape[1] - d.shape[1]))))[:, : a.shape[1]]
        behind: NDArray[np.int64] = np.maximum(a - d, 0).sum(axis=1)[low - first :]
        return behind


def _reach(timeline: Timeline, batch: Batch, time: str) -> None:
    known = records.select(batch, (batch["offset"] >= 0) & (batch["partition"] >= 0))
    timeline.add(known[time], known["partition"], known["offset"] + 1)


def _bins(latency_ns: Column) -> NDArray[np.int64]:
    times = np.maximum(latency_ns / _SMALLEST_NS, 1.0)
    found: NDArray[np.int64] = np.minimum(np.log2(times) * _IN_OCTAVE, _BINS - 1).astype(np.int64)
    return found


def usual(served: Served, facts: Facts) -> Usual | None:
    """The baseline; None when it holds no whole second."""
    low = -(-facts.load_started_ns // BUCKET_NS)
    high = min(fault.started_ns for fault in facts.faults) // BUCKET_NS - _OPEN
    if high - low < A_SECOND:
        return None
    counts = served.rate.between(low, high)
    if not counts.any():
        return None
    due = served.latency.between(low, high)
    # More than was due is work from before, and no rate that lasts.
    rate = min(float(counts.mean()), float(due.sum()) / len(due))
    return Usual(rate, float(_p99_s(due).max()), float(served.behind(low, high).max()))


def spans(facts: Facts) -> list[Span]:
    """The faults in the order of their starts, those that overlap as one."""
    groups: list[list[int]] = []
    faults = sorted(facts.faults, key=lambda fault: fault.started_ns)
    for number, fault in enumerate(faults):
        ends = [faults[each].ended_ns for each in groups[-1]] if groups else [0]
        if any(end is None or end > fault.started_ns for end in ends):
            groups[-1].append(number)
        else:
            groups.append([number])
    found = []
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        mine = [faults[each] for each in group]
        healed = [fault.ended_ns for fault in mine if fault.ended_ns is not None]
        until_ns = faults[following[0]].started_ns if following else facts.load_ended_ns
        found.append(Span(
            ", ".join(fault.name for fault in mine),
            min(fault.active_ns or fault.started_ns for fault in mine),
            max(healed) if len(healed) == len(mine) else None, until_ns,
        ))  # fmt: skip
    return found


def whole(span: Span, facts: Facts, hold_s: float) -> Iterator[Return]:
    """When all in-sync sets were whole, and were not seen to be otherwise within `hold_s`; nothing
    where the cluster does not tell them."""
    if not any(sighting.view.replicas for sighting in facts.sightings):
        return
    if span.healed_ns is None:
        yield Return(span, IN_SYNC, None)
        return
    # A look after the end of the load still tells; one during the next fault tells of that.
    last = span.until_ns == facts.load_ended_ns
    seen = [s for s in facts.sightings if last or s.time_ns <= span.until_ns]
    back: Sighting | None = None
    for sighting in seen:
        if _is_whole(sighting):
            back = back or sighting
        elif back is not None:
            if sighting.time_ns - max(back.time_ns, span.healed_ns) >= hold_s * 1e9:
                break
            back = None
    if back is None:
        yield Return(span, IN_SYNC, None)
    else:
        yield Return(span, IN_SYNC, back.time_ns, (back.time_ns - back.since_ns) / 1e9)


def _is_whole(sighting: Sighting) -> bool:
    view = sighting.view
    return all(view.leaders.get(number) for number in view.leaders) and all(
        set(nodes) <= set(view.in_sync.get(number, ())) for number, nodes in view.replicas.items()
    )


def service(span: Span, band: Band, served: Served) -> Iterator[Return]:
    """When backlog, throughput and latency were back in the band; no backlog without offsets."""
    low, high = span.effect_ns // BUCKET_NS, span.until_ns // BUCKET_NS
    hold = max(1, round(band.hold_s * A_SECOND))
    if len(served.acked.rows):
        yield _back(span, BACKLOG, served.behind(low, high) <= band.backlog, hold)
    rate = _seconds(served.rate.between(low, high))[:, 0]
    enough = rate >= band.rate * A_SECOND - _A_FEW
    # A second that begins with the last bucket of these holds what the hold is to cover.
    hold = max(1, hold - A_SECOND + 1)
    yield _back(span, THROUGHPUT, enough, hold)
    rows = served.latency.between(low, high)
    soon = (_p99_s(rows) <= band.p99_s) & (_seconds(rows).sum(axis=1) > 0)
    yield _back(span, LATENCY, soon, hold)


def _back(span: Span, what: str, good: NDArray[np.bool_], hold: int) -> Return:
    """`good` is by bucket from the effect on; back is the start of the first stretch of `hold` good
    ones that reaches the heal or begins after it."""
    if span.healed_ns is None:
        return Return(span, what, None)
    first = span.effect_ns // BUCKET_NS
    healed = span.healed_ns // BUCKET_NS - first
    edges = np.flatnonzero(np.diff(good.astype(np.int8), prepend=0, append=0))
    for start, end in edges.reshape(-1, 2).tolist():
        if end - max(start, healed) >= hold:
            # Within the bucket of the effect nobody can tell: what is good there never left.
            return Return(span, what, (first + start) * BUCKET_NS)
    return Return(span, what, None)


def _seconds(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of the row of each bucket and of those behind it that make a second, shape (n, m)."""
    if len(values) < A_SECOND:
        return values[:0]
    total = np.cumsum(np.vstack([values[:1] * 0, values]), axis=0)
    sums: NDArray[np.int64] = total[A_SECOND:] - total[:-A_SECOND]
    return sums


def _p99_s(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The 99th percentile of latency in the second that begins with each bucket, rounded up to its
    bin; 0 where there is no message."""
    below = np.cumsum(_seconds(rows), axis=1)
    place = (below < 0.99 * below[:, -1:]).sum(axis=1)
    found = _SMALLEST_NS / 1e9 * 2 ** ((place + 1) / _IN_OCTAVE)
    return np.where(below[:, -1] > 0, found, 0.0)
