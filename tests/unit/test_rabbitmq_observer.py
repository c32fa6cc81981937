"""What is seen of a RabbitMQ cluster, out of what its nodes answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import View
from chaos_adapters.brokers.rabbitmq import Rabbitmq
from chaos_adapters.brokers.rabbitmq import observer as observing
from chaos_adapters.brokers.rabbitmq.observer import RabbitObserver
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from tests.unit.management_nodes import NAMES, Node, nodes, queue, running

ONE, TWO, THREE = NAMES


@pytest.fixture
def cluster() -> Iterator[list[Node]]:
    with nodes() as three:
        yield three


def _observer(cluster: list[Node], stream: Queues) -> RabbitObserver:
    return RabbitObserver({node.name: node.address for node in cluster}, stream)


def _seen(cluster: list[Node], stream: Queues, queues: list[Any], heard: list[Any]) -> View:
    """All nodes answer so, and are waited for, however busy this machine is; of a stream only the
    answer for one queue says more than its name."""
    for node in cluster:
        node.answers |= {"nodes": heard, "queues/%2F": queues}
        if stream.kind is Kind.STREAM:
            node.answers["queues/%2F"] = [{"name": each["name"]} for each in queues]
            node.answers |= {f"queues/%2F/{each['name']}": each for each in queues}
    observer = _observer(cluster, stream)
    try:
        with pytest.MonkeyPatch.context() as patient:
            patient.setattr(observing, "_PATIENCE_S", 5.0)
            return observer.observe(5.0)
    finally:
        observer.close()


@pytest.mark.parametrize("kind", list(Kind))
def test_leaders_copies_and_who_is_in_sync(cluster: list[Node], kind: Kind) -> None:
    """Of each queue by its number, however the nodes list them; other queues are nobody's."""
    others = () if kind is Kind.CLASSIC else (ONE, TWO, THREE)
    stream = Queues(kind=kind, queues=2)
    listed = [queue(kind, 1, TWO, others), queue(kind, 0, ONE, others), queue(kind, 9, ONE)]
    seen = _seen(cluster, stream, listed, running())
    assert seen.leaders == {0: ONE, 1: TWO}
    assert seen.replicas == seen.in_sync == {0: others or (ONE,), 1: others or (TWO,)}
    assert seen.alive == NAMES
    assert (seen.alarms, seen.apart, seen.dissenting, seen.rivals) == ({}, {}, (), {})


@pytest.mark.parametrize(("kind", "replicas", "in_sync"), [
    (Kind.QUORUM, NAMES, (TWO, THREE)), (Kind.STREAM, NAMES, (TWO, THREE)),
    (Kind.MIRRORED, NAMES, (TWO, THREE)), (Kind.CLASSIC, (ONE,), ()),
])  # fmt: skip
def test_a_leader_that_does_not_run_leads_nothing(
    cluster: list[Node], kind: Kind, replicas: tuple[str, ...], in_sync: tuple[str, ...]
) -> None:
    """Nodes go on naming it, and count it as online, for a while; it still has a copy."""
    listed = [queue(kind, 0, ONE, () if kind is Kind.CLASSIC else (TWO, THREE))]
    seen = _seen(cluster, Queues(kind=kind, queues=1), listed, running((TWO, THREE)))
    assert seen.leaders == {0: None}
    assert seen.alive == (TWO, THREE)
    assert (seen.replicas, seen.in_sync) == ({0: replicas}, {0: in_sync})


@pytest.mark.parametrize("kind", [Kind.QUORUM, Kind.STREAM, Kind.MIRRORED])
def test_a_copy_that_lacks_messages_is_not_in_sync(cluster: list[Node], kind: Kind) -> None:
    """It is one all the same."""
    listed = [queue(kind, 0, ONE, (TWO, THREE), behind=(TWO,))]
    seen = _seen(cluster, Queues(kind=kind, queues=1), listed, running())
    assert (seen.replicas, seen.in_sync) == ({0: NAMES}, {0: (ONE, THREE)})


