"""`memory.alarm`: a broker says that it has no memory left, and takes no more messages."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    AlarmsForMemory,
    Broker,
    Cluster,
    Effect,
    Injection,
    NodeState,
    Presence,
    Rig,
    Target,
)
from chaos_adapters.faults.process import managed, nodes_of, running

_ASK_S = 10.0
_LIMITS = "limits"


@dataclass(frozen=True)
class Alarm:
    """Has the target nodes raise their alarm for memory, by a limit of nothing; heal gives back the
    limit that they had.

    It is what a node does whose memory is used up by a backlog, without the backlog: RabbitMQ then
    blocks publishers, on all nodes of the cluster. Proof: the cluster tells of an alarm on each of
    them; after heal: of none. A node that is started anew has the limit of its settings.
    """

    claims: ClassVar[str] = "memory"
    needs_links: ClassVar[bool] = False

    target: Target
    """Who raises it."""

    def broker_problem(self, broker: Broker) -> str:
        """See spi.ChecksBroker."""
        return "" if isinstance(broker, AlarmsForMemory) else "this broker has no alarm for memory"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """The limits now are what heal gives back; an alarm must not be on already."""
        nodes = running(rig, self.target, "raise the alarm of")
        broker = _broker(rig.cluster)
        if alarmed := set(broker.memory_alarms(rig.cluster.clients, _ASK_S)) & set(nodes):
            raise FaultError(f"{', '.join(sorted(alarmed))} has an alarm even now")
        limits = {name: broker.memory_limit(rig.cluster.nodes[name]) for name in nodes}
        return Injection(nodes, {_LIMITS: limits})

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """One after the other."""
        for node in nodes_of(cluster, injection):
            _broker(cluster).limit_memory(node, "")

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Who has an alarm, as the cluster says."""
        alarmed = set(_broker(cluster).memory_alarms(cluster.clients, _ASK_S))
        told = {name: "alarm" if name in alarmed else "no alarm" for name in injection.nodes}
        there = len(alarmed & set(injection.nodes))
        if there == len(injection.nodes):
            return Effect(Presence.FULL, dict(told))
        return Effect(Presence.PARTIAL if there else Presence.NONE, dict(told))

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Whoever is dead starts with its own limit."""
        broker, limits = _broker(cluster), injection.data[_LIMITS]
        alive = [
            node for node in nodes_of(cluster, injection) if node.state() is not NodeState.DEAD
        ]
        attempt_all(lambda node: broker.limit_memory(node, limits[node.name]), alive)


def _broker(cluster: Cluster) -> AlarmsForMemory:
    broker = managed(cluster).broker
    if not isinstance(broker, AlarmsForMemory):
        raise FaultError("this broker has no alarm for memory")
    return broker
