"""`node.crash`: a machine dies, and no packet tells anybody."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError
from chaos.spi import Cluster, Effect, Injection, NodeState, Presence, Rig, Target
from chaos_adapters.faults.links import (
    around,
    closings,
    cut,
    injection_of,
    links_of,
    measure,
    packets_of,
    restore,
)
from chaos_adapters.faults.process import nodes_of, running, start


@dataclass(frozen=True)
class Crash:
    """Dies as a machine does: first its packets get nowhere, then its process is killed.

    `process.kill` leaves a kernel that closes the connections, so that everybody knows at once; of
    a dead machine only time-outs tell. Heal starts it on the same data and gives it back its
    network. By packet rules in the pods; needs the agent's image. Proof: the process is gone, the
    packets that were to close its connections were dropped, and none got through; after heal: no
    rule is left, it runs, and its links carry. What it had written but not forced to the disk is
    kept: a power loss is a fault of its own.
    """

    claims: ClassVar[str] = "node"
    needs_links: ClassVar[bool] = True

    target: Target
    """Who dies."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Only a running process can die, and packet rules must be to be had."""
        nodes, links = running(rig, self.target, "crash"), links_of(rig.cluster)
        ways = around(links, nodes, "both", "both")
        if not ways:
            raise FaultError(f"nobody is linked to {', '.join(nodes)}")
        packets_of(rig.cluster).losses()
        return injection_of("crash", nodes, ways, random)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """In this order."""
        cut(cluster, injection, "drop")
        for node in nodes_of(cluster, injection):
            node.kill()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What the kernel counted of FIN and RST, and the state of each process."""
        states = {node.name: node.state() for node in nodes_of(cluster, injection)}
        rules = packets_of(cluster).losses().get(injection.data["name"])
        dropped, passed = closings(rules, injection) or (0, 0)
        figures = {**states, "closings dropped": dropped, "closings that got through": passed}
        dead = all(state is NodeState.DEAD for state in states.values())
        if dead and dropped and not passed:
            return Effect(Presence.FULL, figures)
        alive = all(state is NodeState.RUNNING for state in states.values())
        if rules is None and alive and measure(cluster, injection, "drop").whole:
            return Effect(Presence.NONE, figures)
        return Effect(Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start it, and give its network back."""
        try:
            start(cluster, injection)
        finally:
            restore(cluster, injection, "drop")
