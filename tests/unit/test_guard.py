"""The life of a fault: whatever goes wrong and whenever, nothing is left on that is not on record,
and nothing is left on at all in the end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from chaos import guard as guard_module
from chaos.errors import ClusterError, DeadlineExceeded, FaultError, HealError
from chaos.guard import Guard, Stage
from chaos.heal import heal_cluster
from chaos.history.events import EventLog
from chaos.registry import load, names
from chaos.spi import Cluster, Effect, Injection, Json, Momentary, NodeState, Presence, Rig
from chaos.timing import Interrupted, now_ns, wait_until
from chaos.undo import Entry, UndoLog
from chaos_adapters.faults import broker_reassign, links, process
from tests.rig import FakeMesh, FakeRig, Trouble, aimed, mesh
from tests.walk import Recorded, Serial, Walk


class Hurried:
    """`threading` as the guard sees it: nothing is ever waited for."""

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()


def look_once(look: Callable[[], Any], what: str, timeout_s: float, **_: Any) -> Any:
    """`wait_until` that never waits."""
    return wait_until(look, what, 0)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops of the guard and of the faults give up at once, and pause for nothing."""
    for module in (process, broker_reassign):
        monkeypatch.setattr(module, "wait_until", look_once)
    monkeypatch.setattr(guard_module, "threading", Hurried)
    monkeypatch.setattr(guard_module, "PROVE_WITHIN_S", 0.0)
    monkeypatch.setattr(guard_module, "HEAL_WITHIN_S", 0.0)


