"""`process.kill`, `process.stop` and `process.pause`: what they plan, prove, and put right."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from random import Random
from typing import Any

import pytest

from chaos.errors import DeadlineExceeded, FaultError
from chaos.spi import Injection, NodeState, Presence
from chaos.timing import Interrupted
from chaos_adapters.faults.process_kill import Kill
from chaos_adapters.faults.process_pause import Pause
from chaos_adapters.faults.process_stop import Stop
from tests.rig import FakeCluster, FakeRig, plain

FAULTS = [
    (Kill, NodeState.DEAD, "kill"),
    (partial(Stop, within=0), NodeState.DEAD, "stop"),
    (Pause, NodeState.PAUSED, "pause"),
]
ids = ["kill", "stop", "pause"]
each = pytest.mark.parametrize(("cls", "down", "act"), FAULTS, ids=ids)
BOTH = Injection(("fake-1", "fake-3"))


def inject(fault: Any, cluster: FakeCluster) -> None:
    """An orderly end that never comes is an error, the other acts return."""
    stopping = isinstance(fault, Stop)
    with pytest.raises(DeadlineExceeded) if stopping else nullcontext():
        fault.inject(cluster, BOTH)


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
    inject(fault, cluster)
    assert fault.in_effect(cluster, BOTH).presence is Presence.PARTIAL


@each
def test_no_effect_is_not_proved(cls: Any, down: NodeState, act: str) -> None:
    """The process is looked at, not the call that returned."""
    cluster = plain()
    for node in cluster.nodes.values():
        node.deaf.add(act)
    fault = cls("fake-1,fake-3")
    inject(fault, cluster)
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


class Tells:
    """A broker whose nodes say how they ended."""

    def ended_in_order(self, log: list[str]) -> bool:
        return log == ["bye"]


@pytest.mark.parametrize(
    ("last", "presence"), [("bye", Presence.FULL), ("out of memory", Presence.PARTIAL)]
)
def test_an_end_that_was_not_in_order_is_no_proof_of_a_stop(last: str, presence: Presence) -> None:
    """Dead is not enough where the broker's log tells more."""
    cluster: Any = plain()
    cluster.broker = Tells()
    fault = Stop("fake-1")
    injection = fault.plan(FakeRig(cluster), Random(1))
    cluster.nodes["fake-1"].log_tail = lambda lines: [last]
    fault.inject(cluster, injection)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is presence
    assert ("in order" in effect.figures["fake-1"]) is (presence is Presence.FULL)


def test_waiting_for_an_orderly_end_ends_with_the_run() -> None:
    """Ctrl-C does not wait for a broker that takes its time; SIGTERM is sent once."""
    cluster = plain()
    cluster.nodes["fake-1"].deaf.add("stop")
    cluster.ended.set()
    with pytest.raises(Interrupted, match="the orderly end of fake-1"):
        Stop("fake-1").inject(cluster, Injection(("fake-1",)))
    assert cluster.nodes["fake-1"].acts == ["stop"]
