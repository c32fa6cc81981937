"""What the faults of a node's process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from chaos.errors import DeadlineExceeded, FaultError, attempt_all
from chaos.spi import Cluster, Effect, Injection, Managed, Node, NodeState, Presence, Rig
from chaos.timing import wait_until


def running(rig: Rig, target: str, what: str) -> tuple[str, ...]:
    """The nodes that a target means. Raises FaultError unless all of them run: what is dead or
    frozen already cannot show the effect of a fault of ours."""
    nodes = rig.resolve(target)
    for name in nodes:
        if (state := rig.cluster.nodes[name].state()) is not NodeState.RUNNING:
            raise FaultError(f"cannot {what} {name}: it is {state} already")
    return nodes


def nodes_of(cluster: Cluster, injection: Injection) -> Iterator[Node]:
    """The nodes that a fault acts on."""
    return (cluster.nodes[name] for name in injection.nodes)


def all_are(wanted: NodeState, cluster: Cluster, injection: Injection) -> Effect:
    """FULL when every process is in this state, NONE when none is; the figures are the states."""
    states = {node.name: node.state() for node in nodes_of(cluster, injection)}
    there = sum(state is wanted for state in states.values())
    if there == len(states):
        return Effect(Presence.FULL, dict(states))
    return Effect(Presence.PARTIAL if there else Presence.NONE, dict(states))


def managed(cluster: Cluster) -> Managed:
    """The cluster with all that an operator does with it. Raises FaultError."""
    if not isinstance(cluster, Managed):
        raise FaultError("nobody knows the broker of this cluster")
    return cluster


def start(cluster: Cluster, injection: Injection) -> None:
    """Start whatever is dead of the nodes that a fault acted on, or about to be."""
    attempt_all(lambda node: node.start(), nodes_of(cluster, injection))


def stop(cluster: Managed, nodes: tuple[str, ...], within_s: float) -> None:
    """SIGTERM to all of them, then wait until all have ended. Raises DeadlineExceeded, and
    Interrupted when the run ends meanwhile."""
    for name in nodes:
        with suppress(DeadlineExceeded):
            cluster.nodes[name].stop(0)

    def ended() -> bool:
        return all(cluster.nodes[name].state() is NodeState.DEAD for name in nodes)

    what = f"the orderly end of {', '.join(nodes)}"
    wait_until(ended, what, within_s, every_s=0.02, stop=cluster.ended)


def await_nothing(cluster: Managed, missing: Callable[[], str], what: str, within_s: float) -> None:
    """Wait until nothing is missing. Raises DeadlineExceeded with what it was last, and Interrupted
    when the run ends meanwhile."""
    last = ""

    def nothing() -> bool:
        nonlocal last
        last = missing()
        return not last

    try:
        wait_until(nothing, what, within_s, every_s=0.05, stop=cluster.ended)
    except DeadlineExceeded as error:
        raise DeadlineExceeded(what, within_s, last) from error
