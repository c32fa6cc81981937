"""`broker.reassign` and `broker.elect`: where replicas go, and what counts as done."""

from __future__ import annotations

import threading
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import DeadlineExceeded, FaultError
from chaos.spi import Injection, Presence
from chaos_adapters.faults.broker_elect import Elect
from chaos_adapters.faults.broker_reassign import Reassign, reassigned
from tests.rig import FakeBroker, FakeRig, plain

NODES = {f"n-{number}": "" for number in range(1, 6)}


# ------------------------------------------------------------------------------ where they go


def test_order_stays_and_the_load_is_shared() -> None:
    """Whoever replaces a preferred leader becomes one; the emptiest node goes first."""
    now = {"a": ["n-1", "n-2"], "b": ["n-2", "n-3"], "c": ["n-3", "n-1"]}
    nodes = dict.fromkeys(("n-1", "n-2", "n-3"), "")
    assert reassigned(now, ["n-2"], nodes) == {"a": ["n-1", "n-3"], "b": ["n-1", "n-3"]}


def test_a_free_rack_comes_before_an_empty_node() -> None:
    """Two copies in one rack are lost together."""
    racks = {"n-1": "x", "n-2": "y", "n-3": "x", "n-4": "y"}
    now = {"a": ["n-1", "n-2"], "b": ["n-4", "n-1"], "c": ["n-4", "n-1"]}
    assert reassigned(now, ["n-2"], racks) == {"a": ["n-1", "n-4"]}


def test_without_room_it_says_why() -> None:
    """Which partition, how many nodes are left, and what would help."""
    nodes = dict.fromkeys(("n-1", "n-2", "n-3"), "")
    with pytest.raises(FaultError, match="no room: a has 3 replicas, and only 2 nodes are left"):
        reassigned({"a": ["n-1", "n-2", "n-3"]}, ["n-2"], nodes)


@given(
    st.lists(st.permutations(sorted(NODES)).map(lambda nodes: nodes[:3]), max_size=12),
    st.sets(st.sampled_from(sorted(NODES)), min_size=1, max_size=2),
)
def test_nobody_who_leaves_stays_and_nobody_else_moves(
    places: list[list[str]], leaving: set[str]
) -> None:
    """As many replicas as before, all different, and only of partitions that have to move."""
    now = {f"s-{number}": nodes for number, nodes in enumerate(places)}
    wanted = reassigned(now, leaving, NODES)
    assert set(wanted) == {name for name, nodes in now.items() if leaving & set(nodes)}
    for name, nodes in wanted.items():
        assert len(set(nodes)) == len(nodes) == 3
        assert not leaving & set(nodes)
        for old, new in zip(now[name], nodes, strict=True):
            assert old == new or old in leaving


# --------------------------------------------------------------------------------- the faults


def planned(fault: Any, cluster: Any) -> Injection:
    injection = fault.plan(FakeRig(cluster), Random(1))
    assert isinstance(injection, Injection)
    return injection


def test_replicas_move_away_and_back() -> None:
    """Proved by what the cluster says of them, before, meanwhile and afterwards."""
    cluster, fault = plain(), Reassign("fake-2")
    injection = planned(fault, cluster)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    fault.inject(cluster, injection)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures == {"partitions": 1, "moved and in sync": 1, "replicas on the node": 0}
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    assert cluster.broker.places == FakeBroker.home
    fault.heal(cluster, injection)
    assert cluster.broker.acts == ["move", "move"], "what is where it was is not moved again"


@pytest.mark.parametrize("spoil", ["deaf", "behind"])
def test_a_move_that_is_not_done_in_time_is_an_error(spoil: str) -> None:
    """Accepted is not moved, and moved is not in sync."""
    cluster, fault = plain(), Reassign("fake-2", within=0.1)
    injection = planned(fault, cluster)
    cluster.broker.deaf = spoil == "deaf"
    cluster.broker.behind = {"fake-1", "fake-3"} if spoil == "behind" else set()
    with pytest.raises(DeadlineExceeded, match="the replicas of fake-2 to be moved"):
        fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is not Presence.FULL


def test_replicas_that_came_back_but_lag_are_not_healed_yet() -> None:
    """The node has to be alive and to have caught up."""
    cluster, fault = plain(), Reassign("fake-2")
    injection = planned(fault, cluster)
    fault.inject(cluster, injection)
    cluster.broker.behind = {"fake-2"}
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL


def test_what_somebody_else_moved_is_not_moved_again() -> None:
    """The undo would be wrong."""
    cluster, fault = plain(), Reassign("fake-2")
    injection = planned(fault, cluster)
    cluster.broker.places["s-1"] = ("fake-1", "fake-3")
    with pytest.raises(FaultError, match="somebody moved replicas of s-1 since the plan"):
        fault.inject(cluster, injection)
    assert cluster.broker.acts == []


def test_a_node_without_replicas_has_nothing_to_move() -> None:
    """Nothing would be proved."""
    cluster = plain()
    cluster.broker.places = {"s-0": ("fake-1",)}
    with pytest.raises(FaultError, match="fake-2 has no replica of the stream"):
        planned(Reassign("fake-2"), cluster)


def test_an_election_is_proved_by_who_leads() -> None:
    """Two of three had the wrong leader; nothing is left to heal."""
    cluster, fault = plain(), Elect()
    injection = planned(fault, cluster)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    fault.inject(cluster, injection)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures == {"partitions": 3, "led by the preferred replica": 3, "elected": 2}
    assert fault.residue(cluster, injection).presence is Presence.NONE


def test_an_election_waits_until_the_cluster_is_whole() -> None:
    """A replica that is still behind could not be elected: not in time, nobody is."""
    cluster = plain()
    cluster.lacks = ["partition 1 lacks fake-2", "partition 1 lacks fake-2"]
    injection = planned(Elect(), cluster)
    Elect().inject(cluster, injection)
    assert not cluster.lacks
    assert Elect().in_effect(cluster, injection).presence is Presence.FULL
    cluster.ended, cluster.lacks = threading.Event(), ["fake-2 does not run"] * 100
    with pytest.raises(DeadlineExceeded, match="fake-2 does not run"):
        Elect(whole_within=0.1).inject(cluster, injection)
    Elect(whole_within=0).inject(cluster, injection)


def test_a_preferred_replica_that_cannot_lead_spoils_it() -> None:
    """Told with the broker's own reason."""
    cluster, fault = plain(), Elect()
    cluster.broker.refused = {2: "its preferred replica is not in sync"}
    injection = planned(fault, cluster)
    with pytest.raises(FaultError, match="partition 2: its preferred replica is not in sync"):
        fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL


def test_an_election_of_nobody_is_no_effect() -> None:
    """All led already: it did nothing, so it proves nothing."""
    cluster, fault = plain(), Elect()
    cluster.broker.leaders = {0: "fake-1", 1: "fake-2", 2: "fake-3"}
    injection = planned(fault, cluster)
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE


def test_a_broker_that_cannot_is_told_before_anything_starts() -> None:
    """The experiment is refused with it."""
    unable: Any = object()
    able: Any = plain().broker
    for fault in (Reassign("fake-1"), Elect()):
        assert fault.broker_problem(unable)
        assert not fault.broker_problem(able)
