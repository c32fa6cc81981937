"""Clusters that do not start, places where nothing can be written, and disks that fill up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, experiment, step

from chaos.cli.verify import judged
from chaos.errors import HistoryError
from chaos.spi import Verdict

Play = Callable[[Any], Seen]
DYING = Scene("dying", experiment(cluster={"broker": "test.dying"}))
NEVER = Scene(
    "never",
    experiment(cluster={"broker": "test.never"}),
    Plan(values={"chaos.run.provision:READY_WITHIN_S": 1.5}),
)
FROZEN = Scene(
    "frozen",
    experiment(),
    Plan(
        at="event phase=ready", do=("memory-2:STOP",),
        values={"chaos.run.provision:READY_WITHIN_S": 3.0},
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """A start that fails, and what has to be said about it."""

    scene: Scene
    said: tuple[str, ...]

    def __str__(self) -> str:
        return self.scene.name

    def play(self, directory: Path) -> Seen:
        """Its scene."""
        return self.scene.play(directory)


STARTING = [
    Start(DYING, ("ended while starting: memory-1", "memory-1: cannot go on: ")),
    Start(NEVER, ("to be ready: not within", "2 of 5 voters are missing", "memory-1: listens on")),
    Start(FROZEN, ("to be ready: not within", "no answer from memory-2", "lines of memory-2")),
]


@pytest.mark.parametrize("scene", STARTING, ids=str)
def test_a_cluster_that_does_not_start_is_told_with_its_last_lines(
    scene: Start, played: Play
) -> None:
    """Who is to blame, what it said last, exit code 3, nothing left."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    for words in scene.said:
        assert words in seen.output
    assert "Traceback" not in seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.verdict is Verdict.UNKNOWN
    assert (seen.directory / "logs" / "memory-1.log").read_text()


DEAF = Scene("deaf", experiment(cluster={"broker": "test.deaf"}))


@pytest.mark.parametrize("scene", [DEAF], ids=lambda scene: scene.name)
def test_a_setting_that_is_not_in_force_makes_the_run_unknown(scene: Scene, played: Play) -> None:
    """The run would answer another question: it says which setting, and offers no load. What is in
    force is on record."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert seen.document.verdict is Verdict.UNKNOWN
    sentence = "settings are not in force: stream has copies=1, and was told 2"
    assert sentence in seen.output
    assert any(sentence in reason for reason in seen.document.reasons)
    (event,) = [each for each in seen.events if each["kind"] == "settings"]
    assert event["in_force"]["memory-1"] == {"durable": "true"}
    assert not any(each["kind"] == "load" for each in seen.events)
    assert seen.gone_after_s is not None, seen.left


REFUSING = Scene(
    "refusing",
    experiment(step("process.kill"), cluster={"refuse": 1}),
    Plan(values={"chaos.run.engine:_SERVED_WITHIN_S": 1.5}),
)


@pytest.mark.parametrize("scene", [REFUSING], ids=lambda scene: scene.name)
def test_a_cluster_that_serves_nobody_is_left_alone(scene: Scene, played: Play) -> None:
    """The warm-up waits, then the run says who was not served; no fault is injected, and what was
    offered is on record."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert "acknowledged nothing to producer-0 within 1.5 s" in seen.output
    assert seen.document.verdict is Verdict.UNKNOWN
    assert not any(each["kind"] == "fault" for each in seen.events)
    assert seen.rows("sends")
    assert seen.gone_after_s is not None, seen.left


STOPPING = Scene(
    "stopping",
    experiment(step("process.kill"), phases={"warm_up": "3s"}),
    Plan(
        at="event kind=rates",
        turn=2,
        do=("memory-1:STOP", "memory-2:STOP"),
        values={"chaos.run.engine:_SERVED_WITHIN_S": 1.5},
    ),
)


@pytest.mark.parametrize("scene", [STOPPING], ids=lambda scene: scene.name)
def test_a_cluster_that_serves_no_more_at_the_end_of_the_warm_up_is_left_alone(
    scene: Scene, played: Play
) -> None:
    """That it served a second ago is not enough to disturb it."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert "acknowledged nothing to producer-0 within 1.5 s" in seen.output
    assert any(event["kind"] == "rates" and event["ok"] for event in seen.events)
    assert not any(event["kind"] == "fault" for event in seen.events)
    assert seen.gone_after_s is not None, seen.left


NO_HOME = Scene("no-home", experiment(), home="file/home")
NO_RUNS = Scene("no-runs", experiment(), runs="file/runs")


@dataclass(frozen=True)
class Nowhere:
    """A run where a directory cannot be made, as its parent is a file."""

    scene: Scene

    def __str__(self) -> str:
        return self.scene.name

    def play(self, directory: Path) -> Seen:
        """Its scene, beside that file."""
        (directory / "file").touch()
        return self.scene.play(directory)


@pytest.mark.parametrize("scene", [Nowhere(NO_HOME)], ids=str)
def test_without_a_place_for_clusters_nothing_is_started(scene: Nowhere, played: Play) -> None:
    """The path, and what to do about it."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert "file/home" in seen.output
    assert "CHAOS_HOME" in seen.output
    assert "Traceback" not in seen.output
    assert seen.gone_after_s is not None, seen.left


