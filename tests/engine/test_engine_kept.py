"""Clusters that outlive a run: kept on purpose, or left by a death that nobody cleaned up after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from drive import Plan
from scenes import (
    ENDS_WITHIN_S,
    Playing,
    Scene,
    Seen,
    clusters,
    experiment,
    nodes,
    step,
    streams_of,
)

from chaos.spi import Json, Verdict

KEEP = ("--keep",)
SHORT = experiment(step("process.pause", for_s=0.3))
BOTH_DIE = ("reaper:KILL", "tool:KILL")


@dataclass
class After:
    """What was seen of one run of several, and of the clusters right after it."""

    seen: Seen
    states: list[str]
    streams: set[str]
    ids: list[str]

    @property
    def cluster(self) -> Json:
        """The cluster that the run had."""
        return next(event for event in self.seen.events if event["kind"] == "cluster")


@dataclass(frozen=True)
class Series:
    """Runs one after the other with one CHAOS_HOME, `together` those from there on at once."""

    name: str
    scenes: Sequence[Scene] = field(repr=False)
    together: int = 99

    def __str__(self) -> str:
        return self.name

    def play(self, directory: Path) -> list[After]:
        """Run them; what they kept lives until all are over."""
        with ExitStack() as stack:
            found = []
            for scene in self.scenes[: self.together]:
                playing = stack.enter_context(scene.begun(directory))
                found.append(self._after(playing))
            rest = [stack.enter_context(s.begun(directory)) for s in self.scenes[self.together :]]
            return found + [self._after(playing) for playing in rest]

    @staticmethod
    def _after(playing: Playing) -> After:
        seen = playing.ended()
        states = [process.status() for process in nodes(playing.home)]
        ids = [path.name for path in clusters(playing.home)]
        return After(seen, states, streams_of(playing.home), ids)


Play = Callable[[Series], list[After]]


def passes(*runs: After) -> None:
    """Each of them ended with PASS."""
    for run in runs:
        assert run.seen.status == 0, run.seen.output


def alive(run: After, count: int = 2) -> None:
    """So many nodes are there, and none stands still."""
    assert len(run.states) == count
    assert psutil.STATUS_STOPPED not in run.states


def run(name: str, options: Sequence[str] = KEEP, **changes: Any) -> Scene:
    """A short run."""
    return replace(Scene(name, SHORT, options=tuple(options)), **changes)


TWICE = Series("twice", [run("first"), run("second"), Scene("down", command=("down",))])


@pytest.mark.parametrize("scene", [TWICE], ids=str)
def test_a_kept_cluster_is_used_again_and_is_as_good_as_new(scene: Series, played: Play) -> None:
    """The same nodes, and nothing of the first run on their disks; `chaos down` ends it."""
    first, second, down = played(scene)
    passes(first, second, down)
    assert not first.cluster["reused"]
    assert second.cluster["reused"]
    assert first.cluster["id"] == second.cluster["id"]
    assert first.cluster["clients"] == second.cluster["clients"]
    assert first.streams.isdisjoint(second.streams)
    assert second.seen.document.records["stored"] == second.seen.document.records["sends"]
    alive(first)
    alive(second)
    assert down.states == down.ids == []


AT_ONCE = Series("at-once", [run("first"), run("one"), run("other", runs="other-runs")], together=1)


@pytest.mark.parametrize("scene", [AT_ONCE], ids=str)
def test_two_runs_never_share_a_cluster(scene: Series, played: Play) -> None:
    """The kept one is for one of them; no port, no directory is had by both."""
    first, one, other = played(scene)
    passes(first, one, other)
    assert {one.cluster["reused"], other.cluster["reused"]} == {True, False}
    assert first.cluster["id"] in {one.cluster["id"], other.cluster["id"]}
    assert one.cluster["id"] != other.cluster["id"]
    assert not set(one.cluster["clients"].values()) & set(other.cluster["clients"].values())
    assert len(other.ids) == 2


DIED = Plan(at="event kind=fault what=effect", do=BOTH_DIE)
HEALED_BY_RUN = Series("healed-by-run", [run("dies", plan=DIED), run("next")])


@pytest.mark.parametrize("scene", [HEALED_BY_RUN], ids=str)
def test_a_kept_cluster_is_healed_before_it_is_used_again(scene: Series, played: Play) -> None:
    """The tool and its reaper died in the middle of a fault, so a node stood still."""
    dies, after = played(scene)
    assert dies.seen.status == -9
    assert psutil.STATUS_STOPPED in dies.states
    passes(after)
    assert after.cluster["reused"]
    assert after.cluster["id"] == dies.cluster["id"]
    assert "healed process.pause on memory-1" in str(after.seen.events)
    alive(after)


HEALED_BY_REAPER = Series(
    "healed-by-reaper",
    [run("dies", plan=replace(DIED, do=("tool:KILL",))), run("next")],
)


@pytest.mark.parametrize("scene", [HEALED_BY_REAPER], ids=str)
def test_the_reaper_heals_a_cluster_that_is_to_be_kept_and_keeps_it(
    scene: Series, played: Play
) -> None:
    """Nothing stands still after it, and the next run finds it."""
    dies, after = played(scene)
    assert dies.seen.status == -9
    assert dies.seen.gone_after_s is not None, dies.seen.left
    alive(dies)
    passes(after)
    assert after.cluster["reused"]


HEALED_BY_HAND = Series(
    "healed-by-hand",
    [
        run("dies", plan=DIED),
        Scene("heal", command=("heal",)),
        Scene("again", command=("heal",)),
        run("next"),
    ],
)


@pytest.mark.parametrize("scene", [HEALED_BY_HAND], ids=str)
def test_a_cluster_can_be_healed_by_hand(scene: Series, played: Play) -> None:
    """`chaos heal` undoes what a crash left and leaves the rest alone; twice does no harm."""
    dies, heal, again, after = played(scene)
    assert psutil.STATUS_STOPPED in dies.states
    passes(heal, again, after)
    assert "healed process.pause on memory-1" in heal.seen.output
    assert "nothing to heal" in again.seen.output
    alive(heal)
    assert after.cluster["reused"]


ROLLING = experiment({"at": "3s", "fault": "process.restart"})
DOWN = "before chaos_adapters.runtimes.local:LocalNode.start"


def rolling(name: str, death: str, status: int) -> tuple[Series, int]:
    """A run that ends while the first node of a rolling restart is down, on a kept cluster."""
    # The first two starts are those of the cluster.
    plan = Plan(at=DOWN, turn=3, do=(f"tool:{death}",))
    return Series(name, [run("ends", experiment=ROLLING, plan=plan), run("next")]), status


ROLLED = [rolling("kill", "KILL", -9), rolling("int", "INT", 130)]


@pytest.mark.parametrize(("scene", "status"), ROLLED, ids=[str(scene) for scene, _ in ROLLED])
def test_an_end_in_the_middle_of_a_rolling_restart_leaves_no_dead_node(
    scene: Series, status: int, played: Play
) -> None:
    """The undo was on the disk before the first node ended: the reaper starts what is dead."""
    ends, after = played(scene)
    assert ends.seen.status == status, ends.seen.output
    assert ends.seen.moment_ns
    assert ends.seen.gone_after_s is not None, ends.seen.left
    alive(ends)
    passes(after)
    assert after.cluster["reused"]


def swept(name: str, at: str, do: Sequence[str]) -> Series:
    """A run that dies so that nobody cleans up after it, and the next one."""
    return Series(name, [run("dies", (), plan=Plan(at=at, do=tuple(do))), run("next", ())])


SWEPT = [
    swept("paused", "event kind=fault what=effect", BOTH_DIE),
    swept("starting", "event phase=ready", BOTH_DIE),
    swept("no-reaper-yet", "after chaos.run.provision:create", ("tool:KILL",)),
]


@pytest.mark.parametrize("scene", SWEPT, ids=str)
def test_what_a_death_left_is_removed_by_the_next_run(scene: Series, played: Play) -> None:
    """A cluster whose run is dead and which nobody wanted to keep is in nobody's way for long."""
    dies, after = played(scene)
    assert dies.seen.status == -9
    assert len(dies.ids) == 1
    assert len(dies.states) == (0 if scene.name == "no-reaper-yet" else 2)
    passes(after)
    assert after.ids == []
    assert after.states == []
    assert f"removed cluster {dies.ids[0]}" in after.seen.output


