"""`process.restart`: one after the other, and never one while another is still away."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from chaos.errors import DeadlineExceeded, FaultError
from chaos.spi import Injection, NodeState, Presence
from chaos.timing import Interrupted
from chaos_adapters.faults.process_restart import Restart
from tests.rig import NAMES, FakeCluster, FakeRig, nodes_of, plain


@dataclass
class Slow(FakeCluster):
    """It takes so many looks until it is whole after a node was started."""

    looks: int = 3
    left: int = 0
    turns: list[str] = field(default_factory=list)

    def missing(self) -> str:
        down = super().missing()
        started = sum(node.acts.count("start") for node in self.nodes.values())
        if started > len(self.turns):
            last = next(n.name for n in self.nodes.values() if len(n.acts) > self._seen(n.name))
            self.turns.append(last)
            self.left = self.looks
        self.left -= 1
        assert not down or self.left >= 0, f"{down} is away while the cluster counts as whole"
        return "partition 0 lacks somebody" if self.left >= 0 else down

    def _seen(self, name: str) -> int:
        return 2 * self.turns.count(name)


def slow() -> Slow:
    cluster = plain()
    return Slow(nodes_of(cluster.trouble), cluster.trouble, ended=threading.Event())


def planned(fault: Restart, cluster: FakeCluster) -> Injection:
    return fault.plan(FakeRig(cluster), Random(1))


ALL = ",".join(NAMES)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_each_is_restarted_once_when_the_cluster_is_whole(how: Any) -> None:
    """In its turn; then it is proved, with what was measured of each, and nothing is left of it."""
    cluster, fault = slow(), Restart(ALL, how)
    injection = planned(fault, cluster)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    fault.inject(cluster, injection)
    assert cluster.turns == list(NAMES)
    assert [node.acts for node in cluster.nodes.values()] == [[how, "start"]] * 3
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is Presence.FULL
    assert all("whole after" in effect.figures[name] for name in NAMES)
    fault.heal(cluster, injection)
    assert fault.residue(cluster, injection).presence is Presence.NONE


def test_the_next_one_has_to_wait_until_the_cluster_is_whole() -> None:
    """One that never is: the error says what is missing, and two nodes were never touched."""
    cluster, fault = slow(), Restart(ALL, whole_within=0.2)
    cluster.looks = 1000
    injection = planned(fault, cluster)
    with pytest.raises(DeadlineExceeded, match=r"whole after fake-1.*partition 0 lacks somebody"):
        fault.inject(cluster, injection)
    assert [len(node.acts) for node in cluster.nodes.values()] == [2, 0, 0]
    assert fault.in_effect(cluster, injection).presence is Presence.NONE


def test_nobody_is_touched_while_somebody_else_is_down() -> None:
    """Another fault may hold a node; a second one away could cost the quorum."""
    cluster, fault = plain(), Restart(ALL, whole_within=0.2)
    injection = planned(fault, cluster)
    cluster.nodes["fake-3"].now = NodeState.PAUSED
    with pytest.raises(DeadlineExceeded, match=r"whole before the restart.*fake-3"):
        fault.inject(cluster, injection)
    assert not any(node.acts for node in cluster.nodes.values())


def test_a_node_that_does_not_end_was_not_restarted() -> None:
    """The process is looked at, not the call that returned."""
    cluster, fault = plain(), Restart(ALL, "kill")
    cluster.nodes["fake-1"].deaf.add("kill")
    injection = planned(fault, cluster)
    with pytest.raises(FaultError, match="fake-1 did not end"):
        fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE


def test_only_a_part_is_no_proof() -> None:
    """The second one fails: partial, and what is left is started."""
    cluster, fault = plain(), Restart(ALL, "kill")
    cluster.nodes["fake-2"].deaf.add("start")
    injection = planned(fault, cluster)
    fault = Restart(ALL, "kill", whole_within=0.1)
    with pytest.raises(DeadlineExceeded):
        fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL
    assert fault.residue(cluster, injection).presence is Presence.PARTIAL
    cluster.nodes["fake-2"].deaf.clear()
    fault.heal(cluster, Injection(injection.nodes, {"order": list(NAMES)}))
    assert fault.residue(cluster, injection).presence is Presence.NONE


@pytest.mark.parametrize("where", ["between two", "until it is whole"])
def test_the_end_of_the_run_ends_it(where: str) -> None:
    """Ctrl-C while it waits: at once, and no further node is touched."""
    cluster: FakeCluster = plain() if where == "between two" else slow()
    cluster.ended = threading.Event()
    if isinstance(cluster, Slow):
        cluster.looks = 10_000
    fault = Restart(ALL, pause=60.0)
    injection = planned(fault, cluster)
    threading.Timer(0.1, cluster.ended.set).start()
    with pytest.raises(Interrupted):
        fault.inject(cluster, injection)
    assert [len(node.acts) for node in cluster.nodes.values()] == [2, 0, 0]


def test_the_order_is_what_was_asked_for() -> None:
    """And the random one is the same for the same seed."""
    orders = {
        order: planned(Restart(ALL, order=order), plain()).data["order"]  # type: ignore[arg-type]
        for order in ("names", "reversed", "random")
    }
    assert orders["names"] == list(NAMES)
    assert orders["reversed"] == list(reversed(NAMES))
    assert sorted(orders["random"]) == list(NAMES)
    assert orders["random"] == planned(Restart(ALL, order="random"), plain()).data["order"]


def test_the_controller_may_come_last() -> None:
    """Each earlier restart of it would be one more election."""

    @dataclass
    class Rig(FakeRig):
        def resolve(self, target: str) -> tuple[str, ...]:
            return ("fake-1",) if target == "controller" else super().resolve(target)

    injection = Restart(ALL, order="controller-last").plan(Rig(plain()), Random(1))
    assert injection.data["order"] == ["fake-2", "fake-3", "fake-1"]