@pytest.mark.parametrize("scene", [Nowhere(NO_RUNS)], ids=str)
def test_without_a_place_for_runs_nothing_is_started(scene: Nowhere, played: Play) -> None:
    """The path, and why."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert "file/runs" in seen.output
    assert "Traceback" not in seen.output
    assert seen.run is None
    assert seen.gone_after_s is not None, seen.left


# ---------------------------------------------------------------------------------- full disks


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A disk of 4 MiB. Raises CalledProcessError where mounting is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@dataclass(frozen=True)
class FullDisk:
    """A run whose records or clusters are on a disk that is full from a moment on. What is on it is
    copied before it is unmounted."""

    scene: Scene

    def __str__(self) -> str:
        return self.scene.name

    def play(self, directory: Path) -> Seen | str:
        """What was seen, or why it cannot be done here."""
        with ExitStack() as stack:
            try:
                stack.enter_context(small_disk(directory / "disk"))
            except (OSError, subprocess.CalledProcessError) as error:
                return f"mounting a tmpfs is not allowed here: {error}"
            seen = self.scene.play(directory)
            if self.scene.runs == "disk" and seen.run:
                # Without the disk there is room for what judging writes.
                saved = shutil.copytree(seen.run, directory / "saved" / seen.run.name)
                return replace(seen, run=Path(saved))
        return seen


def full(name: str, at: str, place: str, what: str = "FILL") -> FullDisk:
    """The disk of `runs` or `home` is full from a moment on."""
    # A memory broker that writes nothing does not mind that there is no room.
    setup = experiment(
        step("process.pause", for_s=20 if place == "runs" else 1), cluster={"durable": False}
    )
    plan = Plan(at=at, do=(f"disk:{what}",))
    scene = Scene(name, setup, plan)
    if place == "runs":
        return FullDisk(replace(scene, runs="disk"))
    return FullDisk(replace(scene, home="disk"))


RECORDING = [
    full("from-the-start", "after chaos.run.engine:create", "runs"),
    full("baseline", "event phase=baseline", "runs"),
    full("fault-on", "event kind=fault what=effect", "runs"),
    full("fault-on-room-again", "event kind=fault what=effect", "runs", "BLINK"),
]


@pytest.mark.parametrize("scene", RECORDING, ids=str)
def test_a_full_disk_while_recording_ends_the_run_in_order(
    scene: FullDisk, played: Callable[[Any], Seen | str]
) -> None:
    """A clear message, healed, the cluster gone, and what was recorded is readable."""
    seen = played(scene)
    if isinstance(seen, str):
        pytest.skip(seen)
    assert seen.status == 3, seen.output
    assert "No space left on device" in seen.output
    assert "Traceback" not in seen.output
    assert seen.gone_after_s is not None, seen.left
    try:
        document = judged(seen.directory)
    except HistoryError:
        assert scene is RECORDING[0]
        return
    assert document.verdict is Verdict.UNKNOWN
    # Whose page is full in the half second that a disk is, the reader's or the consumer's, is
    # chance: without a reader nobody knows of a message, without a consumer nobody got it.
    undecided = {"unknown", "unread tail"} if "room-again" in scene.scene.name else {"unknown"}
    assert {row.kind for row in seen.evidence} <= undecided
    if "fault-on" in scene.scene.name:
        assert seen.moment_ns
        last_ns = max(row["done_ns"] for row in seen.rows("sends"))
        assert last_ns > seen.moment_ns - 300_000_000


CLUSTERS = [
    full("cluster-made", "before chaos.run.provision:create", "home"),
    full("reaper-starting", "before chaos.run.provision:Reaper", "home"),
    full("cluster-starting", "after chaos.run.provision:Reaper", "home"),
    full("undo-log", "before chaos.undo:UndoLog.record", "home"),
]


@pytest.mark.parametrize("scene", CLUSTERS, ids=str)
def test_a_full_disk_under_the_clusters_leaves_nothing_in_force(
    scene: FullDisk, played: Callable[[Any], Seen | str]
) -> None:
    """What cannot be put on record is not injected; all that was started is gone."""
    seen = played(scene)
    if isinstance(seen, str):
        pytest.skip(seen)
    assert seen.status == 3, seen.output
    assert "No space left on device" in seen.output
    assert "Traceback" not in seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.verdict is Verdict.UNKNOWN
    assert all(fault.attempt_ns is None for fault in seen.story.faults.values())
