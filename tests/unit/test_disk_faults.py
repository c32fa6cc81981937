"""The faults of disks: what they refuse, what proves them, and what does not."""

from __future__ import annotations

from itertools import groupby
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.errors import FaultError
from chaos.plugin import shape
from chaos.spi import NodeState, Presence, Runtime, Volume, contested
from chaos_adapters.faults.disk_corrupt import Corrupt
from chaos_adapters.faults.disk_fill import Fill
from chaos_adapters.faults.disk_power_loss import PowerLoss
from chaos_adapters.faults.disk_readonly import ReadOnly
from chaos_adapters.faults.disk_slow_sync import SlowSync
from chaos_adapters.faults.disk_throttle import Throttle
from chaos_adapters.runtimes.docker import Docker
from tests.rig import FakeMesh, FakeRig, mesh, plain

FULL, PARTIAL, NONE = Presence.FULL, Presence.PARTIAL, Presence.NONE
ALL = [Corrupt, Fill, PowerLoss, ReadOnly, SlowSync, Throttle]


@pytest.fixture
def cluster() -> FakeMesh:
    return mesh()


def plan(fault: Any, cluster: Any) -> Any:
    return fault.plan(FakeRig(cluster), Random(1))


def on(cluster: FakeMesh, fault: Any) -> Any:
    """Planned and injected."""
    injection = plan(fault, cluster)
    fault.inject(cluster, injection)
    return injection


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("state", [NodeState.DEAD, NodeState.PAUSED])
def test_only_disks_of_nodes_that_run(cls: Any, state: NodeState, cluster: FakeMesh) -> None:
    """A dead node has nothing to slow, a frozen one shows no effect; and no node but those with a
    disk of their own."""
    cluster.nodes["fake-1"].now = state
    with pytest.raises(FaultError, match=f"it is {state} already"):
        plan(cls("fake-1"), cluster)
    with pytest.raises(FaultError, match="no disks of their own"):
        plan(cls("fake-1"), plain())


def test_a_read_only_disk_cannot_be_filled(cluster: FakeMesh) -> None:
    """Nothing would be taken, and ENOSPC never be told."""
    cluster.disks["fake-1"].error = "EROFS"
    with pytest.raises(FaultError, match="not as it was at first: EROFS"):
        plan(Fill("fake-1"), cluster)


@pytest.mark.parametrize("fault", [Throttle("fake-1"), SlowSync("fake-1")])
def test_one_disk_has_one_rate(fault: Any, cluster: FakeMesh) -> None:
    """Who heals first would take off both. At validation, too: their claims are the same."""
    cluster.disks["fake-1"].rates["read_bps"] = 1
    with pytest.raises(FaultError, match="has rates even now"):
        plan(fault, cluster)
    assert contested(Throttle.claims, SlowSync.claims)
    assert contested(PowerLoss.claims, "process")


def test_a_rate_that_nobody_would_feel_is_refused() -> None:
    """A broker writes into the page cache, which an old kernel cannot keep small for one disk; and
    operations a second are no rate of what is written there."""
    old, new = SimpleNamespace(keeps_page_cache_small=False), Docker()
    assert "Linux 6.2" in Throttle("one").runtime_problem(cast(Runtime, old))
    assert Throttle("one").runtime_problem(new) == ""
    reads = Throttle("one", write_bytes_per_s=None, reads_per_s=10)
    assert reads.runtime_problem(cast(Runtime, old)) == ""
    with pytest.raises(ValueError, match="write write_bytes_per_s, too"):
        Throttle("one", write_bytes_per_s=None, writes_per_s=10)


@pytest.mark.parametrize("fault", [Throttle("fake-1"), SlowSync("fake-1")])
def test_a_node_that_died_since_is_not_slowed(fault: Any, cluster: FakeMesh) -> None:
    """Its control group is gone, so a rate would stand nowhere."""
    injection = plan(fault, cluster)
    cluster.nodes["fake-1"].now = NodeState.DEAD
    with pytest.raises(FaultError, match="it is dead"):
        fault.inject(cluster, injection)


@pytest.mark.parametrize("state", [NodeState.DEAD, NodeState.PAUSED])
@pytest.mark.parametrize("fault", [Throttle("fake-1"), SlowSync("fake-1")])
def test_nothing_is_measured_of_a_node_that_does_not_run(
    fault: Any, state: NodeState, cluster: FakeMesh
) -> None:
    """Whoever joins the control group of a frozen broker freezes with it. So it is proved of
    neither, and gone when no rate is left."""
    injection = on(cluster, fault)
    cluster.nodes["fake-1"].now = state
    cluster.trouble.moments.clear()
    effect = fault.in_effect(cluster, injection)
    assert (effect.presence, set(effect.figures.values())) == (PARTIAL, {str(state)})
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE
    assert not any(moment.startswith("timing") for moment in cluster.trouble.moments)


