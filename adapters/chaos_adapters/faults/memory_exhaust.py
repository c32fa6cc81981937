"""`memory.exhaust`: the kernel takes the broker for want of memory."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    Cluster,
    Effect,
    Injection,
    Memoried,
    Memory,
    NodeState,
    Presence,
    Rig,
    Runtime,
    Target,
)
from chaos_adapters.faults.process import nodes_of, running, start

_KILLED = "killed"


@dataclass(frozen=True)
class Exhaust:
    """Lets the target nodes run out of memory, so that the kernel's OOM killer takes the broker;
    heal takes the limit off and starts it again.

    Its control group, version 1 or 2, may not swap and is left 16 MiB more than its processes need,
    or as little more as the kernel accepts, which a process of ours uses up from within, smaller
    than the broker, as the kernel takes the largest. Nothing outside of the group is short of
    memory. Needs the Docker runtime. Proof: the group's counter of such kills rose, and the node is
    dead; after heal: it runs, and there is no limit.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target
    """Who runs out of memory, one after the other."""

    def runtime_problem(self, runtime: Runtime) -> str:
        """Plain processes of a user have no control group of ours."""
        if getattr(runtime, "rations", False):
            return ""
        return "needs control groups of the nodes' own: use --runtime docker"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """A limit of somebody else's would be gone after it."""
        nodes = running(rig, self.target, "exhaust the memory of")
        for name in nodes:
            if limit := memory_of(rig.cluster).limit(name):
                raise FaultError(f"{name} may have only {limit / 1e6:.0f} MB of memory even now")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """What the counter says is noted now: it goes with the group."""
        memory, killed = memory_of(cluster), injection.data.setdefault(_KILLED, {})
        for name in injection.nodes:
            found = memory.use_up(name)
            killed[name] = [found.killed_before, found.killed_after, found.needed, found.limit]
            if found.killed_after <= found.killed_before:
                raise FaultError(f"the kernel killed nobody in {name}, at {found.limit} bytes")

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What the kernel counted, and the state of each process."""
        memory, killed = memory_of(cluster), injection.data.get(_KILLED, {})
        figures, dead, gone = {}, [], []
        for node in nodes_of(cluster, injection):
            state, limit = node.state(), memory.limit(node.name)
            before, after, needed, most = killed.get(node.name, (0, 0, 0, 0))
            figures[node.name] = (
                f"{state}, kills for want of memory {before} -> {after}, "
                f"needed {needed / 1e6:.1f} of {most / 1e6:.1f} MB"
            )
            dead.append(state is NodeState.DEAD and after > before)
            gone.append(state is NodeState.RUNNING and not limit)
        if all(dead):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(gone) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """As much memory as there is, and whoever is dead is started."""
        memory = memory_of(cluster)
        try:
            attempt_all(memory.lift, injection.nodes)
        finally:
            start(cluster, injection)


def memory_of(cluster: Cluster) -> Memory:
    """A hold of the nodes' memory. Raises FaultError."""
    if not isinstance(cluster, Memoried):
        raise FaultError("this runtime has no hold of its nodes' memory; use --runtime docker")
    return cluster.memories
