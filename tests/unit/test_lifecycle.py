"""`chaos up`, `down`, `heal` and `doctor` on a runtime that only keeps lists."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import fake_plugins
import pytest
from printed import assert_plain

from chaos import clusters
from chaos.cli import lifecycle, main
from chaos.clusters import Store
from chaos.errors import ClusterError
from chaos.registry import Entry
from chaos.spi import Effect, NodeState, Presence
from chaos.timing import Interrupted
from chaos.undo import Entry as Undo
from chaos.undo import UndoLog

BROKER = {"broker": "fake"}


@dataclass
class Node:
    """Always there."""

    name: str
    resumed: int = 0

    def state(self) -> NodeState:
        return NodeState.RUNNING

    def resume(self) -> None:
        self.resumed += 1


@dataclass(frozen=True)
class Here:
    """A runtime that knows what carries a mark, and by which id it was asked to remove it."""

    meshed: ClassVar[bool] = False
    marked: ClassVar[dict[str, list[str]]] = {}
    removed: ClassVar[list[str]] = []
    stuck: ClassVar[set[str]] = set()
    reasons: ClassVar[list[str]] = []

    def check(self, broker: object) -> Sequence[str]:
        return self.reasons

    def describe(self) -> Sequence[str]:
        return ["made of lists"]

    def lacks(self, broker: object) -> Sequence[str]:
        return ["no clocks: wind them up"]

    def attach(self, broker: object, directory: Path) -> SimpleNamespace:
        return SimpleNamespace(nodes={"b-1": Node("b-1")})

    def remove(self, cluster_id: str, directory: Path) -> None:
        if cluster_id in self.stuck:
            raise ClusterError("process 17 does not end")
        self.removed.append(cluster_id)
        self.marked.pop(cluster_id, None)

    def leftovers(self) -> Mapping[str, Sequence[str]]:
        return dict(self.marked)


@dataclass(frozen=True)
class Mend:
    """A fault that can be healed."""

    claims: ClassVar[str] = "process"

    def heal(self, cluster: object, injection: object) -> None:
        """Nothing is there to undo."""

    def in_effect(self, cluster: object, injection: object) -> Effect:
        return Effect(Presence.NONE)


@dataclass(frozen=True)
class Needs(Mend):
    """A fault that is gone only when another one, of an earlier time, is healed."""

    claims: ClassVar[str] = "replicas"
    healed: ClassVar[list[str]] = []

    def in_effect(self, cluster: object, injection: object) -> Effect:
        return Effect(Presence.NONE if self.healed else Presence.FULL)


@dataclass(frozen=True)
class First(Mend):
    """The other one."""

    def heal(self, cluster: object, injection: object) -> None:
        Needs.healed.append("first")


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing on this machine but what the test puts there."""
    for name in ("far", "near"):
        monkeypatch.delitem(fake_plugins.PLUGINS["runtimes"], name)
    fake_plugins.install(
        monkeypatch,
        Entry("runtimes", "here", "test_lifecycle:Here", "fakes 1.0"),
        Entry("faults", "mend", "test_lifecycle:Mend", "fakes 1.0"),
        Entry("faults", "first", "test_lifecycle:First", "fakes 1.0"),
        Entry("faults", "needs", "test_lifecycle:Needs", "fakes 1.0"),
    )
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for kept in (Here.marked, Here.removed, Here.stuck, Here.reasons, Needs.healed):
        kept.clear()


def cluster(keep: bool = True, faults: Sequence[str] = ()) -> str:
    """A cluster of ours that nobody uses now, with faults that wait to be undone; its id."""
    store = clusters.create("here", BROKER, keep)
    store.update(ready=True)
    for number, fault in enumerate(faults):
        entry = Undo(f"{number}-{fault}", fault, {}, ("b-1",), {}, ("b-1",))
        UndoLog(store.undo_path).record(entry)
    Here.marked[store.state.id] = ["process 1"]
    store.release()
    return store.state.id


@contextmanager
def used(identity: str) -> Iterator[Store]:
    """As a living run holds it."""
    store = clusters.open_store(clusters.home() / "clusters" / identity)
    assert store
    try:
        yield store
    finally:
        store.release()


def left() -> list[str]:
    return [directory.name for directory in clusters.directories()]


# ---------------------------------------------------------------------------------------- down


