"""`cpu.limit`: a broker gets little of its processors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from random import Random
from typing import Annotated, Any, ClassVar

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    Cluster,
    CpuUse,
    Effect,
    Injection,
    NodeState,
    Presence,
    Rationed,
    Rig,
    Runtime,
    Target,
)
from chaos_adapters.faults.process import managed, running

_LOOK_S = 1.0
_OVER = 1.15
_LIMITS = "limits before"
_STEP = 1e-5  # of a quota, which is whole microseconds in each 0.1 s


@dataclass(frozen=True)
class CpuLimit:
    """Lets the target nodes use at most so many cores' time, by the quota of their control group.

    As on a machine that is oversold, or in a container with a small limit: all is as before, but
    slow. Needs the Docker runtime. Proof: the quota is set, and for a second the node used no more
    and was held up by it; a node that wants less proves nothing. After heal: the old quota is back.
    """

    claims: ClassVar[str] = "cpu"
    needs_links: ClassVar[bool] = False

    target: Target
    """Who is slowed."""
    cores: Annotated[float, Field(ge=0.01, le=64)]
    """How many cores' time in all, such as 0.1."""

    def runtime_problem(self, runtime: Runtime) -> str:
        """Plain processes of a user have no control group of ours."""
        if getattr(runtime, "rations", False):
            return ""
        return "needs control groups of the nodes' own: use --runtime docker"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """What was set before is what heal brings back."""
        nodes = running(rig, self.target, "slow")
        before = {name: node.cpu_limit() for name, node in _rationed(rig.cluster, nodes)}
        if low := [name for name, cores in before.items() if 0 < cores <= self.cores]:
            raise FaultError(f"{', '.join(low)} has no more than that even now")
        return Injection(nodes, {_LIMITS: before})

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """From now on."""
        for _, node in _rationed(cluster, injection.nodes):
            node.limit_cpu(self.cores)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What the kernel holds it to, and what it used within a second."""
        nodes = dict(_rationed(cluster, injection.nodes))
        limits = {name: node.cpu_limit() for name, node in nodes.items()}
        wanted: Mapping[str, float] = injection.data[_LIMITS]
        on = [name for name, cores in limits.items() if isclose(cores, self.cores, abs_tol=_STEP)]
        if not on:
            same = all(
                limits[name] == wanted[name] or cluster.nodes[name].state() is NodeState.DEAD
                for name in nodes
            )
            return Effect(Presence.NONE if same else Presence.PARTIAL, dict(limits))
        used = _used(nodes, managed(cluster).ended)
        figures: dict[str, Any] = {
            name: {"cores": round(share, 3), "held up": held}
            for name, (share, held) in used.items()
        }
        bites = all(share <= _OVER * self.cores and held for share, held in used.values())
        full = bites and len(on) == len(nodes)
        return Effect(Presence.FULL if full else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """What was set before; of a dead node, too."""
        nodes, limits = dict(_rationed(cluster, injection.nodes)), injection.data[_LIMITS]
        attempt_all(lambda name: nodes[name].limit_cpu(limits[name]), nodes)


def _used(nodes: Mapping[str, Rationed], ended: threading.Event) -> dict[str, tuple[float, int]]:
    """Cores used within a second, and in how many periods it was held up."""
    before: dict[str, CpuUse] = {name: node.cpu_used() for name, node in nodes.items()}
    ended.wait(_LOOK_S)
    found = {}
    for name, node in nodes.items():
        was, now = before[name], node.cpu_used()
        share = (now.used_s - was.used_s) / max(now.at_s - was.at_s, 1e-9)
        found[name] = share, now.throttled - was.throttled
    return found


def _rationed(cluster: Cluster, names: tuple[str, ...]) -> Iterator[tuple[str, Rationed]]:
    for name in names:
        node = cluster.nodes[name]
        if not isinstance(node, Rationed):
            raise FaultError("this runtime has no hold of processors; use --runtime docker")
        yield name, node
