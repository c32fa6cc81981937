"""What faults on links have in common: which ways they take, how these are cut, what crosses them.

A way is a direction of data: bytes A -> B are `upstream` on connections that A opened and
`downstream` on those of B, so a toxic goes on both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal, TypeVar

from chaos.errors import FaultError
from chaos.spi import (
    BOTH,
    CLIENTS,
    DOWNSTREAM,
    UPSTREAM,
    Cluster,
    Injection,
    Json,
    Link,
    Losses,
    Lossy,
    Meshed,
    NodeState,
    Packets,
    Way,
)

How = Literal["hang", "reset", "drop"]
From = Literal["peers", "clients", "both"]
Direction = Literal["both", "in", "out"]

ANSWER_WITHIN_S = 0.5
_PATIENCE_S = 3.0
_DAY_MS = 86_400_000
_THREADS = 128
_TOXICS: Mapping[str, tuple[str, dict[str, float]]] = {
    # Unlike Toxiproxy's `timeout`, taking a latency off closes no connection.
    "hang": ("latency", {"latency": _DAY_MS}),
    "reset": ("reset_peer", {"timeout": 0}),
}

K = TypeVar("K")
V = TypeVar("V")


def links_of(cluster: Cluster) -> Mapping[Way, Link]:
    """All links. Raises FaultError where there are none to get hold of."""
    if not isinstance(cluster, Meshed):
        raise FaultError("this runtime has no hold of links; use --runtime docker")
    return cluster.links


def packets_of(cluster: Cluster) -> Packets:
    """Packet rules. Raises FaultError where there are none."""
    if not isinstance(cluster, Lossy):
        raise FaultError("this runtime has no hold of packets; use --runtime docker")
    return cluster.packets


def all_at_once(act: Callable[[K], V], keys: Iterable[K]) -> dict[K, V]:
    """What an act gives for each key. At once, as what is cut takes its time to answer; when one
    fails, the others are done all the same."""
    begun = [(key, _pool().submit(act, key)) for key in keys]
    wait(future for _, future in begun)
    return {key: future.result() for key, future in begun}


@cache
def _pool() -> ThreadPoolExecutor:
    """One for the process: a look at all links would start dozens of threads each time."""
    return ThreadPoolExecutor(_THREADS, "links")


# ------------------------------------------------------------------------------------- the ways


def around(
    links: Mapping[Way, Link], nodes: Sequence[str], parted_from: From, direction: Direction
) -> list[Way]:
    """The ways between these nodes and the others, the clients, or both: those that lead in to
    these nodes, out of them, or both."""
    inward, outward = direction in ("in", "both"), direction in ("out", "both")
    found = []
    for source, target in existing(links):
        other = target if source in nodes else source
        wanted = parted_from != ("peers" if other == CLIENTS else "clients")
        if wanted and (source in nodes) != (target in nodes):
            found += [(source, target)] if (outward if source in nodes else inward) else []
    return found


def existing(links: Mapping[Way, Link]) -> list[Way]:
    """Every way that bytes take over some link."""
    return list(dict.fromkeys([*links, *((target, source) for source, target in links)]))


def injection_of(
    kind: str, nodes: tuple[str, ...], ways: Sequence[Way], random: Random, **data: object
) -> Injection:
    """The decision to do something to these ways, under a name that no other fault has."""
    name = f"{kind}-{random.getrandbits(32):08x}"
    about: Json = {"name": name, "ways": [list(way) for way in ways], **data}
    return Injection(nodes, about, tuple(f"{source} -> {target}" for source, target in ways))


def ways_of(injection: Injection) -> list[Way]:
    """Those that it decided on."""
    return [(source, target) for source, target in injection.data["ways"]]


def streams(links: Mapping[Way, Link], ways: Collection[Way]) -> dict[Way, str]:
    """The links that carry these ways, each with the stream on it that does."""
    found = {}
    for source, target in links:
        up, down = (source, target) in ways, (target, source) in ways
        if up or down:
            found[source, target] = BOTH if up and down else UPSTREAM if up else DOWNSTREAM
    return found


# ------------------------------------------------------------------------- doing and undoing it


def impose(
    cluster: Cluster, injection: Injection, kind: str, attributes: Mapping[str, float]
) -> None:
    """Put a toxic on all ways of an injection; an attribute counts for each of them."""
    links, name = links_of(cluster), injection.data["name"]
    for pair, stream in streams(links, ways_of(injection)).items():
        links[pair].impose(name, kind, stream, **attributes)


def lift(cluster: Cluster, injection: Injection) -> None:
    """Take it off. From all links at once, as Toxiproxy answers only when the bytes that a toxic
    held have gone on, which takes up to a second each."""
    links, name = links_of(cluster), injection.data["name"]
    all_at_once(lambda pair: links[pair].lift(name), streams(links, ways_of(injection)))


def imposed_share(cluster: Cluster, injection: Injection) -> float:
    """On how many of its links it is, of 1."""
    links, name = links_of(cluster), injection.data["name"]
    found = all_at_once(
        lambda pair: name in links[pair].imposed(), streams(links, ways_of(injection))
    )
    return sum(found.values()) / len(found)


def cut(cluster: Cluster, injection: Injection, how: How) -> None:
    """Let nothing more go these ways."""
    if how == "drop":
        packets_of(cluster).lose(injection.data["name"], ways_of(injection), 1.0)
    else:
        impose(cluster, injection, *_TOXICS[how])


def restore(cluster: Cluster, injection: Injection, how: How) -> None:
    """Undo `cut`."""
    if how == "drop":
        packets_of(cluster).regain(injection.data["name"])
    else:
        lift(cluster, injection)


def cut_share(cluster: Cluster, injection: Injection, how: How) -> float:
    """On how much of its ways the cut is there, of 1, as proxies or kernel tell it."""
    if how != "drop":
        return imposed_share(cluster, injection)
    rules = packets_of(cluster).losses().get(injection.data["name"])
    ways = set(ways_of(injection))
    # A table without rules is not nothing: it is to be removed, too.
    return 0.0 if rules is None else max(len(ways & set(rules)) / len(ways), 0.01)


def closings(rules: Mapping[Way, Losses] | None, injection: Injection) -> tuple[int, int] | None:
    """How many packets that were to close a connection were dropped on all its ways by these rules,
    and how many got through; None: a way has no rule."""
    ways = ways_of(injection)
    if rules is None or not all(way in rules for way in ways):
        return None
    found = [rules[way] for way in ways]
    return sum(each.closings_dropped for each in found), sum(each.closings for each in found)


# --------------------------------------------------------------------------- what crosses them


@dataclass(frozen=True)
class Crossing:
    """What was measured of all links, while some ways were meant to be cut. Links to nodes that do
    not run or do not serve, and other links on which another fault has put something, are left
    out: their silence would prove nothing."""

    cut: int
    cut_answering: int
    """On any port."""
    cut_carrying: int
    """On every port."""
    one_way: int
    one_way_arriving: int
    others: int
    others_answering: int

    @property
    def silent(self) -> bool:
        """Nothing is answered where nothing should be, and bytes still go the other way."""
        return bool(self.cut) and not self.cut_answering and self.one_way_arriving == self.one_way

    @property
    def whole(self) -> bool:
        """Everything that was cut carries."""
        return self.cut_carrying == self.cut

    @property
    def others_carry(self) -> bool:
        """No link is cut that should not be."""
        return self.others == self.others_answering

    @property
    def figures(self) -> Json:
        """For people."""
        one_way = {
            "links with one way left": self.one_way,
            "links on which bytes still arrive": self.one_way_arriving,
        }
        return {
            "links cut": self.cut,
            "cut links that answer": self.cut_answering,
            **(one_way if self.one_way else {}),
            "other links": self.others,
            "other links that answer": self.others_answering,
        }


def measure(
    cluster: Cluster, injection: Injection, how: How = "hang", also: Collection[str] = ()
) -> Crossing:
    """Ping over every link whose target serves; `also` are nodes that are not asked at all. Where
    nothing should be cut, a late answer is one: on a busy machine it may be the proxy's or the
    node's, and what is cut answers never."""
    links, ways = links_of(cluster), set(ways_of(injection))
    up = {n.name for n in cluster.nodes.values() if n.state() is NodeState.RUNNING} - set(also)
    hit = streams(links, ways)
    others = _undisturbed(cluster, injection, [pair for pair in links if pair not in hit])
    asked = [pair for pair in (*hit, *others) if pair[1] in up]
    answered = all_at_once(lambda pair: answers(links[pair]), asked)
    serving = _serving(links, [pair for pair in asked if answered[pair] < 1])
    counted = [pair for pair in asked if answered[pair] == 1 or serving[_door(pair)]]
    late = [pair for pair in counted if pair not in hit and answered[pair] < 1]
    answered |= all_at_once(lambda pair: answers(links[pair], _PATIENCE_S), late)
    severed = [pair for pair in counted if pair in hit]
    # With packets dropped, not even a connection comes about when one way is missing.
    half = [p for p in severed if hit[p] == DOWNSTREAM and how == "hang"]
    arriving = all_at_once(lambda pair: links[pair].reaches(ANSWER_WITHIN_S), half)
    rest = [pair for pair in counted if pair not in hit]
    return Crossing(
        len(severed),
        sum(answered[pair] > 0 for pair in severed),
        sum(answered[pair] == 1 for pair in severed),
        len(half), sum(arriving.values()),
        len(rest), sum(answered[pair] == 1 for pair in rest),
    )  # fmt: skip


