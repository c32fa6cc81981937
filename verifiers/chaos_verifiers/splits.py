"""Split brain: two leaders of one partition at once, both of which acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from chaos.spi import Batch, Facts, Json, Sighting
from chaos_verifiers import buckets, records

_LATE_NS = 1_000_000_000
"""A client says that it is connected elsewhere after it is: what it got just before counts for
nobody."""

Held = tuple[str, int]
"""A client and a partition."""


@dataclass
class Acks:
    """How many messages of a partition were acknowledged to a client, by bucket of time."""

    by_held: dict[Held, dict[int, int]] = field(default_factory=dict)

    def add(self, acked: Batch) -> None:
        """Take in acknowledged sends."""
        if not len(acked):
            return
        first, bucket, width = buckets.split(acked["done_ns"])
        lots = records.by_partition(acked)
        for partition, mine in lots:
            counts = np.bincount(bucket[lots.rows[mine]], minlength=width)
            known = self.by_held.setdefault((acked.client, partition), {})
            buckets.merge(known, first, counts, int.__add__)

    def merge(self, other: Acks) -> None:
        """Take in all of another."""
        for held, theirs in other.by_held.items():
            mine = self.by_held.setdefault(held, {})
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count


@dataclass(frozen=True)
class Split:
    """A time in which the same two leaders or more of a partition were told at once; `acknowledged`
    is what each of them acknowledged then."""

    partition: int
    from_ns: int
    until_ns: int
    acknowledged: Mapping[str, int]

    @property
    def proved(self) -> bool:
        """More than one of them acknowledged."""
        return sum(count > 0 for count in self.acknowledged.values()) > 1

    @property
    def row(self) -> Json:
        """For people."""
        led = (f"{leader} {count:,}" for leader, count in sorted(self.acknowledged.items()))
        return {
            "partition": self.partition, "from_ns": self.from_ns, "until_ns": self.until_ns,
            "acknowledged by": ", ".join(led),
        }  # fmt: skip


def splits(acks: Acks, facts: Facts) -> list[Split]:
    """All of them, by partition and time, those that follow on one another taken together."""
    found: list[Split] = []
    for partition in sorted({number for look in facts.sightings for number in look.view.rivals}):
        for from_ns, until_ns, camps in _stretches(partition, facts):
            counts = {
                leader: _count(acks, facts, partition, nodes, from_ns, until_ns)
                for leader, nodes in camps.items()
            }
            last = found[-1] if found else None
            same = last and (last.partition, set(last.acknowledged)) == (partition, set(counts))
            if last and same and last.until_ns + buckets.BUCKET_NS * 10 >= from_ns:
                from_ns = found.pop().from_ns
                counts = {who: counts[who] + last.acknowledged[who] for who in counts}
            found.append(Split(partition, from_ns, until_ns, counts))
    return found


def _stretches(
    partition: int, facts: Facts
) -> Iterator[tuple[int, int, Mapping[str, tuple[str, ...]]]]:
    """When there were rivals, and who named whom: from a look that saw it to the last one before
    something else was seen."""
    end = Sighting(facts.load_ended_ns, facts.load_ended_ns, facts.sightings[-1].view)
    for look, following in pairwise((*facts.sightings, end)):
        camps = look.view.rivals.get(partition)
        until_ns = max(look.time_ns, min(following.since_ns, facts.load_ended_ns))
        if camps:
            yield look.time_ns, until_ns, camps


def _count(
    acks: Acks, facts: Facts, partition: int, nodes: tuple[str, ...], from_ns: int, until_ns: int
) -> int:
    """What clients got acknowledged that were connected to one of these nodes."""
    total = 0
    for (client, number), counts in acks.by_held.items():
        if number != partition:
            continue
        known = [*facts.connections.get(client, ()), (until_ns + _LATE_NS, None)]
        for (since_ns, node), (left_ns, _) in pairwise(known):
            if node in nodes:
                low, high = max(since_ns, from_ns), min(left_ns - _LATE_NS, until_ns)
                total += sum(buckets.between(counts, low, high))
    return total
