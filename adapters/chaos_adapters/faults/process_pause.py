"""`process.pause`: the broker's process stands still, and goes on at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError
from chaos.spi import Cluster, Effect, Injection, NodeState, Presence, Rig, Target


@dataclass(frozen=True)
class Pause:
    """Freezes the broker's process (SIGSTOP, or the container's freezer); heal lets it go on.

    Its connections stay open and the kernel still acknowledges what arrives, as with a very long
    garbage collection or a stopped virtual machine: only time-outs reveal it. Proof: the kernel
    reports the process as stopped; after heal: no longer.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose process stands still."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running process can be paused."""
        nodes = rig.resolve(self.target)
        for name in nodes:
            if (state := rig.cluster.nodes[name].state()) is not NodeState.RUNNING:
                raise FaultError(f"cannot pause {name}: it is {state} already")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Freeze every target."""
        for name in injection.nodes:
            cluster.nodes[name].pause()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        states = {name: cluster.nodes[name].state() for name in injection.nodes}
        paused = sum(state is NodeState.PAUSED for state in states.values())
        if paused == len(states):
            return Effect(Presence.FULL, dict(states))
        return Effect(Presence.PARTIAL if paused else Presence.NONE, dict(states))

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Let every target go on."""
        for name in injection.nodes:
            cluster.nodes[name].resume()
