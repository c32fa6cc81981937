"""`process.stop`: the broker is told to end, and is started again at heal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from chaos.spi import (
    Cluster,
    Duration,
    Effect,
    Injection,
    Node,
    NodeState,
    Presence,
    Rig,
    Target,
    TellsItsEnd,
)
from chaos_adapters.faults.process import all_are, managed, nodes_of, running, start, stop

_LAST_LINES = 500


@dataclass(frozen=True)
class Stop:
    """Ends the broker's process in order (SIGTERM); heal starts it again on the same data.

    A broker uses the time that it has to hand over: Kafka gives its leaders away first, so clients
    hardly notice. One that has not ended after `within` is an error, and heal ends it by SIGKILL.
    Proof: the process is gone, and the end of its log says that it went in order, where the broker
    says such a thing; after heal: it runs.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose process is told to end; several are told at once."""
    within: Duration = 60.0
    """How long that may take."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running process can be stopped."""
        return Injection(running(rig, self.target, "stop"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """SIGTERM to every target, and wait for its end."""
        stop(managed(cluster), injection.nodes, self.within)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process, and what its log says."""
        effect = all_are(NodeState.DEAD, cluster, injection)
        broker = managed(cluster).broker
        if effect.presence is not Presence.FULL or not isinstance(broker, TellsItsEnd):
            return effect

        def in_order(node: Node) -> bool:
            return broker.ended_in_order(node.log_tail(_LAST_LINES))

        told = {node.name: in_order(node) for node in nodes_of(cluster, injection)}
        figures = {
            name: "ended in order" if right else "dead, and its log has no orderly end"
            for name, right in told.items()
        }
        presence = Presence.FULL if all(told.values()) else Presence.PARTIAL
        return replace(effect, presence=presence, figures=figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start whatever is dead or about to be."""
        start(cluster, injection)