def test_mirrors_are_all_nodes_or_those_that_are_listed(cluster: list[Node]) -> None:
    """One that is down is not listed: it has to come back where all nodes are mirrors."""
    listed = [queue(Kind.MIRRORED, 0, ONE, (TWO,))]
    every = Queues(kind=Kind.MIRRORED, queues=1)
    two = Queues(kind=Kind.MIRRORED, queues=1, policy={"ha-mode": "exactly", "ha-params": 2})
    assert _seen(cluster, every, listed, running()).replicas == {0: NAMES}
    assert _seen(cluster, two, listed, running()).replicas == {0: (ONE, TWO)}


def test_alarms_are_told_by_node_and_kind(cluster: list[Node]) -> None:
    """A node that does not run has none: nothing is known of it."""
    both = {"mem_alarm": True, "disk_free_alarm": True}
    heard = running(n1={"mem_alarm": True}, n2=both, n3={"disk_free_alarm": None})
    seen = _seen(cluster, Queues(queues=1), [queue(Kind.QUORUM, 0, ONE, NAMES)], heard)
    assert seen.alarms == {ONE: ("memory",), TWO: ("disk", "memory")}


def test_who_was_parted_from_whom_is_told_by_each_for_itself(
    cluster: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node says of others is not its own word."""
    # A busy machine is not to leave the one out that has something to say.
    monkeypatch.setattr(observing, "_PATIENCE_S", 5.0)
    heard = running(n2={"partitions": ["rabbit@rabbitmq-3", "rabbit@rabbitmq-1"]})
    seen = _seen(cluster, Queues(queues=1), [queue(Kind.QUORUM, 0, ONE, NAMES)], heard)
    assert seen.apart == {TWO: (ONE, THREE)}


def test_a_node_that_is_down_keeps_nobody_from_seeing(
    cluster: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are believed; without any there is no view, and without queues neither."""
    # A busy machine is not to leave one of them with what it said before.
    monkeypatch.setattr(observing, "_PATIENCE_S", 5.0)
    stream = Queues(queues=1)
    for node in cluster:
        node.answers["queues/%2F"] = [queue(Kind.QUORUM, 0, TWO, NAMES)]
    observer = _observer(cluster, stream)
    cluster[0].stop()
    assert observer.observe(5.0).leaders == {0: TWO}
    for node in cluster[1:]:
        node.answers["queues/%2F"] = []
    with pytest.raises(ClusterError, match="does not know chaos"):
        observer.observe(5.0)
    for node in cluster[1:]:
        node.answers["nodes"] = 500
    with pytest.raises(DeadlineExceeded, match="an answer of any node"):
        observer.observe(5.0)
    observer.close()


def test_a_backlog_is_told_by_the_first_node_that_can(cluster: list[Node]) -> None:
    """Who cannot is asked last from then on."""
    for node, held in zip(cluster, (None, 5, 5), strict=True):
        node.answers["queues/%2F"] = [{"name": "chaos.0", "messages": held}]
    observer = _observer(cluster, Queues(queues=1))
    for _ in range(3):
        assert observer.group("any", 5.0).lag == {0: 5}
    totals = [[path for path in node.asked if "totals=true" in path] for node in cluster]
    assert [len(paths) for paths in totals] == [1, 3, 0]
    for node in cluster:
        node.answers["queues/%2F"] = 500
    with pytest.raises(ClusterError, match="answers 500"):
        observer.group("any", 5.0)
    observer.close()


@pytest.mark.parametrize(("role", "led", "leaderless"), [
    ("leader", [TWO], []), ("member", list(NAMES), list(NAMES)),
    ("members", list(NAMES), list(NAMES)), ("mirror", [ONE, THREE], list(NAMES)),
    ("mirrors", [ONE, THREE], list(NAMES)), ("follower", [ONE, THREE], list(NAMES)),
    ("followers", [ONE, THREE], list(NAMES)),
])  # fmt: skip
def test_targets_are_found_by_their_roles(role: str, led: list[str], leaderless: list[str]) -> None:
    """Whoever leads is no mirror and no follower; a queue that nobody leads has no leader."""
    seen = View(leaders={0: ONE, 1: TWO, 2: None}, replicas=dict.fromkeys(range(3), NAMES))
    assert list(Rabbitmq().locate(role, 1, seen)) == led
    assert list(Rabbitmq().locate(role, 2, seen)) == leaderless
    assert list(Rabbitmq().locate(role, 3, seen)) == []
    assert role in Rabbitmq.roles
