"""`process.restart`: one node after the other is restarted, each when the cluster is whole."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from chaos.errors import ClusterError, FaultError
from chaos.spi import (
    Cluster,
    Duration,
    Effect,
    Injection,
    Managed,
    NodeState,
    Presence,
    Rig,
    Target,
)
from chaos.timing import Interrupted
from chaos_adapters.faults.process import (
    all_are,
    await_nothing,
    managed,
    running,
    start,
    stop,
)

_LOOK_S = 2.0
_DONE = "restarted"


@dataclass(frozen=True)
class Restart:
    """Restarts nodes one after the other, as an upgrade does; over when the last one is back.

    The next one's turn comes when the cluster is whole: every node serves and every replica is in
    sync. Proof: each process was seen gone, then every node serving again, then the cluster whole;
    the figures are the seconds from its end until each. Heal starts whatever is dead.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target = "all"
    """Who is restarted."""
    how: Literal["stop", "kill"] = "stop"
    """By SIGTERM, in order, or by SIGKILL."""
    order: Literal["names", "reversed", "random", "controller-last"] = "names"
    """Whose turn comes when; the last is what Kafka's operators do."""
    pause: Duration = 0.0
    """How long to wait between two nodes."""
    within: Duration = 60.0
    """How long a node may take to end in order."""
    whole_within: Duration = 120.0
    """How long it may take after a node until the cluster is whole."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """All must run, and their order is drawn now."""
        nodes = running(rig, self.target, "restart")
        order = list(nodes)
        if self.order == "reversed":
            order.reverse()
        elif self.order == "random":
            random.shuffle(order)
        elif self.order == "controller-last":
            order.sort(key=lambda name: name in rig.resolve("controller"))
        return Injection(nodes, {"order": order})

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Restart each in its turn, once the cluster is whole."""
        operated = managed(cluster)
        done = injection.data[_DONE] = {}
        await_nothing(
            operated, operated.missing, "the cluster to be whole before the restart",
            self.whole_within,
        )  # fmt: skip
        for number, name in enumerate(injection.data["order"]):
            if number and operated.ended.wait(self.pause):
                raise Interrupted(f"the turn of {name}")
            done[name] = self._restart(operated, name)

    def _restart(self, cluster: Managed, name: str) -> dict[str, float]:
        node = cluster.nodes[name]
        if self.how == "stop":
            stop(cluster, (name,), self.within)
        else:
            node.kill()
        if node.state() is not NodeState.DEAD:
            raise FaultError(f"{name} did not end, so it was not restarted")
        ended_s = time.monotonic()
        node.start()

        def unready() -> str:
            try:
                return cluster.broker.ready(cluster.clients, _LOOK_S)
            except ClusterError as error:
                return str(error)

        await_nothing(
            cluster, unready, f"all nodes to serve after the restart of {name}", self.whole_within
        )
        served_s = time.monotonic()
        what = f"the cluster to be whole after {name}"
        await_nothing(cluster, cluster.missing, what, self.whole_within)
        return {"down": served_s - ended_s, "whole after": time.monotonic() - ended_s}

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:  # noqa: ARG002
        """What was measured on the way."""
        done = injection.data.get(_DONE, {})
        figures = {
            name: f"down {measured['down']:.1f} s, whole after {measured['whole after']:.1f} s"
            for name, measured in done.items()
        }
        if len(done) == len(injection.nodes):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.PARTIAL if done else Presence.NONE, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start whatever is dead or about to be."""
        start(cluster, injection)

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Any process that does not run."""
        effect = all_are(NodeState.RUNNING, cluster, injection)
        left = {Presence.FULL: Presence.NONE, Presence.NONE: Presence.FULL}
        return Effect(left.get(effect.presence, Presence.PARTIAL), effect.figures)