SEED = int(os.environ.get("WALK_SEED", "1"))
"""Another one walks another way; a walk that fails tells its own."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk is waited for, no thread is started: a power loss is not walked through, and what
    happens at once happens in some order."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for name, module in list(sys.modules.items()):
        if name.startswith("chaos_adapters.faults") and hasattr(module, "ThreadPoolExecutor"):
            monkeypatch.setattr(module, "ThreadPoolExecutor", Serial)
    monkeypatch.setattr(links, "_pool", Serial)


@pytest.mark.timeout(900)  # on a machine that is busy with real brokers
def test_nothing_is_left_on_after_a_random_walk(tmp_path: Path, quick: None) -> None:
    """10,000 steps with every registered fault: at every moment what is on is in the undo
    log, and after each crash, and in the end, there is no dead node, no frozen node, no toxic, no
    packet rule, no limit, no disk that is not as it was, no order that a client still obeys and
    nothing to undo."""
    walk = Walk(tmp_path, SEED, Recorded(mesh))
    walk.walk(10_000)
    for name in names("faults"):
        assert walk.done[f"{name} proved"] >= 1, walk.done
        assert walk.done[f"{name} unproved"] >= 1, walk.done
    for what in (
        "healed", "heal failed", "heal after crash failed", "crashed", "killed", "died", "looked",
    ):  # fmt: skip
        assert walk.done[what] >= 5, walk.done


@pytest.mark.parametrize("broken", names("faults"))
def test_the_walk_finds_a_heal_that_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, broken: str
) -> None:
    """Of any fault that has something to heal, and although the fault then says that it is gone;
    the failure tells the seed and the steps."""
    cls = load("faults", broken)
    if cls.claims == "leaders":
        pytest.skip("this one leaves nothing behind")
    gone = Effect(Presence.NONE)
    measure = "residue" if issubclass(cls, Momentary) else "in_effect"
    monkeypatch.setattr(cls, "heal", lambda *_: None)
    # A node that is dead is started again whoever heals, unless it is said to be held.
    monkeypatch.setattr(guard_module, "_restart", lambda *_: None)
    original = getattr(cls, measure)
    healing = {"on": False}

    def measured(fault: object, cluster: object, injection: Injection) -> Effect:
        return gone if healing["on"] else original(fault, cluster, injection)

    try_heal = guard_module.try_heal

    def trying(cluster: Any, entry: Entry, *rest: Any) -> Effect:
        healing["on"] = entry.fault == broken
        try:
            return try_heal(cluster, entry, *rest)
        finally:
            healing["on"] = False

    monkeypatch.setattr(cls, measure, measured)
    monkeypatch.setattr(guard_module, "try_heal", trying)
    walk = Walk(tmp_path, SEED, Recorded(mesh))
    walk.classes = {broken: cls}
    with pytest.raises(AssertionError, match=rf"seed {SEED}, step \d+"):
        walk.walk(500)


# ----------------------------------------------------------------------------------- one by one


@dataclass
class Scripted:
    """A fault whose measurements are written beforehand; the last one stays."""

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    effects: list[Presence | Exception] = field(default_factory=list)
    on_inject: Exception | None = None
    on_heal: list[Exception] = field(default_factory=list)
    healed_ns: list[int] = field(default_factory=list)

    @property
    def heals(self) -> int:
        return len(self.healed_ns)

    def plan(self, rig: Rig, random: Random) -> Injection:
        return Injection(("fake-1",))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        if self.on_inject:
            raise self.on_inject

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        effect = self.effects.pop(0) if len(self.effects) > 1 else self.effects[0]
        if isinstance(effect, Exception):
            raise effect
        return Effect(effect, {"bites": 1})

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        self.healed_ns.append(now_ns())
        if self.on_heal:
            raise self.on_heal.pop(0)


@dataclass
class Moment(Scripted):
    """One that is over when it is injected; `lefts` is what is measured of it afterwards."""

    lefts: list[Presence] = field(default_factory=list)

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        return Effect(self.lefts.pop(0), {"down": 1})


@dataclass
class Told:
    """A guard around a scripted fault, and all that it told."""

    directory: Path
    fault: Scripted
    cluster: FakeMesh = field(default_factory=mesh)
    stop: threading.Event = field(default_factory=threading.Event)
    events: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        log = EventLog(self.directory / "events")
        log.listen(self.events.append)
        self.undo = UndoLog(self.directory / "undo")
        self.guard = Guard("1-x", "x", {}, self.fault, log, self.undo)
        self.guard.plan(FakeRig(self.cluster), Random(1))

    @property
    def whats(self) -> list[str]:
        return [event["what"] for event in self.events]


def test_a_whole_life_is_told_step_by_step(tmp_path: Path) -> None:
    """Planned, attempted, injected, measured on, healed, measured gone."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.FULL, Presence.NONE]))
    assert told.guard.inject(told.cluster, told.stop)
    told.guard.look_again(told.cluster)
    told.guard.heal(told.cluster, ())
    assert told.whats == ["planned", "attempt", "injected", "effect", "heal", "gone"]
    assert told.events[3]["figures"] == {"bites": 1}
    heal, gone = told.events[4:]
    assert heal["time_ns"] < gone["undone_ns"] < gone["time_ns"]
    assert told.guard.stage is Stage.GONE
    assert told.undo.pending() == []


def test_a_moment_is_proved_once_and_healed_until_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done stays done, so no second look takes the proof back; its residue is what has to
    go, on its own way and on the reaper's."""
    monkeypatch.setattr(guard_module, "HEAL_WITHIN_S", 60.0)
    moment = Moment([Presence.FULL, Presence.NONE], lefts=[Presence.PARTIAL, Presence.NONE])
    told = Told(tmp_path, moment)
    assert told.guard.inject(told.cluster, told.stop)
    told.guard.look_again(told.cluster)
    assert told.guard.stage is Stage.PROVED
    told.guard.heal(told.cluster, ())
    assert told.whats == ["planned", "attempt", "injected", "effect", "heal", "gone"]
    assert moment.heals == 2
    assert told.events[-1]["undone_ns"] < moment.healed_ns[1], "the first try had undone it"
    assert told.events[-1]["figures"] == {"down": 1}


