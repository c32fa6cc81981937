"""Divergence: exactly the positions at which replicas differ, or which were given twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.judge import judge
from chaos.spi import Finding, Outcome, Verdict
from chaos_verifiers.divergence import Divergence
from tests.histories import History, Piece, answer, at, figure, right

DIFFERING, LACKING, TWICE = "differing", "lacking", "acknowledged twice"
NODES = ("a", "b", "c")


def held(count: int = 6, size: int = 1, partitions: int = 1) -> History:
    """Three replicas of each partition hold the same `count` pieces of `size` messages each."""
    history = right(count * size * partitions, partitions=partitions)
    history.replicas = [
        Piece(node, piece * size, piece * size + size - 1, 1000 + piece, number)
        for node in NODES for number in range(partitions) for piece in range(count)
    ]  # fmt: skip
    end = count * size
    history.held = {node: dict.fromkeys(range(partitions), (0, end, end)) for node in NODES}
    history.more_events = [{
        "time_ns": at(0), "kind": "view", "leaders": {str(n): "a" for n in range(partitions)},
        "replicas": {str(number): list(NODES) for number in range(partitions)}, "in_sync": {},
    }]  # fmt: skip
    return history


def piece(history: History, node: str, offset: int, partition: int = 0) -> Piece:
    """What a node holds at a position."""
    return next(
        each for each in history.replicas
        if (each.node, each.offset, each.partition) == (node, offset, partition)
    )  # fmt: skip


def named(finding: Finding) -> set[tuple[str, int, int]]:
    """Kind, partition and offset of the anomalies."""
    return {(each.kind, each.partition, each.offset) for each in finding.anomalies}


def test_the_same_everywhere() -> None:
    """PASS, and how much was compared."""
    finding = answer(Divergence(), held(partitions=2))
    assert (finding.verdict, finding.anomalies) == (Verdict.PASS, ())
    assert [each.value for each in finding.figures] == [0, 0, 0, 0, 12]


def test_another_content_is_named() -> None:
    """One replica, one position."""
    history = held(size=4)
    piece(history, "b", 8).digest += 1
    finding = answer(Divergence(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {(DIFFERING, 0, 8)}
    assert answer(Divergence(max=1), history).verdict is Verdict.PASS


def test_pieces_of_other_lengths_differ() -> None:
    """The same digest does not make them the same."""
    history = held(size=4)
    piece(history, "c", 20).last = 22
    history.held = {node: {0: (0, 23, 23)} for node in NODES}
    assert named(answer(Divergence(), history)) == {(DIFFERING, 0, 20)}


@pytest.mark.parametrize("offset", [0, 2, 3])
def test_a_position_that_one_replica_lacks_is_named(offset: int) -> None:
    """At the beginning, too, and by the nodes that lack it."""
    history = held()
    history.replicas.remove(piece(history, "b", offset))
    finding = answer(Divergence(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {(LACKING, 0, offset)}
    assert finding.anomalies[0].note == f"b: nothing before {offset + 1}"


def test_what_all_replicas_lack_is_no_difference() -> None:
    """Positions may be passed over, if by all."""
    history = held()
    for node in NODES:
        history.replicas.remove(piece(history, node, 3))
    assert answer(Divergence(), history).verdict is Verdict.PASS


def test_only_what_all_replicas_still_have_is_compared() -> None:
    """Retention cut off the beginning of one log."""
    history = held()
    assert history.held
    history.held["b"] = {0: (3, 6, 6)}
    for offset in range(3):
        history.replicas.remove(piece(history, "b", offset))
        piece(history, "a", offset).digest = 7
    finding = answer(Divergence(), history)
    assert (finding.verdict, figure(finding, "compared")) == (Verdict.PASS, 3)


def test_two_messages_acknowledged_at_one_position() -> None:
    """By two leaders, or one of them was cut off: named by the position, apart from loss."""
    history = held()
    history.sends[4].offset = 2
    finding = answer(Divergence(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {(TWICE, 0, 2)}
    history.sends[4].outcome = Outcome.INDETERMINATE
    assert answer(Divergence(), history).verdict is Verdict.PASS


def test_what_was_not_read_is_unknown() -> None:
    """A replica that is behind, one that says nothing, and none at all."""
    for change in ({"b": {0: (0, 6, 4)}}, {"b": {}}):
        history = held()
        assert history.held is not None
        history.held |= change
        finding = answer(Divergence(), history)
        assert finding.verdict is Verdict.UNKNOWN
        assert finding.why.endswith("read to the end: b of partition 0.")
    history = right(6)
    history.held = {}
    assert answer(Divergence(), history).verdict is Verdict.UNKNOWN


def test_a_difference_counts_though_another_replica_was_not_read() -> None:
    """FAIL before UNKNOWN."""
    history = held()
    assert history.held
    history.held["c"] = {}
    piece(history, "b", 1).digest = 7
    assert answer(Divergence(), history).verdict is Verdict.FAIL


def test_a_broker_that_cannot_tell_is_not_blamed() -> None:
    """Acknowledgements are compared all the same."""
    assert answer(Divergence(), right(6)).verdict is Verdict.PASS
    history = right(6)
    history.sends[1].offset = 0
    assert answer(Divergence(), history).verdict is Verdict.FAIL


def parted(*nodes: str | None) -> History:
    """From 2 s to 8 s a and c name a as the leader, and b names itself; producers are connected to
    these nodes."""
    history = right(1000, producers=len(nodes))
    view = {"kind": "view", "leaders": {"0": "a"}}
    rivals = {"0": {"a": ["a", "c"], "b": ["b"]}}
    history.more_events = [
        {"time_ns": at(0), **view},
        {"time_ns": at(2), "since_ns": at(1.9), **view, "rivals": rivals},
        {"time_ns": at(8.1), "since_ns": at(8), **view},
        *(
            {"time_ns": at(0), "kind": "connection", "client": f"producer-{number}", "node": node}
            for number, node in enumerate(nodes)
        ),
    ]
    return history


def test_two_leaders_that_both_acknowledge_are_a_split_brain() -> None:
    """FAIL, with the partition, the times, and what each of them acknowledged."""
    finding = answer(Divergence(), parted("a", "b"))
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("acknowledged by two leaders", 0, -1)}
    assert figure(finding, "acknowledged by two leaders") == pytest.approx(1200, abs=20)
    assert figure(finding, "longest with two leaders") == pytest.approx(6)
    (row,) = finding.details
    assert (row["from_ns"], row["until_ns"]) == (at(2), at(8))
    assert answer(Divergence(max=2000), parted("a", "b")).verdict is Verdict.PASS


@pytest.mark.parametrize("nodes", [("a", "c"), ("a", None), ("b", "b")])
def test_a_leader_that_acknowledges_nothing_is_no_split_brain(nodes: tuple[str, ...]) -> None:
    """As one that cannot reach its majority, whoever still takes it for the leader."""
    finding = answer(Divergence(), parted(*nodes))
    assert (finding.verdict, finding.details) == (Verdict.PASS, ())


def test_a_client_that_changed_sides_counts_for_neither_at_that_time() -> None:
    """It says so up to a second late: what came in that second may be of either."""
    history = parted("a", "b")
    history.more_events.append(
        {"time_ns": at(2.5), "kind": "connection", "client": "producer-1", "node": "a"}
    )
    assert answer(Divergence(), history).verdict is Verdict.PASS


@given(
    node=st.sampled_from(NODES), offset=st.integers(0, 7), partition=st.integers(0, 1),
    deed=st.sampled_from([DIFFERING, LACKING]), rows=st.integers(1, 20),
)  # fmt: skip
def test_one_changed_piece_is_the_one_that_is_named(
    node: str, offset: int, partition: int, deed: str, rows: int
) -> None:
    """Whatever the replica, the position, and where batches end."""
    history = held(8, partitions=2)
    found = piece(history, node, offset, partition)
    if deed == DIFFERING:
        found.digest += 1
    else:
        history.replicas.remove(found)
        # What is missing at the very end was not read to the end.
    finding = answer(Divergence(), history, rows)
    assert named(finding) == {(deed, partition, offset)} or (deed, offset) == (LACKING, 7)


def test_evidence_shows_what_each_node_holds(tmp_path: Path) -> None:
    """And the messages that were acknowledged at a position, from the record."""
    history = held()
    piece(history, "b", 2).digest = 7
    piece(history, "b", 2).sequence = 9
    history.sends[4].offset = 3
    document = judge(history.write(tmp_path / "run"), {"divergence": Divergence()}, [])
    (answered,) = document.questions
    differing, twice = answered.evidence
    assert [(each.node, each.digest, each.sequence) for each in differing.held] == [
        ("a", 1002, -1), ("b", 7, 9), ("c", 1002, -1),
    ]  # fmt: skip
    assert (differing.partition, differing.offset) == (0, 2)
    assert twice.note == "acknowledged here: 3 of producer-0, 4 of producer-0"
    assert document.records["replicas"] == 18


def test_replicas_of_one_node_in_two_partitions() -> None:
    """Partitions may lie in turns in one record."""
    history = held(partitions=2)
    history.replicas.sort(key=lambda each: (each.node, each.offset, each.partition))
    assert answer(Divergence(), history, rows=3).verdict is Verdict.PASS
    history.replicas = [replace(each) for each in history.replicas]
    piece(history, "a", 5, 1).digest = 0
    assert named(answer(Divergence(), history, rows=3)) == {(DIFFERING, 1, 5)}
