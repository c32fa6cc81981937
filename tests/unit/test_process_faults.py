"""`process.kill` and `process.pause`: what they plan, prove, and put right."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from chaos.errors import FaultError
from chaos.spi import Injection, NodeState, Presence
from chaos_adapters.faults.process_kill import Kill
from chaos_adapters.faults.process_pause import Pause
from tests.rig import FakeCluster, FakeRig, plain

FAULTS = [(Kill, NodeState.DEAD, "kill"), (Pause, NodeState.PAUSED, "pause")]
ids = ["kill", "pause"]
each = pytest.mark.parametrize(("cls", "down", "act"), FAULTS, ids=ids)
BOTH = Injection(("fake-1", "fake-3"))


def states(cluster: FakeCluster) -> list[str]:
    return [str(node.now) for node in cluster.nodes.values()]


@each
def test_it_hits_all_of_its_targets_and_nobody_else(cls: Any, down: NodeState, act: str) -> None:
    """Planned, done, measured, healed."""
    cluster, fault = plain(), cls("fake-1,fake-3")
    injection = fault.plan(FakeRig(cluster), Random(1))
    assert injection == BOTH
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    fault.inject(cluster, injection)
    assert states(cluster) == [down, "running", down]
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures == {"fake-1": down, "fake-3": down}
    fault.heal(cluster, injection)
    assert states(cluster) == ["running"] * 3
    assert fault.in_effect(cluster, injection).presence is Presence.NONE


@each
@pytest.mark.parametrize("state", [NodeState.DEAD, NodeState.PAUSED])
def test_only_what_runs_can_be_hit(cls: Any, down: NodeState, act: str, state: NodeState) -> None:
    """Otherwise the effect would be somebody else's; it says which node and why."""
    cluster = plain()
    cluster.nodes["fake-3"].now = state
    with pytest.raises(FaultError, match=f"cannot {act} fake-3: it is {state} already"):
        cls("fake-1,fake-3").plan(FakeRig(cluster), Random(1))
    assert cluster.nodes["fake-1"].acts == []


@each
def test_half_an_effect_is_partial(cls: Any, down: NodeState, act: str) -> None:
    """One of two: neither proof nor absence."""
    cluster = plain()
    cluster.nodes["fake-3"].deaf.add(act)
    fault = cls("fake-1,fake-3")
    fault.inject(cluster, BOTH)
    assert fault.in_effect(cluster, BOTH).presence is Presence.PARTIAL


@each
def test_no_effect_is_not_proved(cls: Any, down: NodeState, act: str) -> None:
    """The process is looked at, not the call that returned."""
    cluster = plain()
    for node in cluster.nodes.values():
        node.deaf.add(act)
    fault = cls("fake-1,fake-3")
    fault.inject(cluster, BOTH)
    assert fault.in_effect(cluster, BOTH).presence is Presence.NONE


def test_a_frozen_node_is_not_a_dead_one_nor_the_other_way_round() -> None:
    """Each proves its own effect only."""
    cluster = plain()
    for node in cluster.nodes.values():
        node.now = NodeState.PAUSED
    assert Kill("").in_effect(cluster, BOTH).presence is Presence.NONE
    for node in cluster.nodes.values():
        node.now = NodeState.DEAD
    assert Pause("").in_effect(cluster, BOTH).presence is Presence.NONE


def test_heal_touches_only_its_own_nodes() -> None:
    """Another fault may hold the others."""
    cluster = plain()
    for node in cluster.nodes.values():
        node.now = NodeState.DEAD
    Kill("").heal(cluster, BOTH)
    assert states(cluster) == ["running", "dead", "running"]
    for node in cluster.nodes.values():
        node.now = NodeState.PAUSED
    Pause("").heal(cluster, BOTH)
    assert states(cluster) == ["running", "paused", "running"]