def test_fsync_is_slow_and_writes_are_not(cluster: FakeMesh) -> None:
    """Else it is a slow disk, which is another fault."""
    fault = SlowSync("fake-1")
    injection = on(cluster, fault)
    assert fault.in_effect(cluster, injection).presence is FULL
    cluster.disks["fake-1"].writes_s = 0.5
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.disks["fake-1"].writes_s = 0.0
    cluster.nodes["fake-1"].now = NodeState.DEAD
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.nodes["fake-1"].now = NodeState.RUNNING
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE


def test_fsync_that_takes_long_anyway_proves_nothing(cluster: FakeMesh) -> None:
    """More than half of what is asked for."""
    disk = cluster.disks["fake-1"]
    fault = SlowSync("fake-1", takes=0.25)
    disk.sync = lambda: (0.13, 0.0)  # type: ignore[method-assign]
    with pytest.raises(FaultError, match=r"takes 0\.130 s even now"):
        plan(fault, cluster)


def test_a_power_loss_that_kept_everything_is_none(cluster: FakeMesh) -> None:
    """What was not forced to the disk has to be gone."""
    fault = PowerLoss("fake-1")
    injection = on(cluster, fault)
    assert fault.in_effect(cluster, injection).presence is FULL
    for lines in ({"durable": True, "volatile": True}, {"durable": False, "volatile": False}):
        cluster.disks["fake-1"].lines = lines
        assert fault.in_effect(cluster, injection).presence is PARTIAL
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE
    assert cluster.left_on == []


def test_nobody_flushes_while_the_power_is_being_cut(cluster: FakeMesh) -> None:
    """All stand still before the first packet is cut, and until no disk takes anything: what a
    broker acknowledged without flushing it would else be flushed before it is lost."""
    fault = PowerLoss("fake-1,fake-2")
    injection = plan(fault, cluster)
    del cluster.trouble.moments[:]
    fault.inject(cluster, injection)
    acts = [each.split()[1] for each in cluster.trouble.moments if each.startswith("before ")]
    assert [act for act, _ in groupby(acts)] == ["pause", "losing", "the", "kill"], acts


def test_a_power_loss_that_the_others_are_told_of_is_none(cluster: FakeMesh) -> None:
    """A machine without power closes no connection: every way has its packet rule, and none of the
    packets that would close one got through."""
    fault = PowerLoss("fake-1")
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["closings dropped"] == 3 * len(injection.data["ways"])
    cluster.packets.deaf = True
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.packets.deaf = False
    rules = cluster.packets.tables[injection.data["name"]]
    rules.popitem()
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.packets.tables.clear()
    assert fault.in_effect(cluster, injection).presence is PARTIAL


def test_a_disk_that_still_takes_writes_is_not_full(cluster: FakeMesh) -> None:
    """Whatever statvfs says."""
    fault = Fill("fake-1")
    injection = on(cluster, fault)
    assert fault.in_effect(cluster, injection).presence is FULL
    cluster.disks["fake-1"].free = 1 << 28
    assert fault.in_effect(cluster, injection).presence is PARTIAL


def test_what_the_size_of_the_disk_refutes_is_told_at_validation() -> None:
    """Little more than the disk holds is free at first; and a measurement writes, so one of a large
    rate would fill the disk and end the broker."""
    disk, other = Volume(1 << 30), Volume(16 << 30)
    for free, well in ((1 << 30, False), ((1 << 30) - (4 << 20), False), (900 << 20, True)):
        assert (Fill("one", free).disk_problem(disk) == "") is well
    (flaw,) = shape(Fill).build({"target": "one", "used": 0.05})
    assert flaw.what == "should be greater than or equal to 0.1, not 0.05"
    for rate, well in ((64 << 10, True), (85 << 20, True), (86 << 20, False)):
        assert (Throttle("one", rate).disk_problem(disk) == "") is well
        assert Throttle("one", rate).disk_problem(other) == ""
    assert "at most 89478485," in Throttle("one", 100 << 30).disk_problem(disk)
    assert Throttle("one", 89478485).disk_problem(disk) == ""
    assert Throttle("one", None, 100 << 30).disk_problem(disk) == ""


@pytest.mark.parametrize("files", ["/etc/*", "../../disks/*.img", "a/../../b", "a**b", "."])
def test_a_pattern_that_leads_out_of_the_disk_is_refused(files: str) -> None:
    """Images of all nodes are near; and what no file is found by, at validation."""
    with pytest.raises(ValueError, match="no pattern below the data directory"):
        Corrupt("one", files)
    assert Corrupt("one", "kafka/**/*-0/*.log").files


def test_bytes_that_are_the_same_afterwards_were_not_flipped(cluster: FakeMesh) -> None:
    """By the hashes of each file."""
    cluster.disks["fake-1"].deaf.add("corrupt")
    fault = Corrupt("fake-1")
    assert fault.in_effect(cluster, on(cluster, fault)).presence is PARTIAL
