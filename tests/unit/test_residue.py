"""`chaos doctor --residue` on a runtime that only keeps lists: what is told and what is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fake_plugins
import psutil
import pytest
from test_lifecycle import Here, _machine, cluster, left, used  # noqa: F401 - a fixture

from chaos import clusters, residue
from chaos.attached import Attached
from chaos.cli import main
from chaos.errors import ClusterError
from chaos.load import strays
from chaos.registry import Entry
from chaos.spi import NodeState, Skew
from tests.rig import FakeMesh, mesh


@dataclass
class Still:
    """A node in some state, which a heal does not change when it is `stuck`."""

    name: str = "b-1"
    now: NodeState = NodeState.RUNNING
    stuck: bool = False

    def state(self) -> NodeState:
        return self.now

    def resume(self) -> None:
        if not self.stuck:
            self.now = NodeState.RUNNING

    start = resume


@dataclass(frozen=True)
class Telling(Here):
    """Also knows the directories of all that is marked, and what faults did to it."""

    node: ClassVar[Still] = Still()
    places: ClassVar[dict[str, Path]] = {}
    limits: ClassVar[list[str]] = []
    cluster: ClassVar[FakeMesh] = mesh()

    def attach(self, broker: object, directory: Path) -> SimpleNamespace:
        it = self.cluster
        more = {"packets": it.packets, "disks": it.disks, "lose_power": it.lose_power}
        memories = replace(it.memories, nodes={"b-1": self.node})
        more |= {"memories": memories, "clocks": it.clocks}
        return SimpleNamespace(id="x", nodes={"b-1": self.node}, links=it.links, **more)

    def directories(self) -> Mapping[str, Path]:
        return self.places

    def traces(self, cluster_id: str) -> Sequence[str]:
        return self.limits


@pytest.fixture(autouse=True)
def _telling(monkeypatch: pytest.MonkeyPatch, _machine: None) -> None:  # noqa: F811
    monkeypatch.delitem(fake_plugins.PLUGINS["runtimes"], "here", raising=False)
    fake_plugins.install(
        monkeypatch,
        Entry("runtimes", "here", "test_residue:Telling", "fakes 1.0"),
        Entry("faults", "mend", "test_lifecycle:Mend", "fakes 1.0"),
    )
    Telling.node.now, Telling.node.stuck = NodeState.RUNNING, False
    Telling.cluster = mesh()
    for kept in (Telling.places, Telling.limits):
        kept.clear()


def found() -> dict[str, residue.Residue]:
    return {each.cluster: each for each in residue.scan() if each.cluster != residue.LOAD}


def swept() -> int:
    return main(["doctor", "--residue", "--remove", "--yes"])


def test_a_kept_cluster_that_is_free_of_faults_is_no_residue() -> None:
    """It is there because somebody wants it."""
    identity = cluster()
    assert found() == {}
    assert swept() == 0
    assert left() == [identity]


@pytest.mark.parametrize("state", [NodeState.PAUSED, NodeState.DEAD])
def test_a_kept_cluster_is_healed_and_stays(state: NodeState) -> None:
    """A node that does not run is what a fault left, whatever the undo log says."""
    identity = cluster(faults=["mend"])
    Telling.node.now = state
    assert found()[identity].things == ("not healed: mend on b-1", f"b-1 is {state}")
    assert swept() == 0
    assert (found(), left()) == ({}, [identity])


def freeze() -> None:
    Telling.node.now, Telling.node.stuck = NodeState.PAUSED, True


LEFT: dict[str, Callable[[], object]] = {
    "b-1 is paused": freeze,
    "limit CpuQuota=20000 on container b-1": lambda: Telling.limits.append(
        "limit CpuQuota=20000 on container b-1"
    ),
    "toxic x on fake-1 -> fake-2": lambda: Telling.cluster.links["fake-1", "fake-2"].impose(
        "x", "latency", latency=1
    ),
    "packet rules x on 1 ways": lambda: Telling.cluster.packets.lose("x", [("a", "b")], 1.0),
    "limit write_bps on the disk of fake-1": lambda: Telling.cluster.disks["fake-1"].limit(
        {"write_bps": 1}
    ),
    "b-1 may have only 500 bytes of memory": lambda: Telling.cluster.memories.limits.update(
        {"b-1": 500}
    ),
    "the clock of b-1 is off by -60.0 s": lambda: Telling.cluster.clocks.set("b-1", Skew(-60)),
    "our file filler on the disk of fake-2": lambda: Telling.cluster.disks["fake-2"].fill(0),
}
"""What a fault left on a cluster, as it is told; and how it comes about."""


@pytest.mark.parametrize("told", LEFT)
def test_a_kept_cluster_that_cannot_be_freed_goes(told: str) -> None:
    """Nobody would want to measure anything with it."""
    identity = cluster()
    LEFT[told]()
    assert found()[identity].things == (told,)
    assert swept() == 0
    assert (left(), Here.removed) == ([], [identity])


@pytest.mark.parametrize("told", LEFT)
def test_a_cluster_with_anything_of_a_fault_on_it_is_not_proved_clean(told: str) -> None:
    """So it is not used again, whatever kind of fault it was."""
    runtime, broker = Telling(), mesh().broker
    residue.prove_free(Attached(runtime.attach(None, Path()), broker), runtime)
    LEFT[told]()
    with pytest.raises(ClusterError, match=f"some fault left {told}"):
        residue.prove_free(Attached(runtime.attach(None, Path()), broker), runtime)


def test_what_a_dead_run_left_is_healed_and_removed() -> None:
    """Not kept: all that carries its mark goes, and its directory."""
    identity = cluster(keep=False, faults=["mend"])
    things = found()[identity].things
    assert "not healed: mend on b-1" in things
    assert "process 1" in things
    assert swept() == 0
    assert (found(), left(), Here.removed) == ({}, [], [identity])


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_run_uses_is_no_residue(keep: bool) -> None:
    """Its lock is held, so it is neither told nor touched; a lock taken since then counts too."""
    identity = cluster(keep=keep, faults=["mend"])
    seen = found()[identity]
    told: list[str] = []
    with used(identity):
        assert found() == {}
        residue.remove(seen, told.append)
    assert told == [f"cluster {identity} is used by now; it is left alone"]
    assert Here.removed == []


def test_looking_gives_the_lock_back() -> None:
    """A run that starts meanwhile gets it."""
    identity = cluster(keep=False)
    found()
    with used(identity):
        pass


def test_another_home_is_seen_by_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its lock, which tells whether a run uses it."""
    identity = cluster(keep=False)
    directory = clusters.home() / "clusters" / identity
    Telling.places[identity] = directory
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "other"))
    lock = clusters.lock(directory)
    assert lock is not None
    assert found() == {}
    clusters.unlock(lock)
    assert found()[identity].directory == directory
    assert swept() == 0
    assert Here.removed == [identity]
    assert not directory.exists()


