"""`kill -9` of the tool at many moments: the reaper heals and removes everything, and what was
recorded can be read and judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, experiment, figure, step

from chaos.cli.verify import judged
from chaos.errors import HistoryError
from chaos.spi import Verdict

Play = Callable[[Any], Seen]

FROZEN = experiment(step("process.pause"))
DEAD = experiment(step("process.kill"))
ROLLING = experiment({"at": "3s", "fault": "process.restart"})
WITHIN_S = 10.0
LOCAL = "chaos_adapters.runtimes.local"
PAUSE = "chaos_adapters.faults.process_pause:Pause"
KILL = "chaos_adapters.faults.process_kill:Kill"


def death(name: str, at: str, setup: Any = FROZEN, turn: int = 1) -> Scene:
    """The tool is killed at a moment."""
    return Scene(name, setup, Plan(at=at, turn=turn, do=("tool:KILL",)))


def rare(name: str, at: str, setup: Any = FROZEN, turn: int = 1) -> Any:
    """One that is left to `scripts/test --full`, as it hardly differs from its neighbours."""
    return pytest.param(death(name, at, setup, turn), marks=pytest.mark.full)


BEFORE_LOAD = [
    death("run-directory", "after chaos.run.engine:create"),
    rare("run-recorded", "event kind=run"),
    death("reaper-started", "after chaos.run.provision:Reaper"),
    rare("node-written", f"after {LOCAL}:_write_node"),
    death("node-not-on-record", f"after {LOCAL}:_spawn"),
    rare("second-node-started", f"after {LOCAL}:LocalNode.start", turn=2),
    death("waiting-for-readiness", "event phase=ready"),
    death("ready", "before chaos.run.provision:Provision.mark_ready"),
    rare("preparing", "event phase=prepare"),
    death("workers-started", "after chaos.load.workers:Crew._start", turn=2),
    rare("workers-connected", "before chaos.load.workers:Crew.go"),
    death("warm-up", "event phase=warm-up"),
]

UNDER_LOAD = [
    death("baseline", "event kind=rates", turn=3),
    rare("undo-not-recorded", "before chaos.undo:UndoLog.record"),
    death("undo-recorded", "after chaos.undo:UndoLog.record"),
    rare("fault-attempted", "event kind=fault what=attempt"),
    death("paused", f"after {PAUSE}.inject"),
    death("killed", f"after {KILL}.inject", DEAD),
    rare("pause-proved", "event kind=fault what=effect"),
    death("kill-proved", "event kind=fault what=effect", DEAD),
    # The first two starts are those of the cluster.
    death("rolling", f"before {LOCAL}:LocalNode.start", ROLLING, turn=3),
    death("healing", "event kind=fault what=heal"),
    rare("resumed", f"after {PAUSE}.heal"),
    death("started-again", f"after {KILL}.heal", DEAD),
    death("healed", "after chaos.undo:UndoLog.done"),
    rare("settling", "event phase=settle"),
]

WINDING_UP = [
    death("draining", "event phase=drain"),
    pytest.param(
        death("producers-ended", "after chaos.load.workers:Crew.stop_producers"),
        marks=pytest.mark.full,
    ),
    pytest.param(death("reading-back", "event phase=read-back")),
    pytest.param(death("draining-again", "event phase=drain", turn=2), marks=pytest.mark.full),
]

JUDGING = [
    death("judging", "event phase=verify"),
    death("verdict-written", "after chaos.run.engine:judge"),
    rare("cluster-removed", "after chaos.clusters:Store.remove"),
    rare("done", "event phase=done"),
]


def is_gone(seen: Seen) -> None:
    """Nothing is left of the run but its record."""
    assert seen.moment_ns, seen.output
    assert seen.status == -9, seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.gone_after_s < WITHIN_S


def accuses_nobody(seen: Seen) -> None:
    """The record of a run that broke off gives UNKNOWN, and no message is called lost or false."""
    document = judged(seen.directory)
    assert document.verdict is Verdict.UNKNOWN, document.reasons
    assert document.exit_code == 3
    assert {row.kind for row in seen.evidence} <= {"unknown"}
    assert all(answer.verdict is not Verdict.FAIL for answer in document.questions)


@pytest.mark.parametrize("scene", BEFORE_LOAD, ids=str)
def test_killed_before_the_load_leaves_nothing(scene: Scene, played: Play) -> None:
    """No process, no cluster, no port; what is on record is not taken for a result."""
    seen = played(scene)
    is_gone(seen)
    try:
        accuses_nobody(seen)
    except HistoryError:
        assert not list(seen.directory.glob("history/*"))


@pytest.mark.parametrize("scene", UNDER_LOAD, ids=str)
def test_killed_under_load_leaves_nothing_but_the_record(scene: Scene, played: Play) -> None:
    """The record goes on to the last 250 ms before the kill, and accuses nobody."""
    seen = played(scene)
    is_gone(seen)
    assert seen.moment_ns
    assert max(row["done_ns"] for row in seen.rows("sends")) > seen.moment_ns - 250_000_000
    # The tool's other threads go on for the instant between the note of the moment and the kill.
    assert -250_000_000 < seen.moment_ns - seen.events[-1]["time_ns"] < 1_100_000_000
    accuses_nobody(seen)


@pytest.mark.parametrize("scene", WINDING_UP, ids=str)
def test_killed_before_all_was_read_is_no_pass(scene: Scene, played: Play) -> None:
    """What was not read to its end may hide anything."""
    seen = played(scene)
    is_gone(seen)
    accuses_nobody(seen)


@pytest.mark.parametrize("scene", JUDGING, ids=str)
def test_killed_while_judging_loses_no_verdict(scene: Scene, played: Play) -> None:
    """The record is whole by then: the verdict is what it would have been."""
    seen = played(scene)
    is_gone(seen)
    document = judged(seen.directory)
    assert document.verdict is Verdict.PASS, document.reasons
    assert figure(document, "loss", "lost") == 0