def test_down_removes_all_that_nobody_uses(capsys: pytest.CaptureFixture[str]) -> None:
    """Kept ones and leftovers; one that a run uses is named and left alone."""
    kept, lost, busy = cluster(), cluster(keep=False), cluster()
    with used(busy):
        assert main(["down"]) == 0
    assert sorted(Here.removed) == sorted([kept, lost])
    assert left() == [busy]
    told = capsys.readouterr().out
    assert f"removed cluster {kept}\n" in told
    assert f"cluster {busy} is used by a run now" in told
    assert_plain(told)


HOLDS = """
import sys, time
from pathlib import Path
from chaos import clusters
store = clusters.open_store(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(1)
"""


@pytest.mark.parametrize("command", ["down", "heal"])
def test_the_reaper_of_a_dead_run_is_waited_for(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is told that all is done finds that it is."""
    identity = cluster(faults=["mend"])
    directory = clusters.home() / "clusters" / identity
    reaper = [sys.executable, "-c", HOLDS, str(directory), "chaos.reaper"]
    with subprocess.Popen(reaper, stdout=subprocess.PIPE) as holding:
        assert holding.stdout
        assert holding.stdout.readline()
        assert main([command]) == 0
    told = capsys.readouterr().out
    assert f"cluster {identity}: the reaper of a dead run heals it" in told
    assert "healed mend on b-1" in told
    assert "used by a run" not in told
    assert left() == ([identity] if command == "heal" else [])


def test_down_heals_first(capsys: pytest.CaptureFixture[str]) -> None:
    """What a fault did outside the cluster would outlive it."""
    identity = cluster(faults=["mend"])
    assert main(["down"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["healed mend on b-1", f"removed cluster {identity}"]


def test_down_removes_only_what_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none stops everything, and tells the nearest one."""
    first, second = cluster(), cluster()
    assert main(["down", first, second[:-1] + "x"]) == 2
    assert Here.removed == []
    assert f'did you mean "{second}"?' in capsys.readouterr().err
    assert main(["down", first]) == 0
    assert Here.removed == [first]
    assert left() == [second]


def test_down_does_not_touch_what_may_be_somebody_elses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Marked things without a state here belong to another CHAOS_HOME or user, or are lost: they go
    only when they are named."""
    Here.marked["beef"] = ["container b-1", "container b-2"]
    assert main(["down"]) == 0
    assert Here.removed == []
    told = capsys.readouterr().out
    assert "container b-1, container b-2" in told
    assert "chaos down beef" in told
    assert main(["down", "beef"]) == 0
    assert Here.removed == ["beef"]


def test_down_goes_on_when_one_cannot_be_removed(capsys: pytest.CaptureFixture[str]) -> None:
    """And says which, with an exit code that is not 0."""
    first, second = cluster(), cluster()
    Here.stuck.add(first)
    assert main(["down"]) == 3
    assert Here.removed == [second]
    assert f"cluster {first}: process 17 does not end" in capsys.readouterr().err


def test_down_removes_a_cluster_whose_state_was_never_written() -> None:
    """The tool died in between; a directory of this minute may just be in the making."""
    home = clusters.home() / "clusters"
    for name in ("old", "new"):
        (home / name).mkdir(parents=True)
        Here.marked[name] = ["process 1"]
    hour_ago = time.time() - 3600
    os.utime(home / "old", (hour_ago, hour_ago))
    assert main(["down"]) == 0
    assert (Here.removed, left()) == (["old"], ["new"])


def test_down_with_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of silence."""
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "no clusters of yours\n"


# ---------------------------------------------------------------------------------------- heal


def test_heal_undoes_every_fault_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The cluster stays; a second time there is nothing to heal."""
    identity = cluster(faults=["mend", "mend"])
    assert main(["heal"]) == 0
    assert main(["heal"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"cluster {identity}: healed mend on b-1",
        f"cluster {identity}: healed mend on b-1",
        "nothing to heal",
    ]
    assert left() == [identity]


def test_a_fault_that_needs_another_one_healed_gets_its_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Latest first would never end: replicas move back only to a node that runs again."""
    identity = cluster(faults=["first", "needs"])
    assert main(["heal"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"cluster {identity}: healed first on b-1",
        f"cluster {identity}: healed needs on b-1",
    ]


def test_a_fault_that_cannot_be_undone_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are undone all the same, and it is still pending afterwards."""
    broken, good = cluster(faults=["mend", "gone"]), cluster(faults=["mend"])
    for _ in range(2):
        assert main(["heal"]) == 4
    told = capsys.readouterr()
    assert f"cluster {good}: healed mend on b-1" in told.out
    assert f'cluster {broken}: unknown fault "gone"' in told.err
    assert "nothing to heal" not in told.out


def test_heal_leaves_what_a_run_uses_to_that_run(capsys: pytest.CaptureFixture[str]) -> None:
    """It heals by itself; that is no error."""
    identity = cluster(faults=["mend"])
    with used(identity):
        assert main(["heal"]) == 0
    assert f"cluster {identity} is used by a run now" in capsys.readouterr().out
    assert len(UndoLog(clusters.home() / "clusters" / identity / "undo.jsonl").pending()) == 1


# ------------------------------------------------------------------------------------------ up


@dataclass
class Provision:
    """Takes the place of the engine's: no process is started."""

    fail: Callable[[threading.Event], None] = lambda stop: None
    calls: list[str] = field(default_factory=list)

    def __call__(self, experiment: Any, runtime: str, keep: bool, tell: object) -> Provision:
        self.calls.append(f"{experiment.name} on {runtime}, keep {keep}")
        return self

    def start(self, stop: object) -> SimpleNamespace:
        self.calls.append("start")
        return SimpleNamespace(id="c0ffee", clients={"b-1": "127.0.0.1:9001"})

    def await_ready(self, cluster: object, stop: threading.Event) -> None:
        self.calls.append("ready")
        self.fail(stop)

    def mark_ready(self) -> None:
        self.calls.append("keep")

    def end(self) -> None:
        self.calls.append("end")


@pytest.fixture
def provision(monkeypatch: pytest.MonkeyPatch) -> Provision:
    """What `up` did."""
    Path("x.yaml").write_text("name: x\ncluster: {broker: fake}\nfaults: []\n")
    fake = Provision()
    monkeypatch.setattr(lifecycle, "Provision", fake)
    return fake


def test_up_keeps_a_cluster_and_says_how_to_use_it(
    provision: Provision, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its id, its addresses, the way to take it down."""
    assert main(["up", "x.yaml"]) == 0
    assert provision.calls == ["x on here, keep True", "start", "ready", "keep", "end"]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "cluster c0ffee is up:",
        "  b-1  127.0.0.1:9001",
        "take it down with: chaos down c0ffee",
    ]


def test_a_cluster_that_does_not_get_ready_is_removed(
    provision: Provision, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends without having been marked as one to keep."""

    def fail(stop: threading.Event) -> None:
        raise ClusterError("not within 120 s")

    provision.fail = fail
    assert main(["up", "x.yaml"]) == 3
    assert provision.calls[-2:] == ["ready", "end"]
    assert capsys.readouterr().err == "not within 120 s\n"


def test_ctrl_c_while_a_cluster_starts_removes_it(provision: Provision) -> None:
    """And the exit code says so."""

    def fail(stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        raise Interrupted("cluster to be ready")

    provision.fail = fail
    assert main(["up", "x.yaml"]) == 130
    assert provision.calls[-2:] == ["ready", "end"]


# -------------------------------------------------------------------------------------- doctor


def test_doctor_tells_what_works_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Clusters with their faults, runtimes with what they found, systems with ok or the reason."""
    kept, lost = cluster(), cluster(keep=False, faults=["mend"])
    Here.marked["beef"] = ["container b-1"]
    with used(cluster()) as busy:
        assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert_plain(told)
    for line in (
        f"  {kept}: fake on here, kept for the next run",
        f"  {lost}: fake on here, left behind: chaos down, not healed: mend: chaos heal",
        f"  {busy.state.id}: fake on here, used by a run now",
        "  beef: of another CHAOS_HOME, or left behind: container b-1",
        "  made of lists",
        "  fake: ok; no clocks: wind them up",
    ):
        assert line in told.splitlines()
    with used(kept), used(lost):
        pass  # looking has not kept hold of any


def test_doctor_fails_only_when_nothing_runs_anywhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the runtime's own reasons."""
    Here.reasons[:] = ["no daemon; start one"]
    assert main(["doctor"]) == 3
    assert "  fake: no daemon; start one" in capsys.readouterr().out.splitlines()
