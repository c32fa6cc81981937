"""What one node tells of the cluster, and one view out of what several tell.

Every node answers from its own copy of the metadata, which have no epochs to compare. So what more
than half of the nodes that are heard say is believed, and when they are even, what was believed
before. A node that has told another leader than the rest for a while is dissenting: in a partition
that `ignore` or `autoheal` leaves running, each side has a leader of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chaos.errors import ClusterError
from chaos.spi import View
from chaos_adapters.brokers.rabbitmq.api import VHOST, Api
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from chaos_adapters.brokers.rabbitmq.topology import short_name

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Queue:
    """What a node says of a queue."""

    leader: str | None
    members: tuple[str, ...]
    in_sync: tuple[str, ...]
    elected: bool = False
    """Whether its leader is one by a majority of its members: of two that are named as such, one
    only is still named so by those who have not heard of the other."""


@dataclass(frozen=True)
class Tale:
    """What a node says: which nodes run, which it was parted from, which have alarms; the queues of
    a stream by number."""

    running: tuple[str, ...]
    apart: tuple[str, ...]
    alarms: Mapping[str, tuple[str, ...]]
    queues: Mapping[int, Queue]


def told(api: Api, stream: Queues, nodes: Sequence[str], timeout_s: float) -> Tale:
    """Ask one node. Raises ClusterError."""
    columns = "name,running,partitions,mem_alarm,disk_free_alarm"
    heard = api.listed(f"nodes?columns={columns}", timeout_s)
    # With totals each queue's own process is asked, which may be on a node that does not answer,
    # and knows the mirrors that were in sync when it began.
    listed = api.listed(f"queues/{VHOST}?disable_stats=true", timeout_s)
    numbers = {name: number for number, name in enumerate(stream.names)}
    own = {numbers[each["name"]]: each for each in listed if each["name"] in numbers}
    running = tuple(sorted(short_name(node["name"]) for node in heard if node["running"]))
    if stream.kind is Kind.STREAM:
        own = {n: api.get(f"queues/{VHOST}/{each['name']}", timeout_s) or each
               for n, each in own.items()}  # fmt: skip
    return Tale(
        running, _apart(heard, api.node), _alarms(heard),
        {n: _queue(each, stream, nodes, running) for n, each in sorted(own.items())},
    )  # fmt: skip


def backlog(api: Api, stream: Queues, timeout_s: float) -> Mapping[int, int]:
    """How many messages each queue holds, by number, as `held` has it; one that is gone holds none.
    Raises ClusterError, also when a queue cannot be asked."""
    found = held(api, stream, timeout_s)
    if len(found) < stream.queues:
        found |= dict.fromkeys(gone(api, stream, timeout_s), 0)
    if len(found) < stream.queues:
        raise ClusterError(f"{api.node} does not know what all queues of {stream.name} hold")
    return found


def held(api: Api, stream: Queues, timeout_s: float) -> dict[int, int]:
    """How many messages a queue holds, settled by nobody, by number, as its own process says; that
    of a quorum queue once a second. Without those that cannot be asked. Raises ClusterError."""
    path = f"queues/{VHOST}?disable_stats=true&enable_queue_totals=true"
    told = {each["name"]: each.get("messages") for each in api.listed(path, timeout_s)}
    counts = ((number, told.get(name)) for number, name in enumerate(stream.names))
    return {number: count for number, count in counts if isinstance(count, int)}


def gone(api: Api, stream: Queues, timeout_s: float) -> frozenset[int]:
    """The queues that are no more, by number: the node does not list them, although all nodes run
    and know each other (of one that is down, durable queues are listed). Raises ClusterError."""
    nodes = api.listed("nodes?columns=name,running,partitions", timeout_s)
    if not all(node["running"] and not node.get("partitions") for node in nodes):
        return frozenset()
    there = {each["name"] for each in api.listed(f"queues/{VHOST}?disable_stats=true", timeout_s)}
    return frozenset(n for n, name in enumerate(stream.names) if name not in there)


def _apart(heard: Sequence[Any], node: str) -> tuple[str, ...]:
    own = [each for each in heard if short_name(each["name"]) == node]
    return tuple(sorted(short_name(name) for each in own for name in each.get("partitions") or ()))


def _alarms(heard: Sequence[Any]) -> Mapping[str, tuple[str, ...]]:
    kinds = {"disk_free_alarm": "disk", "mem_alarm": "memory"}
    found = {
        short_name(node["name"]): tuple(kinds[key] for key in kinds if node.get(key) is True)
        for node in heard
    }
    return {node: alarms for node, alarms in sorted(found.items()) if alarms}


def _queue(
    listed: Any,  # noqa: ANN401 - whatever JSON can say
    stream: Queues,
    nodes: Sequence[str],
    running: Sequence[str],
) -> Queue:
    """Of a queue whose leader does not run, the record still names it: there is none then."""
    named = listed.get("leader") or listed.get("node")
    leader = short_name(named) if named else None
    leader = leader if leader in running else None
    if stream.kind in (Kind.QUORUM, Kind.STREAM):
        members, online = _names(listed.get("members")), _names(listed.get("online"))
        in_sync = tuple(each for each in online if each in running)
        return Queue(leader, members, in_sync, elected=True)
    synced = _names(listed.get("synchronised_slave_nodes"))
    in_sync = tuple(sorted({*synced, *([leader] if leader else [])}))
    if stream.kind is Kind.CLASSIC:
        return Queue(leader, (short_name(named),) if named else (), in_sync)
    mirrors = _names(listed.get("slave_nodes"))
    members = tuple(sorted({*mirrors, *([leader] if leader else [])}))
    if stream.in_force["ha-mode"] == "all":
        members = tuple(nodes)  # those that are down are not listed, and belong to it all the same
    return Queue(leader, members, in_sync)


def _names(listed: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(sorted(short_name(name) for name in listed or ()))


def view(tales: Mapping[str, Tale], last: View, dissenting: Sequence[str] = ()) -> View:
    """The merged view. `tales` is by node and not empty; `last` is what was believed before."""
    queues = sorted({number for tale in tales.values() for number in tale.queues})
    said = {n: [tale.queues[n] for tale in tales.values() if n in tale.queues] for n in queues}
    alarms = {node: each for tale in tales.values() for node, each in tale.alarms.items()}
    return View(
        leaders={n: _most((q.leader for q in said[n]), last.leaders.get(n)) for n in queues},
        replicas={n: _most((q.members for q in said[n]), last.replicas.get(n, ())) for n in queues},
        in_sync={n: _most((q.in_sync for q in said[n]), last.in_sync.get(n, ())) for n in queues},
        alive=_most((tale.running for tale in tales.values()), last.alive),
        dissenting=tuple(sorted(dissenting)),
        alarms=dict(sorted(alarms.items())),
        apart={node: tale.apart for node, tale in sorted(tales.items()) if tale.apart},
        rivals={n: camps for n in queues if len(camps := _camps(tales, n)) > 1} if dissenting
        else {},
    )  # fmt: skip


def _most(said: Iterable[T], last: T) -> T:
    """What more than half say; else what was believed before, if somebody says so still."""
    votes = Counter(said)
    best, count = votes.most_common(1)[0]
    if 2 * count > votes.total() or last not in votes:
        return best
    return last


def _camps(tales: Mapping[str, Tale], number: int) -> dict[str, tuple[str, ...]]:
    """The leaders that nodes name, each with those who name it: of a queue that may have two."""
    found: dict[str, list[str]] = {}
    for node, tale in sorted(tales.items()):
        queue = tale.queues.get(number)
        if queue and queue.leader and not queue.elected:
            found.setdefault(queue.leader, []).append(node)
    return {leader: tuple(nodes) for leader, nodes in sorted(found.items())}


def against(tales: Mapping[str, Tale], believed: View) -> list[str]:
    """The nodes that name another leader than the one that is believed in."""
    led = believed.leaders
    return [
        node
        for node, tale in tales.items()
        if any(
            queue.leader and led.get(number) and queue.leader != led[number]
            for number, queue in tale.queues.items()
        )
    ]
