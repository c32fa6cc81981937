"""Divergence: replicas that hold different things, positions that were given twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from chaos.spi import ANOMALY_LIMIT, Anomaly, Batch, Facts, Figure, Finding, Verdict
from chaos_verifiers import copies, records
from chaos_verifiers.copies import Interval, Pieces
from chaos_verifiers.records import Messages
from chaos_verifiers.splits import Acks, Split, splits
from chaos_verifiers.thresholds import Count

_MOST = 255


@dataclass
class State:
    """How often each position was acknowledged, by partition and offset, what nodes hold, and who
    got acknowledgements when."""

    acks: Messages = field(default_factory=lambda: Messages(np.uint8))
    pieces: Pieces = field(default_factory=Pieces)
    times: Acks = field(default_factory=Acks)


@dataclass(frozen=True)
class Divergence:
    """Compares what each replica holds at the end of the run, as read from itself, and the
    positions of what was acknowledged.

    - *differing*: replicas hold different things at one position; what is stored and compared as
      one piece (a batch of Kafka's) counts once, at the position of its first message;
    - *lacking*: a position that one replica holds, and another one does not, though it holds later
      ones;
    - *acknowledged twice*: two messages were acknowledged at one position. So two leaders took
      messages at once, or one of the messages was cut off and another took its place. What became
      of them is loss's business; this tells how it came;
    - *acknowledged by two leaders*: messages of a partition acknowledged while nodes named two
      leaders of it, by both of them: to clients that were connected to nodes which named the one,
      and to such as were connected to nodes which named the other. A split brain: details have the
      times. Only where a broker's nodes tell whom they take for the leader, and clients to which
      node they are connected (RabbitMQ).

    Only offsets that all replicas still have are compared, as retention cuts them off one by one.
    Evidence shows what each node holds at the position, and the messages that were acknowledged
    there. Proved: each position that is named differs, by a digest of the bytes that the nodes sent
    (two contents are taken for one with a probability of 2**-32). Not proved: anything about a
    replica that was not read to the end, nor about compacted streams, whose replicas are cleaned
    apart.
    """

    max: Count = 0
    """Most positions that differ, that a replica lacks, or that were acknowledged twice, and most
    messages acknowledged by two leaders, each, for a PASS."""

    question: ClassVar[str] = "Do all replicas hold the same?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "replicas"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "replicas":
            state.pieces.add(batch)
            return state
        acked = records.acknowledged(batch)
        state.times.add(acked)
        placed = records.select(acked, (acked["offset"] >= 0) & (acked["partition"] >= 0))
        if len(placed):
            lots = records.by_partition(placed)
            offset = placed["offset"][lots.rows]
            for number, mine in lots:
                for key, _, places in records.by_page(number, offset[mine]):
                    low, high = int(places.min()), int(places.max()) + 1
                    times = state.acks.page(key)[low:high]
                    times[:] = np.minimum(times + np.bincount(places - low), _MOST)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        a.acks.merge(b.acks, lambda mine, theirs: np.minimum(mine.astype(np.int64) + theirs, _MOST))
        a.pieces.merge(b.pieces)
        a.times.merge(b.times)
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        ranges, nodes = copies.common(facts.replicas or {})
        differing = state.pieces.differing(ranges).tolist()
        lacking = state.pieces.lacking(ranges, nodes)
        twice = [
            (partition, offset)
            for partition, offsets in state.acks.where(lambda times: times > 1)
            for offset in offsets.tolist()
        ]
        unread, split = _unread(facts), [s for s in splits(state.times, facts) if s.proved]
        compared = sum(max(0, end - first) for first, end in ranges.values())
        figures = (
            records.at_most("differing", len(differing), self.max, "positions"),
            records.at_most("lacking", _length(lacking), self.max, "positions"),
            records.at_most("acknowledged twice", len(twice), self.max, "positions"),
            Figure("not read", len(unread), "replicas"),
            Figure("compared", compared, "positions"),
            *self._split(split),
        )
        anomalies = (
            *(Anomaly("differing", -1, -1, *place) for place in differing[:ANOMALY_LIMIT]),
            *_lacking(lacking),
            *(Anomaly("acknowledged twice", -1, -1, *place) for place in twice[:ANOMALY_LIMIT]),
            *map(_two_leaders, split),
        )
        verdict, why = _judge(facts, figures, unread)
        rows = tuple(each.row for each in split)
        return Finding(verdict, why, figures, details=rows, anomalies=anomalies)

    def _split(self, split: Sequence[Split]) -> tuple[Figure, ...]:
        """Only where there was one: most brokers cannot tell."""
        if not split:
            return ()
        count = sum(sum(each.acknowledged.values()) for each in split)
        longest_s = max(each.until_ns - each.from_ns for each in split) / 1e9
        return (
            records.at_most("acknowledged by two leaders", count, self.max),
            Figure("longest with two leaders", longest_s, "s"),
        )


def _two_leaders(split: Split) -> Anomaly:
    note = f"{split.row['acknowledged by']}, in {(split.until_ns - split.from_ns) / 1e9:.1f} s"
    return Anomaly("acknowledged by two leaders", -1, -1, split.partition, -1, note)


def _unread(facts: Facts) -> list[str]:
    """The replicas that were not read to their end, for people."""
    if facts.replicas is None:
        return []
    known = [sighting.view.replicas for sighting in facts.sightings if sighting.view.replicas]
    there = dict(known[-1]) if known else {}
    wanted = {(node, number) for number, nodes in there.items() for node in nodes}
    wanted |= {(node, number) for node, ends in facts.replicas.items() for number in ends}
    ends = {pair: facts.replicas.get(pair[0], {}).get(pair[1]) for pair in sorted(wanted)}
    return [
        f"{node} of partition {number}"
        for (node, number), end in ends.items()
        if end is None or end.read < end.end
    ]


def _judge(facts: Facts, figures: Sequence[Figure], unread: Sequence[str]) -> tuple[Verdict, str]:
    differing, lacking, twice, _, compared = (int(figure.value or 0) for figure in figures[:5])
    told = (
        f"Replicas differ at {differing:,} positions and lack {lacking:,};"
        f" {twice:,} were acknowledged twice."
    )
    if len(figures) > 5:
        told = f"Two leaders at once acknowledged {int(figures[5].value or 0):,} messages."
    if any(figure.ok is False for figure in figures):
        return Verdict.FAIL, told
    if unread or facts.replicas == {}:
        which = f": {', '.join(unread[:3])}{', ...' if len(unread) > 3 else ''}" if unread else ""
        return Verdict.UNKNOWN, f"What replicas hold was not read to the end{which}."
    if facts.replicas is None:
        return Verdict.PASS, "No position was acknowledged twice; this broker tells no more."
    if differing or lacking or twice:
        return Verdict.PASS, f"{told} That is allowed."
    return Verdict.PASS, f"All replicas hold the same at {compared:,} positions."


def _length(lacking: Sequence[tuple[int, Interval, tuple[str, ...]]]) -> int:
    return sum(end - start for _, (start, end), _ in lacking)


def _lacking(lacking: Sequence[tuple[int, Interval, tuple[str, ...]]]) -> tuple[Anomaly, ...]:
    """One for each stretch, at its first position."""
    return tuple(
        Anomaly(
            "lacking", -1, -1, partition, start, f"{', '.join(nodes)}: nothing before {end}"
        )
        for partition, (start, end), nodes in lacking[:ANOMALY_LIMIT]
    )  # fmt: skip