@pytest.mark.parametrize("name", names("faults"))
def test_brokers_are_not_excused_by_a_heal_that_waits_for_them(
    name: str, tmp_path: Path, quick: None
) -> None:
    """A client that takes another's place is there when brokers let it in, and replicas move back
    when they take the order."""
    told = Told(tmp_path, aimed(load("faults", name), "fake-1", "fake-2"))
    told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    assert told.whats[-1] == "gone", told.events[-1]
    by_brokers = name in ("broker.reassign", "client.crash")
    assert (told.events[-1]["undone_ns"] is None) is by_brokers


def test_a_moment_that_leaves_something_is_not_healed(tmp_path: Path) -> None:
    """However well it was proved."""
    told = Told(tmp_path, Moment([Presence.FULL], lefts=[Presence.PARTIAL]))
    assert told.guard.inject(told.cluster, told.stop)
    with pytest.raises(HealError, match="still partial"):
        told.guard.heal(told.cluster, ())
    assert [entry.undo for entry in told.undo.pending()] == ["1-x"]


def test_an_injection_that_the_end_of_the_run_cuts_short_is_no_proof(tmp_path: Path) -> None:
    """A restart of all nodes may be half-way; it is on record and healed like any other."""
    told = Told(tmp_path, Moment([Presence.PARTIAL], lefts=[Presence.NONE]))
    told.fault.on_inject = Interrupted("the turn of fake-2")
    assert not told.guard.inject(told.cluster, told.stop)
    assert told.guard.stage is Stage.UNPROVED
    told.guard.heal(told.cluster, ())
    assert told.guard.stage is Stage.GONE


@pytest.mark.parametrize("presence", [Presence.PARTIAL, Presence.NONE])
def test_a_fault_that_does_not_bite_in_time_is_not_proved(
    tmp_path: Path, presence: Presence
) -> None:
    """With what was measured last, for people; it is healed like any other."""
    told = Told(tmp_path, Scripted([presence]))
    assert not told.guard.inject(told.cluster, told.stop)
    assert told.guard.stage is Stage.UNPROVED
    assert "bites" in told.events[-1]["why"]
    assert [entry.undo for entry in told.undo.pending()] == ["1-x"]


@pytest.mark.parametrize("left", [Presence.PARTIAL, Presence.NONE, ClusterError("no answer")])
def test_a_fault_that_vanished_before_its_end_proves_nothing(
    tmp_path: Path, left: Presence | Exception
) -> None:
    """It was on at first; the look before the heal takes the proof back."""
    told = Told(tmp_path, Scripted([Presence.FULL, left]))
    assert told.guard.inject(told.cluster, told.stop)
    told.guard.look_again(told.cluster)
    assert told.guard.stage is Stage.UNPROVED
    assert told.whats[-1] == "unproved"


@pytest.mark.parametrize(
    "error", [ClusterError("gone"), DeadlineExceeded("state of fake-1", 5), FaultError("no")]
)
def test_a_measurement_that_fails_is_no_proof(tmp_path: Path, error: Exception) -> None:
    """Whichever error it is, a deadline of its own too: unproved with the reason, not a crash."""
    told = Told(tmp_path, Scripted([error]))
    assert not told.guard.inject(told.cluster, told.stop)
    assert told.guard.stage is Stage.UNPROVED
    assert str(error).split(":")[0] in told.events[-1]["why"]


def test_an_injection_that_fails_is_healed_all_the_same(tmp_path: Path) -> None:
    """Half of it may be on."""
    told = Told(tmp_path, Scripted([Presence.NONE], on_inject=ClusterError("half-way")))
    assert not told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    assert told.fault.heals == 1
    assert told.guard.stage is Stage.GONE


def test_a_cluster_that_does_not_answer_is_told_and_nothing_is_injected(tmp_path: Path) -> None:
    """Which nodes run has to be known first, as that is what heal restores."""
    told = Told(tmp_path, Scripted([Presence.FULL], on_inject=AssertionError("injected")))
    guard = Guard("2-x", "x", {}, told.fault, EventLog(tmp_path / "more"), told.undo)
    told.cluster.trouble.arm(0)
    with pytest.raises(ClusterError):
        guard.plan(FakeRig(told.cluster), Random(1))
    assert told.undo.pending() == []


