"""`broker.reassign`: a broker's replicas are moved to the others, and back at heal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import (
    Broker,
    Cluster,
    Duration,
    Effect,
    Injection,
    MovesReplicas,
    Placement,
    Presence,
    Rig,
    Target,
)
from chaos.timing import wait_until
from chaos_adapters.faults.process import managed

_ASK_S = 5.0


@dataclass(frozen=True)
class Reassign:
    """Moves the stream's replicas off the target, dead or alive, to nodes that have none of theirs.

    The drill for a broker that will not come back. Each replica goes to the node that has the
    fewest, in a rack of its own where there are racks; the order in a partition, and so who should
    lead it, stays. Needs more nodes than the stream has replicas. Proof: the cluster names exactly
    the wanted replicas, and all are in sync; after heal, which needs the target alive: the same of
    the old ones.
    """

    claims: ClassVar[str] = "replicas"
    needs_links: ClassVar[bool] = False
    heals_by_brokers: ClassVar[str] = "they take the order to move replicas back"

    away_from: Annotated[Target, Field(alias="from")]
    """Who gives up all replicas of the stream."""
    within: Duration = 60.0
    """How long the move may take."""

    def broker_problem(self, broker: Broker) -> str:
        """See spi.ChecksBroker."""
        return "" if isinstance(broker, MovesReplicas) else "this broker cannot move replicas"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Where everything goes, from where it is. Raises FaultError when there is no room."""
        cluster, leaving = managed(rig.cluster), rig.resolve(self.away_from)
        broker = _mover(cluster.broker)
        names = broker.partition_names(cluster.stream)
        placed = broker.placement(cluster.clients, names, _ASK_S)
        racks = {m.name: m.rack for m in cluster.broker.members() if m.name in cluster.clients}
        now = {name: placed[name].replicas for name in names}
        wanted = reassigned(now, leaving, racks)
        if not wanted:
            raise FaultError(f"{', '.join(leaving)} has no replica of the stream: nothing to move")
        return Injection(
            leaving,
            {
                "before": {name: list(now[name]) for name in wanted},
                "wanted": {name: list(nodes) for name, nodes in wanted.items()},
            },
        )

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Ask for the move, and wait for its end."""
        operated = managed(cluster)
        before, wanted = injection.data["before"], injection.data["wanted"]
        now = _placement(cluster, before)
        if moved := [name for name in now if not _known(now[name], before[name], wanted[name])]:
            raise FaultError(f"somebody moved replicas of {', '.join(moved)} since the plan")
        _mover(operated.broker).move(cluster.clients, wanted, _ASK_S)

        def done() -> bool:
            return _settled(_placement(cluster, wanted), wanted) == len(wanted)

        what = f"the replicas of {', '.join(injection.nodes)} to be moved"
        wait_until(done, what, self.within, every_s=0.1, stop=operated.ended)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Which partitions are where they were, and which where they should be."""
        before, wanted = injection.data["before"], injection.data["wanted"]
        now = _placement(cluster, before)
        moved, back = _settled(now, wanted), _settled(now, before)
        left = sum(node in placed.replicas for placed in now.values() for node in injection.nodes)
        figures = {"partitions": len(now), "moved and in sync": moved, "replicas on the node": left}
        if moved == len(now):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if back == len(now) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Ask for the old places, once; the engine waits until they are taken and in sync."""
        before = injection.data["before"]
        now = _placement(cluster, before)
        elsewhere = {name: nodes for name, nodes in before.items() if not _same(now[name], nodes)}
        if elsewhere:
            _mover(managed(cluster).broker).move(cluster.clients, elsewhere, _ASK_S)


def reassigned(
    now: Mapping[str, Sequence[str]], leaving: Iterable[str], racks: Mapping[str, str]
) -> dict[str, list[str]]:
    """New places of all partitions that have a replica on a node that leaves.

    `racks` are all nodes that can hold replicas, with their racks (empty: none). A replica goes to
    a node without one of that partition: one whose rack has the fewest of them, then one that has
    the fewest replicas, then one that leads the fewest. Raises FaultError when there is none.
    """
    gone = set(leaving)
    staying = [node for node in racks if node not in gone]
    load = Counter(node for nodes in now.values() for node in nodes if node not in gone)
    leads = Counter(nodes[0] for nodes in now.values() if nodes and nodes[0] not in gone)
    wanted: dict[str, list[str]] = {}
    for name, old in now.items():
        if gone.isdisjoint(old):
            continue
        nodes = list(old)
        for place, node in enumerate(old):
            if node not in gone:
                continue
            kept = [each for each in nodes if each not in gone]
            crowd = Counter(racks[each] for each in kept if racks.get(each))
            free = [each for each in staying if each not in kept]
            if not free:
                raise FaultError(_no_room(name, old, staying))
            nodes[place] = min(free, key=lambda each: (crowd[racks[each]], load[each], leads[each]))
            load[nodes[place]] += 1
            leads[nodes[place]] += place == 0
        wanted[name] = nodes
    return wanted


def _no_room(name: str, old: Sequence[str], staying: Sequence[str]) -> str:
    return (
        f"no room: {name} has {len(old)} replicas, and only {len(staying)} nodes are left "
        f"({', '.join(staying) or 'none'}); have fewer replicas or more nodes"
    )


def _mover(broker: Broker) -> MovesReplicas:
    if not isinstance(broker, MovesReplicas):
        raise FaultError("this broker cannot move replicas")
    return broker


def _placement(cluster: Cluster, names: Iterable[str]) -> Mapping[str, Placement]:
    return _mover(managed(cluster).broker).placement(cluster.clients, list(names), _ASK_S)


def _same(placed: Placement, nodes: Sequence[str]) -> bool:
    return list(placed.replicas) == list(nodes)


def _known(placed: Placement, *places: Sequence[str]) -> bool:
    return any(_same(placed, nodes) for nodes in places)


def _settled(now: Mapping[str, Placement], wanted: Mapping[str, Sequence[str]]) -> int:
    """How many partitions are just where they should be, with all replicas in sync."""
    return sum(
        _same(placed, wanted[name]) and set(placed.in_sync) == set(placed.replicas)
        for name, placed in now.items()
    )