NO_REAPER = Scene("no-reaper", SHORT, Plan(at="event phase=baseline", do=("reaper:KILL",)))


@pytest.mark.parametrize("scene", [NO_REAPER], ids=str)
def test_a_run_does_not_need_its_reaper(scene: Scene, played: Callable[[Any], Seen]) -> None:
    """Somebody killed it; the run cleans up after itself all the same."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    assert seen.document.verdict is Verdict.PASS
    assert seen.gone_after_s is not None, seen.left


@dataclass(frozen=True)
class LetGo:
    """A run that died with its reaper while its clients were frozen, and `chaos down` after it."""

    name: str = "let-go"

    def __str__(self) -> str:
        return self.name

    def play(self, directory: Path) -> tuple[list[str], Seen, Seen]:
        """The states of what the death left, what `chaos down` said, what is left after it."""
        fault = {"at": "3s", "for": "20s", "fault": "client.pause", "target": "clients"}
        scene = run("dies", experiment=experiment(fault), plan=DIED)
        with scene.begun(directory) as dies:
            dies.tool.wait(ENDS_WITHIN_S)
            states = [process.status() for process in dies.processes()]
            with Scene("down", command=("down",)).begun(directory) as down:
                return states, down.ended(), dies.ended()


@pytest.mark.parametrize("scene", [LetGo()], ids=str)
def test_clients_that_a_death_left_frozen_are_let_go(
    scene: LetGo, played: Callable[[LetGo], tuple[list[str], Seen, Seen]]
) -> None:
    """The kernel lets them go on at the death of the tool, so that they see it and end; nobody has
    to heal them, and `chaos down` finds nothing of them."""
    states, down, after = played(scene)
    assert psutil.STATUS_STOPPED not in states
    assert down.status == 0, down.output
    assert after.gone_after_s is not None, after.left
    assert after.left == []


DEAD_LETTERS = experiment(
    {"at": "3s", "for": "1s", "fault": "message.poison", "target": "producers", "every": 40,
     "kind": "throws"},
    load={"producers": {"rate": "200/s"}, "consumers": {"dead_letter": True, "retries": 0}},
)  # fmt: skip
BURIED = Series(
    "buried",
    [run("first", experiment=DEAD_LETTERS), run("second", experiment=DEAD_LETTERS)],
)


@pytest.mark.parametrize("scene", [BURIED], ids=str)
def test_dead_letters_of_one_run_are_none_of_the_next(scene: Series, played: Play) -> None:
    """The dead-letter stream goes with its run."""
    first, second = played(scene)
    passes(first, second)
    assert second.cluster["reused"]
    assert first.streams.isdisjoint(second.streams)
    assert {name.endswith("-dlt") for name in second.streams} == {True, False}
    poisoned = [row for row in second.seen.rows("stored") if row["kind"]]
    assert poisoned
    assert identities(second.seen.rows("dead")) == identities(poisoned)


def identities(rows: Sequence[Json]) -> set[tuple[int, int]]:
    """Producer and number of each message."""
    return {(row["producer"], row["sequence"]) for row in rows}


STICKY = experiment(cluster={"broker": "test.sticky"})
REPLACED = Series(
    "replaced",
    [run("first", experiment=STICKY), run("second", experiment=STICKY)],
)


@pytest.mark.parametrize("scene", [REPLACED], ids=str)
def test_a_kept_cluster_that_cannot_be_reset_is_replaced(scene: Series, played: Play) -> None:
    """A cluster that is not proved clean is not used."""
    first, second = played(scene)
    passes(first, second)
    assert not second.cluster["reused"]
    assert "is not clean, starting anew: stream 'old' cannot be deleted" in second.seen.output
    assert second.ids == [second.cluster["id"]]
    alive(second)


NODE_DIED = Series(
    "node-died",
    [run("first", plan=Plan(at="event phase=done", do=("memory-2:KILL",))), run("second")],
)


@pytest.mark.parametrize("scene", [NODE_DIED], ids=str)
def test_a_kept_cluster_that_lost_a_node_gets_it_back(scene: Series, played: Play) -> None:
    """However it went between the runs."""
    first, second = played(scene)
    passes(first, second)
    assert len(first.states) == 1
    assert second.cluster["reused"]
    alive(second)


OTHERS = Series("others", [run("two"), run("three", experiment=experiment(cluster={"nodes": 3}))])


@pytest.mark.parametrize("scene", [OTHERS], ids=str)
def test_a_kept_cluster_of_another_kind_is_left_alone(scene: Series, played: Play) -> None:
    """Three nodes are not two."""
    two, three = played(scene)
    passes(two, three)
    assert not three.cluster["reused"]
    assert len(three.states) == 5
    assert two.cluster["id"] in three.ids