def test_what_cannot_be_recorded_is_not_injected(tmp_path: Path) -> None:
    """The disk is full: no act, the reason is told, and there is nothing to heal."""
    told = Told(tmp_path, Scripted([Presence.FULL], on_inject=AssertionError("injected")))
    (tmp_path / "undo").mkdir()
    assert not told.guard.inject(told.cluster, told.stop)
    assert told.whats == ["planned", "skipped"]
    told.guard.heal(told.cluster, ())
    assert told.fault.heals == 0


def test_ctrl_c_while_the_proof_is_awaited_is_no_proof(tmp_path: Path) -> None:
    """The schedule then heals; nothing is raised in its thread."""
    told = Told(tmp_path, Scripted([Presence.PARTIAL]))
    told.stop.set()
    guard_module.PROVE_WITHIN_S = 60.0
    assert not told.guard.inject(told.cluster, told.stop)
    assert "interrupted" in told.events[-1]["why"]


def test_healing_what_never_was_or_is_gone_does_nothing(tmp_path: Path) -> None:
    """In every state, any number of times."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.NONE]))
    told.guard.heal(told.cluster, ())
    assert told.fault.heals == 0
    told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    told.guard.heal(told.cluster, ())
    assert told.fault.heals == 1
    assert told.whats.count("gone") == 1


def test_a_heal_goes_on_until_it_is_measured_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of any kind and a fault that is still there: once more."""
    monkeypatch.setattr(guard_module, "HEAL_WITHIN_S", 60.0)
    effects: list[Presence | Exception] = [
        Presence.FULL, Presence.PARTIAL, Presence.FULL, OSError("x"), Presence.NONE,
    ]  # fmt: skip
    told = Told(tmp_path, Scripted(effects, on_heal=[ClusterError("1"), ZeroDivisionError("2")]))
    told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    assert told.fault.heals == 6
    assert told.guard.stage is Stage.GONE


def test_what_takes_long_to_undo_has_its_time_to_show_that_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mended disks and started nodes, on a busy machine: the nodes have yet to come up."""
    monkeypatch.setattr(guard_module, "HEAL_WITHIN_S", 1.0)

    class Slow(Scripted):
        def heal(self, cluster: Cluster, injection: Injection) -> None:
            super().heal(cluster, injection)
            threading.Event().wait(1.1 if self.heals == 1 else 0)

    told = Told(tmp_path, Slow([Presence.FULL, Presence.PARTIAL, Presence.NONE]))
    told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    assert told.guard.stage is Stage.GONE


def test_a_heal_that_fails_is_an_error_that_stays_on_record(tmp_path: Path) -> None:
    """With the last reason; what is to undo stays in the log, and a later try can succeed."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.PARTIAL, Presence.NONE]))
    told.guard.inject(told.cluster, told.stop)
    with pytest.raises(HealError, match=r"x on fake-1 is not healed: still partial: .*bites"):
        told.guard.heal(told.cluster, ())
    assert told.guard.stage is Stage.FAILED
    assert [entry.undo for entry in told.undo.pending()] == ["1-x"]
    told.guard.heal(told.cluster, ())
    assert told.whats[-4:] == ["heal", "failed", "heal", "gone"]
    assert told.undo.pending() == []


def test_a_heal_that_cannot_be_put_on_record_is_told_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log would have it undone again, so it must not be called gone."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.NONE]))
    told.guard.inject(told.cluster, told.stop)
    path = tmp_path / "undo"
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(HealError, match="cannot be written"):
        told.guard.heal(told.cluster, ())
    assert told.guard.stage is Stage.FAILED
    assert told.whats[-1] == "failed"


def stored(directory: Path, cluster: FakeMesh, runtime: object = None) -> Any:
    """As much of `clusters.Store` as a heal needs."""
    return SimpleNamespace(
        directory=directory, undo_path=directory / "undo", attach=lambda: cluster,
        runtime=lambda: runtime, state=SimpleNamespace(id="c1"),
    )  # fmt: skip


