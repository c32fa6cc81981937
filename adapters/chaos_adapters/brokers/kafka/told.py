"""One view of the cluster out of what several brokers tell.

Every broker answers from its own copy of the metadata log, so brokers may disagree: for
milliseconds whenever something changes, and for as long as it lasts when one of them is cut off or
was frozen; a leader that is cut off goes on believing in itself. Who is believed:

- of a partition, those who know its highest leader epoch, which only ever grows; among them the
  leader itself, who alone decides who is in sync, and without it what most of them say;
- of who is alive, those who know the highest epochs of all, and what more than half of them say. So
  a broker is seen to be fenced no later than its partitions are seen to have new leaders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kio.schema.errors import ErrorCode
from kio.schema.metadata.v12.response import MetadataResponse, MetadataResponsePartition

from chaos.spi import View
from chaos_adapters.brokers.kafka.topology import node_name

Partition = MetadataResponsePartition


@dataclass(frozen=True)
class Told:
    """What one broker says: who is alive, and the partitions of the topic by their number."""

    alive: frozenset[int]
    partitions: Mapping[int, Partition]

    @property
    def age(self) -> tuple[int, int]:
        """Greater for a younger state of the metadata, equal unless leaders changed."""
        return len(self.partitions), sum(p.leader_epoch for p in self.partitions.values())


def told(answer: MetadataResponse, topic: str) -> Told:
    """What matters of an answer; without partitions where the broker does not know the topic."""
    partitions = {
        int(partition.partition_index): partition
        for found in answer.topics
        if found.name == topic and found.error_code is ErrorCode.none
        for partition in found.partitions
    }
    alive = frozenset(int(broker.node_id) for broker in answer.brokers)
    return Told(alive, dict(sorted(partitions.items())))


def newest(tales: Iterable[Told]) -> dict[int, int]:
    """The highest known leader epoch of each partition."""
    epochs: dict[int, int] = {}
    for tale in tales:
        for number, partition in tale.partitions.items():
            epochs[number] = max(partition.leader_epoch, epochs.get(number, -1))
    return dict(sorted(epochs.items()))


def behind(tales: Mapping[str, Told]) -> list[str]:
    """The nodes that tell an older leader of some partition than others do."""
    epochs = newest(tales.values())
    return [
        name
        for name, tale in tales.items()
        if any(p.leader_epoch < epochs[number] for number, p in tale.partitions.items())
    ]


def view(tales: Mapping[str, Told], controller: int | None, dissenting: Sequence[str] = ()) -> View:
    """The merged view. `tales` is by node and not empty."""
    believed = {
        number: _believed(number, epoch, tales) for number, epoch in newest(tales.values()).items()
    }
    return View(
        controller=None if controller is None else node_name(controller),
        leaders={n: _leader(p.leader_id) for n, p in believed.items()},
        replicas={n: _names(p.replica_nodes) for n, p in believed.items()},
        in_sync={n: _names(sorted(p.isr_nodes)) for n, p in believed.items()},
        alive=_alive(list(tales.values())),
        dissenting=tuple(sorted(dissenting)),
    )


def _believed(number: int, epoch: int, tales: Mapping[str, Told]) -> Partition:
    knowing = {
        name: tale.partitions[number]
        for name, tale in tales.items()
        if number in tale.partitions and tale.partitions[number].leader_epoch == epoch
    }
    for name, partition in knowing.items():
        if name == _leader(partition.leader_id):
            return partition
    return Counter(knowing.values()).most_common(1)[0][0]


def _alive(tales: Sequence[Told]) -> tuple[str, ...]:
    age = max(tale.age for tale in tales)
    believed = [tale for tale in tales if tale.age == age]
    votes = Counter(node for tale in believed for node in tale.alive)
    return _names(sorted(node for node, count in votes.items() if 2 * count > len(believed)))


def _leader(identity: int) -> str | None:
    return node_name(identity) if identity >= 0 else None


def _names(identities: Iterable[int]) -> tuple[str, ...]:
    return tuple(node_name(identity) for identity in identities)