def answers(link: Link, within_s: float = ANSWER_WITHIN_S) -> float:
    """The share of a link's ports that answer a ping."""
    found = link.probe(within_s)
    return sum(seconds is not None for seconds in found.values()) / len(found)


def all_carry(cluster: Cluster, ways: Collection[Way]) -> None:
    """Raises FaultError when a link of these ways does not carry everything even now; nothing is
    urgent yet, so a busy machine gets more time than in a proof."""
    links = links_of(cluster)
    found = all_at_once(lambda pair: answers(links[pair], _PATIENCE_S), streams(links, ways))
    if broken := sorted(pair for pair, share in found.items() if share < 1):
        raise FaultError(f"links that do not carry everything even now: {told(broken)}")


def told(ways: Iterable[Way]) -> str:
    """For people."""
    return ", ".join(f"{source} -> {target}" for source, target in ways)


def _undisturbed(cluster: Cluster, injection: Injection, pairs: Sequence[Way]) -> list[Way]:
    """Those on which no other fault has put anything."""
    links, own = links_of(cluster), injection.data["name"]
    imposed = all_at_once(lambda pair: links[pair].imposed() - {own}, pairs)
    rules = packets_of(cluster).losses() if isinstance(cluster, Lossy) else {}
    lossy = {way for name, ways in rules.items() if name != own for way in ways}
    return [p for p in pairs if not imposed[p] and p not in lossy and p[::-1] not in lossy]


def _door(pair: Way) -> tuple[bool, str]:
    """Peers come in by other ports than clients."""
    return pair[0] == CLIENTS, pair[1]


def _serving(links: Mapping[Way, Link], pairs: Sequence[Way]) -> dict[tuple[bool, str], bool]:
    """Whether the nodes at the ends of these links answer at all; one link to each is enough."""
    doors = {_door(pair): pair for pair in pairs}
    return all_at_once(lambda door: links[doors[door]].serves(ANSWER_WITHIN_S), doors)


def served(cluster: Cluster, found: Mapping[Way, V | None]) -> dict[Way, V | None]:
    """What was measured of links, without those that gave None and whose target does not serve:
    that says nothing of the link."""
    links = links_of(cluster)
    up = {n.name for n in cluster.nodes.values() if n.state() is NodeState.RUNNING}
    serving = _serving(links, [way for way in found if found[way] is None and way[1] in up])
    return {
        way: value
        for way, value in found.items()
        if way[1] in up and (value is not None or serving[_door(way)])
    }
