"""When a RabbitMQ cluster is ready for a run, its queues are, and nothing is left of the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq import admin
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from tests.unit.management_nodes import NAMES, Node, nodes, queue, running

ONE, TWO, THREE = NAMES
AT_ONCE_S = 0.05


@pytest.fixture
def cluster() -> Iterator[list[Node]]:
    with nodes() as three:
        yield three


def _clients(cluster: list[Node]) -> Mapping[str, Address]:
    return {node.name: node.address for node in cluster}


def test_a_cluster_is_ready_when_every_node_sees_every_other(cluster: list[Node]) -> None:
    """Not when the first one does; who was parted has to be restarted, and is named."""
    clients = _clients(cluster)
    cluster[1].answers["overview"] = {"rabbitmq_version": "3.10.8"}
    assert admin.missing(clients, 2, "3.13") == ""
    with pytest.raises(ClusterError, match=f"^{TWO} runs RabbitMQ 3"):
        admin.missing(clients, 2, "4.0")
    cluster[2].answers["nodes"] = running(n1={"partitions": ["rabbit@rabbitmq-3"]})
    assert admin.missing(clients, 2, "3.13").startswith(f"{ONE} was parted from others")
    cluster[2].answers["nodes"] = running((THREE,))
    assert admin.missing(clients, 2, "3.13") == f"{THREE} does not see {ONE}, {TWO}"
    cluster[2].answers["nodes"] = running()[2:]
    assert admin.missing(clients, 2, "3.13") == f"{THREE} does not see {ONE}, {TWO}"
    cluster[2].stop()
    assert admin.missing(clients, 2, "3.13").startswith(f"{THREE} does not serve yet")


@pytest.mark.parametrize(("version", "erlang", "hangs"), [
    ("3.10.8", "25.2.3", True), ("3.11.0", "25.1", True), ("3.10.8", "25.0.4", False),
    ("3.10.9", "25.2.3", False), ("3.11.1", "25.1", False), ("3.9.29", "25.3", False),
    ("", "", False),
])  # fmt: skip
def test_a_node_that_may_hang_by_a_bug_is_told(
    cluster: list[Node], version: str, erlang: str, hangs: bool
) -> None:
    """Whoever reads only that a node does not answer looks for the cause in the wrong place. Those
    that serve tell the version."""
    clients = _clients(cluster)
    for node in cluster:
        node.answers["overview"] = {"rabbitmq_version": version, "erlang_version": erlang}
    cluster[0].stop()
    said = admin.missing(clients, 2, "3.13")
    assert said.startswith(f"{ONE} does not serve yet")
    assert ("rabbitmq-server#6034): restart the node" in said) is hangs


@pytest.mark.parametrize("kind", list(Kind))
def test_queues_are_declared_through_one_node_after_another(
    cluster: list[Node], kind: Kind
) -> None:
    """Which is where their leaders come to be; mirrors are a policy's business, which is there
    first and is about these queues alone."""
    limit = 3 if kind is Kind.QUORUM else None
    stream = Queues(kind, queues=4, durable=kind is not Kind.CLASSIC, delivery_limit=limit)
    others = () if kind is Kind.CLASSIC else NAMES
    listed = [queue(kind, number, NAMES[number % 3], others) for number in range(4)]
    for node in cluster:
        node.answers["queues/%2F"] = listed
        node.answers |= {f"queues/%2F/{each['name']}": each for each in listed}
    admin.prepare(_clients(cluster), stream, 5.0)
    declared = [{path: body for path, body in node.made.items() if "queues" in path}
                for node in cluster]  # fmt: skip
    assert [list(each) for each in declared] == [
        ["queues/%2F/chaos.0", "queues/%2F/chaos.3"], ["queues/%2F/chaos.1"],
        ["queues/%2F/chaos.2"],
    ]  # fmt: skip
    assert declared[1]["queues/%2F/chaos.1"] == {
        "durable": stream.durable, "arguments": stream.declared(1),
    }  # fmt: skip
    policies = {path: body for node in cluster for path, body in node.made.items()
                if "policies" in path}  # fmt: skip
    mirrors = {"pattern": r"^chaos\.", "apply-to": "queues", "definition": {"ha-mode": "all"}}
    assert policies == ({"policies/%2F/chaos": mirrors} if kind is Kind.MIRRORED else {})
    assert next(iter(cluster[0].made)).startswith("policies") is (kind is Kind.MIRRORED)


_BEHIND = {"behind": (THREE,)}


@pytest.mark.parametrize(("kind", "more", "up"), [
    (Kind.MIRRORED, _BEHIND, NAMES), (Kind.QUORUM, _BEHIND, NAMES), (Kind.STREAM, _BEHIND, NAMES),
    (Kind.MIRRORED, {"others": (TWO,)}, NAMES), (Kind.MIRRORED, {}, (TWO, THREE)),
    (Kind.QUORUM, {}, (TWO, THREE)), (Kind.CLASSIC, {"others": ()}, (TWO, THREE)),
])  # fmt: skip
@pytest.mark.parametrize("who", [0, 2])
def test_queues_are_not_prepared_before_all_copies_are_there_and_whole(
    cluster: list[Node], kind: Kind, more: dict[str, Any], up: tuple[str, ...], who: int
) -> None:
    """With a leader that runs, says every node, the first and the last one too."""
    others: Any = {"others": () if kind is Kind.CLASSIC else NAMES}
    for number, node in enumerate(cluster):
        late = number == who
        listed = queue(kind, 0, ONE, **{**others, **(more if late else {})})
        node.answers |= {"nodes": running(up if late else NAMES), "queues/%2F": [listed]}
        node.answers["queues/%2F/chaos.0"] = listed
    with pytest.raises(DeadlineExceeded, match="all members of chaos in sync"):
        admin.prepare(_clients(cluster), Queues(kind=kind, queues=1), AT_ONCE_S)


def test_queues_are_prepared_as_soon_as_all_copies_are_whole(cluster: list[Node]) -> None:
    """It is looked again until then, and not to the end of the time."""
    late, whole = (queue(Kind.MIRRORED, 0, ONE, NAMES, behind) for behind in ((THREE,), ()))
    found = iter([[], [late], [late]])
    for node in cluster:
        node.answers["queues/%2F"] = [whole]
    cluster[1].answers["queues/%2F"] = lambda: next(found, [whole])
    admin.prepare(_clients(cluster), Queues(kind=Kind.MIRRORED, queues=1), 60.0)
    assert next(found, None) is None
    assert cluster[2].asked == ["nodes?columns=name,running,partitions,mem_alarm,disk_free_alarm",
                                "queues/%2F?disable_stats=true"]  # fmt: skip


@pytest.mark.parametrize("listed", [True, False])
def test_a_queue_that_is_not_listed_or_that_nobody_leads_is_not_prepared(
    cluster: list[Node], listed: bool
) -> None:
    """However whole it is, and the others are."""
    led, other = queue(Kind.QUORUM, 0, ONE, NAMES), queue(Kind.QUORUM, 1, ONE, NAMES)
    del other["leader"], other["node"]
    for node in cluster:
        node.answers["queues/%2F"] = [led, other] if listed else [led]
    with pytest.raises(DeadlineExceeded, match="all members of chaos in sync"):
        admin.prepare(_clients(cluster), Queues(queues=2), AT_ONCE_S)


def test_reset_deletes_until_nothing_is_left(cluster: list[Node]) -> None:
    """Queues and policies; it is over when the cluster has none, not when it was told to delete."""
    first = cluster[0]
    first.answers["queues/%2F"] = [{"name": "chaos.0"}, {"name": "a b"}]
    first.answers["policies/%2F"] = [{"name": "chaos"}]
    with pytest.raises(DeadlineExceeded, match="an empty cluster"):
        admin.reset(_clients(cluster), AT_ONCE_S)
    deleted = {"queues/%2F/chaos.0", "queues/%2F/a%20b", "policies/%2F/chaos"}
    assert set(first.deleted) == deleted
    for what in ("queues/%2F", "policies/%2F"):
        left = iter([first.answers[what]])
        first.answers[what] = lambda left=left: next(left, [])
    admin.reset(_clients(cluster), 5.0)


def test_memory_alarms_are_told_by_the_first_node_that_answers(cluster: list[Node]) -> None:
    """Those of memory, and no others."""
    cluster[0].answers["nodes"] = 500
    cluster[1].answers["nodes"] = running(n2={"disk_free_alarm": True}, n3={"mem_alarm": True})
    assert admin.memory_alarms(_clients(cluster), 2) == [THREE]
    assert cluster[2].asked == []
