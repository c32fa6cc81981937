"""`disk.power_loss`: machines lose their power, and with it all that is not on their disks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chaos.spi import Cluster, Effect, Injection, NodeState, Presence, Rig, Target, Volume
from chaos_adapters.faults.disks import disked, disks_of, renew, trouble_of
from chaos_adapters.faults.links import (
    all_at_once,
    around,
    closings,
    cut,
    injection_of,
    links_of,
    measure,
    packets_of,
    restore,
)
from chaos_adapters.faults.process import nodes_of, running

_SEVERAL = ("all", "majority", "minority", "followers", "rack")
_WITHIN = "disks lost power within, ms"
_STILL = "machines stood still within, ms"


@dataclass(frozen=True)
class PowerLoss:
    """Cuts the power of all target nodes at the same instant; heal turns it on again.

    First the processes are frozen, so that none of them forces to its disk, or acknowledges, what
    it had not by then; no packet gets out any more, as of a dead machine; the disks stop, so that
    everything not fsynced is gone; then the processes are killed. Heal checks the file systems,
    mounts them anew, which plays their logs back, and starts the nodes. Needs the agent's image.
    Proof: a line that was written and fsynced just before is there afterwards, one that was only
    written is not, the node is dead, and no packet got out that closes a connection; after heal: it
    runs, its links carry, its disk takes writes.
    """

    claims: ClassVar[str] = "node"
    needs_links: ClassVar[bool] = True

    target: Target
    """Who loses power; several of them within the time that its effect tells."""

    def disk_problem(self, volume: Volume) -> str:  # noqa: ARG002
        """Both file systems can be shut down."""
        return ""

    def loses_caches(self) -> bool:
        """See spi.LosesCaches."""
        return self.target.partition("(")[0].strip() in _SEVERAL

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Only running machines have power to lose, and packet rules must be to be had."""
        nodes = running(rig, self.target, "cut the power of")
        disks_of(rig.cluster, nodes)
        packets_of(rig.cluster).losses()
        ways = around(links_of(rig.cluster), nodes, "both", "both")
        return injection_of("power", nodes, ways, random)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """In this order. Cutting and stopping take a second or two: a broker that ran on meanwhile
        would flush what it had acknowledged, and nothing would be lost by asynchronous flushing."""
        begun = time.monotonic()
        all_at_once(lambda name: cluster.nodes[name].pause(), injection.nodes)
        injection.data[_STILL] = round((time.monotonic() - begun) * 1000)
        cut(cluster, injection, "drop")
        lost_s = disked(cluster).lose_power(injection.nodes, injection.data["name"])
        injection.data[_WITHIN] = round(lost_s * 1000, 2)
        for node in nodes_of(cluster, injection):
            node.kill()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What is left on the disks, and the state of each process."""
        states = {node.name: node.state() for node in nodes_of(cluster, injection)}
        if all(state is NodeState.DEAD for state in states.values()):
            return self._lost(cluster, injection)
        disks = disks_of(cluster, injection.nodes)
        alive = all(state is NodeState.RUNNING for state in states.values())
        rules = packets_of(cluster).losses().get(injection.data["name"])
        if alive and rules is None and not any(map(trouble_of, disks.values())):
            crossing = measure(cluster, injection, "drop")
            if crossing.cut_answering == crossing.cut:
                return Effect(Presence.NONE, dict(states))
        return Effect(Presence.PARTIAL, dict(states))

    def _lost(self, cluster: Cluster, injection: Injection) -> Effect:
        mark, disks = injection.data["name"], disks_of(cluster, injection.nodes)
        with ThreadPoolExecutor(len(disks)) as pool:
            found = list(pool.map(lambda disk: disk.survived(mark), disks.values()))
        figures: dict[str, Any] = {
            name: f"dead, {_told(lines, 'durable')} what was fsynced, "
            f"{_told(lines, 'volatile')} what was not"
            for name, lines in zip(disks, found, strict=True)
        }
        figures |= {key: value for key, value in injection.data.items() if key in (_STILL, _WITHIN)}
        rules = packets_of(cluster).losses().get(mark)
        counted = closings(rules, injection)
        dropped, passed = counted or (0, 0)
        figures |= {"closings dropped": dropped, "closings that got through": passed}
        silent = counted is not None and not passed
        bites = silent and all(lines["durable"] and not lines["volatile"] for lines in found)
        return Effect(Presence.FULL if bites else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Checked disks, running nodes, and their network."""
        try:
            renew(cluster, injection.nodes)
        finally:
            restore(cluster, injection, "drop")


def _told(lines: Any, which: str) -> str:  # noqa: ANN401 - of spi.Disk.survived
    return "kept" if lines[which] else "lost"