def test_marks_without_a_place_are_told_and_never_touched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody can say whether a run uses it, so only its name removes it."""
    Here.marked["beef"] = ["container b-1"]
    assert swept() == 4
    assert Here.removed == []
    assert "chaos down beef" in capsys.readouterr().out


def test_marks_whose_directory_is_gone_are_removed(tmp_path: Path) -> None:
    """Without it there is no lock that anybody could hold."""
    Here.marked["beef"] = ["container b-1"]
    Telling.places["beef"] = tmp_path / "gone"
    assert swept() == 0
    assert Here.removed == ["beef"]


def test_a_directory_without_a_state_is_residue_unless_it_is_new() -> None:
    """Or somebody holds its lock, who may be about to write it."""
    home = clusters.home() / "clusters"
    for name in ("old", "new", "busy"):
        (home / name).mkdir(parents=True)
        Here.marked[name] = ["process 1"]
    lock = clusters.lock(home / "busy")
    assert lock is not None
    hour_ago = time.time() - 3600
    for name in ("old", "busy"):
        os.utime(home / name, (hour_ago, hour_ago))
    # Looking makes a lock file, which must not make the directory look new.
    assert list(found()) == list(found()) == ["old"]
    assert swept() == 0
    assert (Here.removed, sorted(left())) == (["old"], ["busy", "new"])
    clusters.unlock(lock)


def test_nothing_is_removed_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """Looking changes nothing; removing needs a terminal or --yes, which alone is a mistake."""
    identity = cluster(keep=False)
    assert main(["doctor", "--residue"]) == 4
    assert main(["doctor", "--residue", "--remove"]) == 2
    assert main(["doctor", "--residue", "--yes"]) == 2
    assert left() == [identity]
    told = capsys.readouterr()
    assert f"{identity} in " in told.out
    assert "say --yes" in told.err


def test_what_cannot_be_removed_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """And the others go all the same."""
    stuck, other = cluster(keep=False), cluster(keep=False)
    Here.stuck.add(stuck)
    assert swept() != 0
    assert Here.removed == [other]
    told = capsys.readouterr()
    assert "process 17 does not end" in told.err
    assert f"{stuck} is still there" in told.out


def test_a_worker_whose_tool_is_dead_is_found_and_ended() -> None:
    """Frozen, though no cluster's directory names it any more; one whose tool lives is not."""
    sleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    processes = [
        subprocess.Popen(sleep, stdin=subprocess.PIPE, env={**os.environ, **tool})
        for tool in ({strays.MARK: "999999999:1.5"}, strays.mark())
    ]
    orphan, child = processes
    try:
        psutil.Process(orphan.pid).suspend()
        (told,) = [each for each in strays.orphans() if str(orphan.pid) in each]
        assert not [each for each in strays.orphans() if str(child.pid) in each]
        assert orphan.stdin
        orphan.stdin.close()  # as the kernel does when the tool dies
        assert told in strays.put_down()
        assert orphan.wait(10) == 0
        assert child.poll() is None
    finally:
        for process in processes:
            with suppress(OSError):
                process.kill()
            process.wait(10)
