"""One view of the cluster out of what several brokers tell.

Every broker answers from its own copy of the metadata log, so brokers may disagree: for
milliseconds whenever something changes, and for as long as it lasts when one of them is cut off or
was frozen; a leader that is cut off goes on believing in itself. Who is believed:

- nobody who knows older leaders than another does. Leader epochs only grow, and a broker takes over
  each batch of the log as a whole, so the sum of the epochs of all partitions tells who is older;
- of a partition's in-sync set, its leader, who alone changes it; when the leader does not answer,
  the others if they agree, else what was believed before;
- of who is alive, more than half of them; what half of them say changes nothing.

So a broker is never seen to be fenced later than its partitions are seen to have new leaders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kio.schema.errors import ErrorCode
from kio.schema.metadata.v12.response import MetadataResponse

from chaos.spi import View
from chaos_adapters.brokers.kafka.topology import node_name


@dataclass(frozen=True)
class Partition:
    """What a broker says of a partition. In-sync replicas are in order of their numbers."""

    leader: str | None
    epoch: int
    replicas: tuple[str, ...]
    in_sync: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What one broker says: who is alive, and the partitions of the topic by their number."""

    alive: frozenset[str]
    partitions: Mapping[int, Partition]

    @property
    def age(self) -> tuple[int, int]:
        """Greater for a younger state of the metadata; equal as long as no leader changed."""
        return len(self.partitions), sum(p.epoch for p in self.partitions.values())


def told(answer: MetadataResponse, topic: str) -> Told:
    """What matters of an answer; without partitions where the broker does not know the topic."""
    partitions = {
        int(found.partition_index): Partition(
            node_name(found.leader_id) if found.leader_id >= 0 else None, found.leader_epoch,
            _names(found.replica_nodes), _names(sorted(found.isr_nodes)),
        )
        for each in answer.topics
        if each.name == topic and each.error_code is ErrorCode.none
        for found in each.partitions
    }  # fmt: skip
    alive = frozenset(_names(broker.node_id for broker in answer.brokers))
    return Told(alive, dict(sorted(partitions.items())))


def behind(tales: Mapping[str, Told]) -> list[str]:
    """The nodes that tell older leaders than others do."""
    youngest = max(tale.age for tale in tales.values())
    return [name for name, tale in tales.items() if tale.age < youngest]


def view(
    tales: Mapping[str, Told], last: View, controller: int | None, dissenting: Sequence[str] = ()
) -> View:
    """The merged view. `tales` is by node and not empty; `last` is what was believed before."""
    old = behind(tales)
    young = {name: tale for name, tale in tales.items() if name not in old}
    numbers = next(iter(young.values())).partitions
    partitions = {number: _partition(number, young) for number in numbers}
    return View(
        controller=None if controller is None else node_name(controller),
        leaders={n: found[0].leader for n, found in partitions.items()},
        replicas={n: found[0].replicas for n, found in partitions.items()},
        in_sync={n: _in_sync(found, last.in_sync.get(n)) for n, found in partitions.items()},
        alive=_alive(list(young.values()), last),
        dissenting=tuple(sorted(dissenting)),
    )


def _partition(number: int, young: Mapping[str, Told]) -> list[Partition]:
    """What its leader says, if that is among those who are heard; else what each of them says."""
    said = {name: tale.partitions[number] for name, tale in young.items()}
    own = [partition for name, partition in said.items() if name == partition.leader]
    return own or list(said.values())


def _in_sync(said: Sequence[Partition], last: tuple[str, ...] | None) -> tuple[str, ...]:
    if last is None or all(partition.in_sync == said[0].in_sync for partition in said):
        return said[0].in_sync
    return last


def _alive(young: Sequence[Told], last: View) -> tuple[str, ...]:
    votes = Counter(node for tale in young for node in tale.alive)
    even = len(young)
    return tuple(
        node
        for node in sorted(votes)
        if 2 * votes[node] > even or (2 * votes[node] == even and node in last.alive)
    )


def _names(identities: Iterable[int]) -> tuple[str, ...]:
    return tuple(node_name(identity) for identity in identities)
