"""`process.kill`: the broker's process dies at once, and is started again at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError
from chaos.spi import Cluster, Effect, Injection, NodeState, Presence, Rig, Target


@dataclass(frozen=True)
class Kill:
    """Ends the broker's process at once (SIGKILL); heal starts it again on the same data.

    The kernel still closes its connections, so peers notice at once: a machine that dies does not
    do that. Proof: the process is gone; after heal: it runs.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose process is killed."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running process can be killed."""
        nodes = rig.resolve(self.target)
        for name in nodes:
            if (state := rig.cluster.nodes[name].state()) is not NodeState.RUNNING:
                raise FaultError(f"cannot kill {name}: it is {state} already")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """SIGKILL to every target."""
        for name in injection.nodes:
            cluster.nodes[name].kill()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        states = {name: cluster.nodes[name].state() for name in injection.nodes}
        dead = sum(state is NodeState.DEAD for state in states.values())
        if dead == len(states):
            return Effect(Presence.FULL, dict(states))
        return Effect(Presence.PARTIAL if dead else Presence.NONE, dict(states))

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start whatever is dead."""
        for name in injection.nodes:
            cluster.nodes[name].start()
