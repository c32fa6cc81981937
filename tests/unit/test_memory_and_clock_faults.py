"""`memory.exhaust` and `clock.skew`: what they plan, prove, and put right."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import pytest

from chaos.errors import FaultError
from chaos.spi import NodeState, Presence, Skew
from chaos_adapters.brokers.kafka import Kafka
from chaos_adapters.brokers.rabbitmq import Rabbitmq
from chaos_adapters.faults import clock_skew
from chaos_adapters.faults.clock_skew import ClockSkew
from chaos_adapters.faults.memory_alarm import Alarm
from chaos_adapters.faults.memory_exhaust import Exhaust
from chaos_adapters.faults.memory_squeeze import Squeeze, Told
from chaos_adapters.runtimes.docker import Docker
from chaos_adapters.runtimes.local import Local
from tests.rig import FakeMesh, FakeRig, mesh, plain

FULL, PARTIAL, NONE = Presence.FULL, Presence.PARTIAL, Presence.NONE


@pytest.fixture
def cluster() -> FakeMesh:
    return mesh()


def test_a_kill_for_want_of_memory_is_told_by_the_kernels_counter(cluster: FakeMesh) -> None:
    """Whoever dies of something else proves nothing; after the heal it runs without a limit."""
    fault = Exhaust("fake-2")
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert "kills for want of memory 0 -> 1" in effect.figures["fake-2"]
    injection.data["killed"]["fake-2"][1] = 0
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    fault.heal(cluster, injection)
    assert cluster.left_on == []
    assert fault.in_effect(cluster, injection).presence is NONE


def test_a_kernel_that_kills_nobody_is_an_error_and_healed(cluster: FakeMesh) -> None:
    """The limit that is left behind is taken off."""
    cluster.memories.tough = True
    fault = Exhaust("fake-2")
    injection = fault.plan(FakeRig(cluster), Random(1))
    with pytest.raises(FaultError, match="killed nobody in fake-2"):
        fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    fault.heal(cluster, injection)
    assert cluster.left_on == []


def test_a_limit_of_somebody_else_is_left_alone(cluster: FakeMesh) -> None:
    """The heal would take it off; a node that does not run has nothing to use up."""
    cluster.memories.limits["fake-2"] = 500_000_000
    with pytest.raises(FaultError, match="only 500 MB of memory even now"):
        Exhaust("fake-2").plan(FakeRig(cluster), Random(1))
    cluster.nodes["fake-1"].now = NodeState.PAUSED
    with pytest.raises(FaultError, match="it is paused"):
        Exhaust("fake-1").plan(FakeRig(cluster), Random(1))
    with pytest.raises(FaultError, match="no hold of its nodes' memory"):
        Exhaust("fake-1").plan(FakeRig(plain()), Random(1))


def test_plain_processes_have_no_memory_of_their_own() -> None:
    """Told at validation."""
    assert "--runtime docker" in Exhaust("one").runtime_problem(Local())
    assert Exhaust("one").runtime_problem(Docker()) == ""


def test_a_heap_is_squeezed_by_a_restart_and_told_by_its_collections(cluster: FakeMesh) -> None:
    """One with memory enough, or of another size, proves nothing."""
    fault = Squeeze("fake-2", 64 << 20)
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    node = cluster.nodes["fake-2"]
    assert node.acts == ["stop", "start"]
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["fake-2"] == (
        "18% of the time in collections, up to 900 ms, in a heap of 64 MiB"
    )
    node.heap = "512"
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE
    assert cluster.left_on == []
    fault.heal(cluster, injection)
    assert node.acts.count("kill") == 1


def test_what_a_java_machine_says_of_its_heap() -> None:
    """Of late, and since its last start; the longest collection is a full one here."""
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)

    def said(second: int, number: int, what: str, ms: float) -> str:
        return f"[2026-11-28T11:59:{second}.000+0000] GC({number}) Pause {what}(72M) {ms:.3f}ms"

    lines = [
        "Exception in thread: java.lang.OutOfMemoryError: Java heap space",
        said(50, 0, "Young (Allocation Failure) 20M->9M", 4000.0),
        "a line of the broker's",
        said(57, 7, "Young (Allocation Failure) 71M->70M", 100.0),
        said(58, 8, "Full (Allocation Failure) 71M->70M", 400.0),
    ]
    before = now.timestamp() - 20
    told = Told.of(lines, before, now.timestamp())
    assert (told.heap_mib, told.share, told.longest_ms, told.out_of_memory) == (72, 0.1, 400, False)
    assert Told.of([*lines, lines[0]], before, now.timestamp()).out_of_memory
    assert Told.of([*lines, lines[0]], now.timestamp(), now.timestamp()) == Told()
    assert Told.of(lines, before, now.timestamp() + 60).share == 0
    assert Told.of([], before, now.timestamp()) == Told()


def test_a_heap_of_somebody_else_or_of_none_is_left_alone(cluster: FakeMesh) -> None:
    """Heal would take his options away; what is no Java program is refused at validation."""
    cluster.nodes["fake-1"].options = ("-Xmx9m",)
    with pytest.raises(FaultError, match="options of its own even now: -Xmx9m"):
        Squeeze("fake-1", 64 << 20).plan(FakeRig(cluster), Random(1))
    assert "Java program" in Squeeze("one", 64 << 20).broker_problem(Rabbitmq())
    assert Squeeze("one", 64 << 20).broker_problem(Kafka()) == ""
    with pytest.raises(ValueError, match="at least 2MiB"):
        Squeeze("one", 64)


def test_an_alarm_is_told_by_the_cluster_and_its_limit_comes_back(cluster: FakeMesh) -> None:
    """Not one more than the targets; whoever died meanwhile has its own limit anyway."""
    fault = Alarm("fake-1,fake-2")
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is FULL
    cluster.broker.watermarks["fake-2"] = "0.4"
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.nodes["fake-2"].now = NodeState.DEAD
    cluster.broker.acts.clear()
    fault.heal(cluster, injection)
    assert cluster.broker.acts == ["limit memory"]
    assert cluster.broker.watermarks["fake-1"] == "0.4"
    assert fault.in_effect(cluster, injection).presence is NONE


def test_an_alarm_that_is_on_already_is_left_alone(cluster: FakeMesh) -> None:
    """Nothing would be seen of ours, and the heal would not be one."""
    cluster.broker.watermarks["fake-2"] = ""
    with pytest.raises(FaultError, match="fake-2 has an alarm even now"):
        Alarm("fake-2").plan(FakeRig(cluster), Random(1))


def test_only_some_brokers_have_such_an_alarm() -> None:
    """Told at validation."""
    assert Alarm("one").broker_problem(Rabbitmq()) == ""
    assert "no alarm for memory" in Alarm("one").broker_problem(Kafka())


def test_a_clock_is_measured_and_set_right(cluster: FakeMesh) -> None:
    """It is off by what was asked for, and by nothing after the heal."""
    fault = ClockSkew("fake-1,fake-3", -3600.0)
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["fake-3"] == "-3600.000 s, asked for -3600.000 s"
    cluster.clocks.skews["fake-3"] = Skew(-3590.0)
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE


def test_a_clock_that_cannot_be_set_proves_nothing(cluster: FakeMesh) -> None:
    """Whatever the act returned."""
    cluster.clocks.deaf = True
    fault = ClockSkew("fake-1", 5.0)
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is NONE


@pytest.mark.parametrize("drift", [0.05, -0.5, 9.0])
def test_a_drift_is_proved_once_it_made_a_difference(
    drift: float, cluster: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that jumped by what was asked for and stays there does not drift, and one that drifts
    the other way is none either."""
    now = [100.0]
    cluster.clocks.now = lambda: now[0]
    monkeypatch.setattr(clock_skew, "time", SimpleNamespace(monotonic=lambda: now[0]))
    fault = ClockSkew("fake-1", 60.0, drift)
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    now[0] += 0.3 / abs(drift)
    assert fault.in_effect(cluster, injection).presence is FULL
    cluster.clocks.steady = True
    assert fault.in_effect(cluster, injection).presence is PARTIAL
    cluster.clocks.steady, cluster.clocks.skews["fake-1"] = False, Skew(60.0, -drift)
    assert fault.in_effect(cluster, injection).presence is PARTIAL


def test_a_clock_that_is_wrong_already_or_nobodys_own_is_refused(cluster: FakeMesh) -> None:
    """Its heal would set it right; a skew too small to be told from none, too."""
    cluster.clocks.skews["fake-1"] = Skew(2.0)
    with pytest.raises(FaultError, match=r"off by 2\.000 s even now"):
        ClockSkew("fake-1", 60.0).plan(FakeRig(cluster), Random(1))
    with pytest.raises(FaultError, match="clock: own"):
        ClockSkew("fake-1", 60.0).plan(FakeRig(plain()), Random(1))
    with pytest.raises(ValueError, match="at least 1"):
        ClockSkew("fake-1", 0.2)
    with pytest.raises(ValueError, match=r"drift at least 0\.05"):
        ClockSkew("fake-1", 0.0, 0.04)
