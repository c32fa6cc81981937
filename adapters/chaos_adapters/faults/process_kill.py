"""`process.kill`: the broker's process dies at once, and is started again at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.spi import Cluster, Effect, Injection, NodeState, Rig, Target
from chaos_adapters.faults.process import all_are, nodes_of, running, start


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
        return Injection(running(rig, self.target, "kill"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """SIGKILL to every target."""
        for node in nodes_of(cluster, injection):
            node.kill()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        return all_are(NodeState.DEAD, cluster, injection)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start whatever is dead."""
        start(cluster, injection)
