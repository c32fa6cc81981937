"""`network.partition`: nothing gets through between a node and others, until heal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import (
    CLIENTS,
    Cluster,
    Effect,
    Injection,
    Link,
    Meshed,
    NodeState,
    Presence,
    Rig,
    Target,
)

NAME = "partition"
_DAY_MS = 86_400_000
_ANSWER_WITHIN_S = 0.5


@dataclass(frozen=True)
class Partition:
    """Cuts the links of the target nodes; connections stay open and no byte arrives, both ways.

    Nothing is closed or refused, as with a pulled cable; what was sent meanwhile arrives at heal,
    on the same connections. Needs links, so the Docker runtime. Proof: a ping in the broker's
    protocol is answered over every link that should carry and over none that is cut; after heal:
    over all.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True

    isolate: Target
    """The nodes to cut off; several of them still reach each other."""
    parted_from: Annotated[Literal["peers", "clients", "both"], Field(alias="from")] = "both"
    """From whom: the other nodes, the clients, or both."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """All links that cross the border, and all must carry now."""
        nodes = rig.resolve(self.isolate)
        links = _links(rig.cluster)
        cut = [pair for pair in links if self._crosses(pair, nodes)]
        if not cut:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        if broken := sorted(pair for pair, share in _probe(links, cut).items() if share < 1):
            raise FaultError(f"links that do not carry everything even now: {_told(broken)}")
        return Injection(nodes, {"cut": [list(pair) for pair in cut]})

    def _crosses(self, pair: tuple[str, str], nodes: tuple[str, ...]) -> bool:
        source, target = pair
        if source == CLIENTS:
            return self.parted_from != "peers" and target in nodes
        return self.parted_from != "clients" and (source in nodes) != (target in nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """A latency of a day: unlike Toxiproxy's `timeout`, taking it off closes no connection."""
        links = _links(cluster)
        for pair in _cut(injection):
            links[pair].impose(NAME, "latency", latency=_DAY_MS)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Ping over every link whose target runs, all at once; a dead one proves nothing."""
        links, cut = _links(cluster), set(_cut(injection))
        running = {n.name for n in cluster.nodes.values() if n.state() is NodeState.RUNNING}
        imposed = {pair: link.imposed() for pair, link in links.items()}
        carried = _probe(links, [pair for pair in links if pair[1] in running])
        severed = [carried[pair] for pair in carried if pair in cut]
        others = [carried[pair] for pair in carried if pair not in cut and not imposed[pair]]
        figures = {
            "links cut": len(cut),
            "cut links that answer": sum(share > 0 for share in severed),
            "other links": len(others),
            "other links that answer": sum(share == 1 for share in others),
        }
        on = sum(NAME in imposed[pair] for pair in cut)
        silent = bool(severed) and not any(severed)
        if on == len(cut) and silent and all(share == 1 for share in others):
            return Effect(Presence.FULL, figures)
        gone = not on and all(share == 1 for share in severed)
        return Effect(Presence.NONE if gone else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Take it off every link. All at once, as Toxiproxy answers only when the bytes that the
        toxic held have gone on, which takes up to a second each."""
        links, cut = _links(cluster), _cut(injection)
        with ThreadPoolExecutor(max(1, len(cut))) as pool:
            list(pool.map(lambda pair: links[pair].lift(NAME), cut))


def _links(cluster: Cluster) -> Mapping[tuple[str, str], Link]:
    if not isinstance(cluster, Meshed):
        raise FaultError("this runtime has no hold of links; use --runtime docker")
    return cluster.links


def _cut(injection: Injection) -> list[tuple[str, str]]:
    return [(source, target) for source, target in injection.data["cut"]]


def _probe(
    links: Mapping[tuple[str, str], Link], pairs: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """The share of each link's ports that answer. All at once, as a cut one takes its time."""
    wanted = list(pairs)
    if not wanted:
        return {}
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = pool.map(lambda pair: links[pair].probe(_ANSWER_WITHIN_S), wanted)
        return {
            pair: sum(seconds is not None for seconds in found.values()) / len(found)
            for pair, found in zip(wanted, answers, strict=True)
        }


def _told(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{source} -> {target}" for source, target in pairs)
