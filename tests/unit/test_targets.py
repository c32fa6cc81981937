"""Targets: what may be written, and which nodes it means."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import fake_plugins
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import FaultError
from chaos.spi import Member, View
from chaos.targets import TargetExpr, parse_target, resolve, target_problem

NODES = ("fake-1", "fake-2", "fake-3")
VIEW = View("fake-2", {0: "fake-3", 1: None}, {0: ("fake-3", "fake-2", "fake-1")})
ROLES = fake_plugins.Broker.roles
MEMBERS = fake_plugins.Broker().members()
MIXED = [
    *(Member(f"b-{n}", frozenset({"broker"}), (), rack) for n, rack in enumerate("xyzx", 1)),
    *(Member(f"c-{n}", frozenset({"controller"}), (), rack) for n, rack in enumerate("xyz", 1)),
]


class Mixed(fake_plugins.Broker):
    """Four brokers and three controllers in three racks."""

    def members(self) -> Sequence[Member]:
        return MIXED


def resolved(
    text: str, view: View = VIEW, nodes: Sequence[str] = NODES, seed: int = 1
) -> tuple[str, ...]:
    return resolve(parse_target(text), fake_plugins.Broker(), view, nodes, Random(seed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("leader(0)", TargetExpr("leader", 0)),
        (" followers ( 12 ) ", TargetExpr("followers", 12)),
        ("controller", TargetExpr("controller")),
        ("kafka-2", TargetExpr("kafka-2")),
        ("broker.example.org", TargetExpr("broker.example.org")),
        ("rack(eu-1a)", TargetExpr("rack", of="eu-1a")),
        ("minority( controller )", TargetExpr("minority", of="controller")),
    ],
)
def test_grammar(text: str, expr: TargetExpr) -> None:
    """What is written is read, and reads the same when written again."""
    assert parse_target(text) == expr
    assert parse_target(str(expr)) == expr


@pytest.mark.parametrize("text", ["", "leader()", "leader(-1)", "leader(0", "a b", "leader(1)x"])
def test_anything_else_is_no_target(text: str) -> None:
    """The message shows the text and an example."""
    with pytest.raises(ValueError, match="is no target, such as leader"):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("leader(2)", ""),
        ("controller", ""),
        ("one", ""),
        ("minority", ""),
        ("fake-3", ""),
        ("leader", "leader needs a partition: write leader(0)"),
        ("leader(3)", "there is no partition 3: the last one is 2"),
        ("controller(0)", "controller takes no partition: write controller"),
        ("controller(x)", "controller takes no partition: write controller"),
        ("leader(x)", "leader needs a partition: write leader(0)"),
        ("one(0)", 'unknown kind of node "0" (kinds: broker)'),
        ("all(brokers)", 'unknown kind of node "brokers"; did you mean "broker"? (kinds: broker)'),
        ("rack(a)", "no node stands in a rack: set cluster.racks"),
        ("fake-1(0)", "fake-1 takes no partition: write fake-1"),
        (
            "fake-4",
            (
                'unknown target "fake-4"; did you mean "fake-3"? (targets: all, controller, '
                "fake-1, fake-2, fake-3, follower(p), followers(p), leader(p), majority, "
                "minority, one)"
            ),
        ),
        ("", '"" is no target, such as leader(0), controller or one'),
    ],
)
def test_what_a_cluster_does_not_have_is_known_before_it_starts(text: str, problem: str) -> None:
    """Every impossible target has a message that says what would be right."""
    assert target_problem(text, ROLES, MEMBERS, 3) == problem


@pytest.mark.parametrize(
    ("text", "known"), [("leader(99)", True), ("kafka-9", True), ("leadr(0)", False)]
)
def test_without_a_topology_only_what_is_sure_is_refused(text: str, known: bool) -> None:
    """While nodes and partitions are not known, a name may be a node's and any number may do."""
    assert (target_problem(text, ROLES, None, None) == "") is known