@dataclass
class Rebooted:
    """A runtime whose pods are down, as after a restart of the machine; its daemon is back only at
    the second try."""

    asked: int = 0

    def revive(self, cluster_id: str) -> list[str]:
        self.asked += 1
        if self.asked == 1:
            raise ClusterError("no daemon answers")
        return [f"pod of {cluster_id}"]


def test_what_ended_with_the_machine_is_started_before_anything_is_healed(tmp_path: Path) -> None:
    """A link is lifted by a proxy that runs, and a broker starts in a pod that does."""
    cluster, runtime = mesh(), Rebooted()
    UndoLog(tmp_path / "undo").record(
        Entry("1-x", "process.pause", {"target": "fake-1"}, ("fake-1",), {}, ("fake-1", "fake-2"))
    )
    cluster.nodes["fake-2"].kill()
    told: list[str] = []
    assert heal_cluster(stored(tmp_path, cluster, runtime), told.append, within_s=60.0) == 1
    assert told == ["started pod of c1", "healed process.pause on fake-1"]
    assert cluster.left_on == []


def test_whoever_has_the_time_goes_on_healing(tmp_path: Path) -> None:
    """As the reaper does, after whom nobody comes; others give up at the usual deadline."""
    cluster = mesh()
    UndoLog(tmp_path / "undo").record(
        Entry("1-x", "process.pause", {"target": "fake-1"}, ("fake-1",), {}, ("fake-1",))
    )
    store = stored(tmp_path, cluster)
    cluster.nodes["fake-1"].pause()
    cluster.trouble.arm(0)
    with pytest.raises(HealError, match="as asked"):
        heal_cluster(store)
    cluster.trouble.arm(0)
    assert heal_cluster(store, within_s=60.0) == 1
    assert cluster.left_on == []


def test_nodes_that_ended_themselves_are_started_again_except_held_ones(tmp_path: Path) -> None:
    """Each is told as a consequence; one that another fault holds down stays down, and so does one
    that was dead before the fault was planned."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.NONE]))
    nodes = told.cluster.nodes
    told.guard.inject(told.cluster, told.stop)
    for node in nodes.values():
        node.now = NodeState.DEAD
    told.guard.heal(told.cluster, {"fake-2"})
    assert [node.now for node in nodes.values()] == ["running", "dead", "running"]
    consequences = [event["node"] for event in told.events if event["kind"] == "node"]
    assert consequences == ["fake-1", "fake-3"]


def test_a_node_that_was_dead_before_the_plan_stays_dead(tmp_path: Path) -> None:
    """An existing cluster is left as it was found."""
    cluster = mesh()
    cluster.nodes["fake-3"].now = NodeState.DEAD
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.NONE]), cluster)
    told.guard.inject(cluster, told.stop)
    told.guard.heal(cluster, ())
    assert cluster.nodes["fake-3"].now is NodeState.DEAD


def test_a_node_that_ends_between_plan_and_act_is_restored(tmp_path: Path) -> None:
    """Heal restores every node that ran before `plan`: all plans are made before the first act, so
    what an earlier fault of the schedule brought down is not taken for dead from the beginning."""
    told = Told(tmp_path, Scripted([Presence.FULL, Presence.NONE]))
    told.cluster.nodes["fake-3"].now = NodeState.DEAD
    told.guard.inject(told.cluster, told.stop)
    told.guard.heal(told.cluster, ())
    assert told.cluster.nodes["fake-3"].now is NodeState.RUNNING


def test_interrupted_is_the_only_way_out_of_a_wait_that_stop_has() -> None:
    """The guard's drawing relies on it: it is no ChaosError and no DeadlineExceeded."""
    assert not issubclass(Interrupted, (ClusterError, DeadlineExceeded))
    trouble: Any = Trouble()
    assert trouble.moments == []
