"""Ctrl-C and SIGTERM at many moments: healed, everything gone, a verdict that says so, exit 130."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, experiment, step

from chaos.cli.stopping import supervised
from chaos.spi import Verdict

Play = Callable[[Any], Seen]

FROZEN = experiment(step("process.pause", for_s=20))
DEAD = experiment(step("process.kill", for_s=20))
ROLLING = experiment({"at": "3s", "fault": "process.restart", "pause": "60s"})
RESTART = "chaos_adapters.faults.process_restart:Restart"
LOCAL = "chaos_adapters.runtimes.local"


def stop(name: str, at: str, number: str, setup: Any = FROZEN, turn: int = 1) -> Scene:
    """The tool gets a signal at a moment."""
    return Scene(name, setup, Plan(at=at, turn=turn, do=(f"tool:{number}",)))


def rare(name: str, at: str, number: str, setup: Any = FROZEN, turn: int = 1) -> Any:
    """One that is left to `scripts/test --full`, as it hardly differs from its neighbours."""
    return pytest.param(stop(name, at, number, setup, turn), marks=pytest.mark.full)


SHORT = experiment(step("process.pause"))
STOPS = [
    stop("run-directory", "after chaos.run.engine:create", "INT"),
    stop("cluster-directory", "after chaos.run.provision:create", "TERM"),
    stop("node-not-on-record", f"after {LOCAL}:_spawn", "INT"),
    stop("waiting-for-readiness", "event phase=ready", "TERM"),
    rare("preparing", "event phase=prepare", "INT"),
    stop("workers-started", "after chaos.load.workers:Crew._start", "TERM", turn=2),
    stop("warm-up", "event phase=warm-up", "INT"),
    rare("baseline", "event kind=rates", "TERM", turn=3),
    stop("undo-recorded", "after chaos.undo:UndoLog.record", "INT"),
    stop("pause-proved", "event kind=fault what=effect", "TERM"),
    stop("kill-proved", "event kind=fault what=effect", "INT", DEAD),
    stop("rolling", f"before {LOCAL}:LocalNode.start", "TERM", ROLLING, turn=3),
    stop("between-two", f"after {RESTART}._restart", "INT", ROLLING),
    stop("healing", "event kind=fault what=heal", "INT", SHORT),
    rare("settling", "event phase=settle", "TERM", SHORT),
    stop("draining", "event phase=drain", "INT", SHORT),
    stop("reading-back", "event phase=read-back", "TERM", SHORT),
]


@pytest.mark.parametrize("scene", STOPS, ids=str)
def test_stopped_at_any_moment_it_heals_and_says_so(scene: Scene, played: Play) -> None:
    """No process, no cluster; a verdict that is not PASS and does not call anything lost."""
    seen = played(scene)
    assert seen.status == 130, seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.moment_ns
    assert seen.events[-1]["time_ns"] - seen.moment_ns < 10e9
    document = seen.document
    assert document.verdict is Verdict.UNKNOWN, document.reasons
    assert document.interrupted
    assert document.healed
    assert document.exit_code == 130
    assert {row.kind for row in seen.evidence} <= {"unknown"}
    assert all(fault.healed for fault in document.faults)


JUDGING = [
    stop("judging", "event phase=verify", "INT", SHORT),
    stop("verdict-written", "after chaos.run.engine:judge", "TERM", SHORT),
]


@pytest.mark.parametrize("scene", JUDGING, ids=str)
def test_stopped_while_judging_the_verdict_is_still_written(scene: Scene, played: Play) -> None:
    """The record is whole by then, and judging takes a moment only."""
    seen = played(scene)
    assert seen.status == 130, seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.verdict is Verdict.PASS


def test_a_signal_is_heard_whichever_thread_gets_it() -> None:
    """The kernel may give a signal to the process to any of its threads."""

    def work(stop: threading.Event) -> bool:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return stop.wait(5)

    assert supervised(work, lambda text: None, "stopping")