def test_a_minority_of_two_is_none() -> None:
    """A word that would take no node at all is refused."""
    assert target_problem("minority", ROLES, MEMBERS[:2], 3) == (
        "the minority of 2 nodes is none of them"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("all", ""),
        ("all(broker)", ""),
        ("minority(controller)", ""),
        ("rack(x)", ""),
        ("minority", "the nodes are not all alike: write minority(broker) or minority(controller)"),
        ("one", "the nodes are not all alike: write one(broker) or one(controller)"),
        ("rack", "rack needs a name: write rack(x)"),
        ("rack(xx)", 'unknown rack "xx"; did you mean "x"? (racks: x, y, z)'),
        ("rack(0)", 'unknown rack "0" (racks: x, y, z)'),
    ],
)
def test_racks_and_kinds_are_checked_before_the_start(text: str, problem: str) -> None:
    """What counts votes or copies needs nodes that are alike."""
    assert target_problem(text, ROLES, MIXED, 3) == problem


@pytest.mark.parametrize(
    ("text", "nodes", "count"),
    [
        ("rack(x)", {"b-1", "b-4", "c-1"}, 3),
        ("all(controller)", {"c-1", "c-2", "c-3"}, 3),
        ("minority(controller)", {"c-1", "c-2", "c-3"}, 1),
        ("majority(broker)", {"b-1", "b-2", "b-3", "b-4"}, 3),
        ("one(broker)", {"b-1", "b-2", "b-3", "b-4"}, 1),
    ],
)
def test_racks_and_kinds_mean_their_nodes(text: str, nodes: set[str], count: int) -> None:
    """A rack is all of its nodes, whatever they are; a word counts within its kind."""
    for seed in range(10):
        names = [member.name for member in MIXED]
        found = resolve(parse_target(text), Mixed(), VIEW, names, Random(seed))  # type: ignore[arg-type]
        assert set(found) <= nodes
        assert len(found) == count


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("leader(0)", ("fake-3",)),
        ("followers(0)", ("fake-1", "fake-2")),
        ("controller", ("fake-2",)),
        ("all", NODES),
        ("fake-1", ("fake-1",)),
    ],
)
def test_roles_and_names_mean_their_nodes(text: str, nodes: tuple[str, ...]) -> None:
    """What leaves nothing open is resolved exactly, in the cluster's order."""
    assert resolved(text) == nodes


def test_a_singular_means_one_of_them_drawn_by_the_seed() -> None:
    """`follower(0)` is one of `followers(0)`: the same for one seed, each of them for some seed."""
    drawn = [resolved("follower(0)", seed=seed) for seed in range(20)]
    assert set(drawn) == {("fake-1",), ("fake-2",)}
    assert drawn == [resolved("follower(0)", seed=seed) for seed in range(20)]


@given(count=st.integers(1, 9), seed=st.integers())
def test_minority_and_majority_are_next_to_a_half(count: int, seed: int) -> None:
    """One less than a minority's complement would be a half; a majority is the smallest above."""
    nodes = [f"n{number}" for number in range(count)]
    majority = resolved("majority", nodes=nodes, seed=seed)
    assert len(majority) > count / 2 >= len(majority) - 1
    if count > 2:
        minority = resolved("minority", nodes=nodes, seed=seed)
        assert len(minority) < count / 2 <= len(minority) + 1
        assert set(minority) < set(nodes)
    assert len(resolved("one", nodes=nodes, seed=seed)) == 1


@pytest.mark.parametrize(
    ("text", "view", "message"),
    [
        (
            "leader(1)",
            VIEW,
            r"no node is leader\(1\) now: partition 1 has leader none and replicas unknown",
        ),
        ("controller", View(), "no node is controller now: the controller is unknown"),
    ],
)
def test_nobody_there_is_a_fault_error(text: str, view: View, message: str) -> None:
    """It says what was looked for and what there was."""
    with pytest.raises(FaultError, match=message):
        resolved(text, view)
