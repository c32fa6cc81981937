"""Workers that die on their own: what is missing is told, and a run that cannot go on ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, answer, experiment, faults, figure, is_unknown, step

from chaos.spi import Verdict

Play = Callable[[Any], Seen]


def worker_death(who: str, signal: str = "KILL") -> Scene:
    """A worker is killed under load."""
    return Scene(
        who.replace(" ", "-"),
        experiment(step("process.pause", for_s=0.3), phases={"drain": "2s"}),
        Plan(at="event phase=baseline", do=(f"{who}:{signal}",)),
    )


WORKERS = [worker_death("producer 0"), worker_death("consumer 0"), worker_death("reader 0")]


@pytest.mark.parametrize("scene", WORKERS, ids=str)
def test_a_run_that_lost_a_worker_says_which(scene: Scene, played: Play) -> None:
    """Part of the evidence is missing, so nothing passes."""
    seen = played(scene)
    is_unknown(seen, f"{scene.name}: ended with status -9")
    assert {row.kind for row in seen.evidence} <= {"unknown", "unread tail", "skipped"}


TOO_EARLY = Scene(
    "too-early",
    experiment(step("process.pause", for_s=0.3)),
    Plan(at="event phase=ready", do=("consumer 0:KILL",)),
)


@pytest.mark.parametrize("scene", [TOO_EARLY], ids=str)
def test_a_worker_that_dies_before_it_has_a_cluster_is_named(scene: Scene, played: Play) -> None:
    """Workers come up while the cluster starts; nothing is sent without all of them."""
    seen = played(scene)
    is_unknown(seen, "consumer-0: ended with status -9")
    assert not any(each["kind"] == "load" for each in seen.events)
    assert not list(seen.directory.glob("history/*"))


TWO_PRODUCERS = Scene(
    "two-producers",
    experiment(step("process.pause", for_s=0.3), load={"producers": {"count": 2, "rate": "200/s"}}),
    Plan(at="event phase=faults", do=("producer 1:KILL",)),
)


@pytest.mark.parametrize("scene", [TWO_PRODUCERS], ids=str)
def test_what_a_killed_worker_recorded_is_readable(scene: Scene, played: Play) -> None:
    """Up to the last moments; what it sent after that is neither a loss nor a phantom."""
    seen = played(scene)
    is_unknown(seen, "producer-1: ended with status -9")
    rows = [row["done_ns"] for row in seen.rows("sends") if row["producer"] == 1]
    assert seen.moment_ns
    # The moment is written down before the kill, which the write delays.
    assert seen.moment_ns - 1e9 < max(rows) < seen.moment_ns + 1e8
    assert not seen.evidence
    assert figure(seen.document, "phantoms", "phantoms") == 0


EARLY_END = Scene(
    "early-end",
    experiment(step("process.pause", at_s=3, for_s=30)),
    Plan(at="event kind=fault what=effect", do=("producer 0:KILL",)),
)


@pytest.mark.parametrize("scene", [EARLY_END], ids=str)
def test_a_run_that_breaks_off_does_not_wait_for_its_faults(scene: Scene, played: Play) -> None:
    """They are healed now, not when the schedule says so."""
    seen = played(scene)
    assert seen.moment_ns
    assert (seen.events[-1]["time_ns"] - seen.moment_ns) / 1e9 < 15
    is_unknown(seen, "producer-0")
    (fault,) = faults(seen)
    assert fault.healed


NOT_YET = Scene(
    "not-yet",
    experiment(step("process.pause"), step("process.kill", "memory-2", at_s=30)),
    Plan(at="event kind=fault what=effect", do=("producer 0:KILL",)),
)


@pytest.mark.parametrize("scene", [NOT_YET], ids=str)
def test_a_run_that_breaks_off_injects_nothing_more(scene: Scene, played: Play) -> None:
    """A fault whose time had not come stays away."""
    seen = played(scene)
    assert seen.moment_ns
    assert (seen.events[-1]["time_ns"] - seen.moment_ns) / 1e9 < 15
    is_unknown(seen, "producer-0")
    assert [fault.skipped for fault in faults(seen)] == [False, True]


ABORTED = Scene(
    "aborted",
    experiment(
        step("process.pause", for_s=0.3), cluster={"broker": "test.abrupt"},
        load={"producers": {"rate": "200/s"}, "consumers": {"count": 1}},
        phases={"settle": "25s"},  # a new worker was seen to take 10 s to start at a load of 17
    ),
    Plan(at="event phase=faults", do=("producer 0:ABRT", "consumer 0:SEGV")),
)  # fmt: skip


@pytest.mark.parametrize("scene", [ABORTED], ids=str)
def test_a_client_library_that_ends_its_process_costs_one_worker(
    scene: Scene, played: Play
) -> None:
    """On record as what it was, followed by another one, and judged as any crash of a client: no
    reason to doubt what was acknowledged and came out."""
    seen = played(scene)
    assert not seen.document.preconditions, seen.output
    told = {each["client"]: each for each in seen.events if each["kind"] == "client"
            and each["what"] in ("crashed", "started")}  # fmt: skip
    assert told.keys() == {"producer-0", "producer-1", "consumer-0", "consumer-1"}
    why = "and no fault did that: its library aborts"
    assert told["producer-0"]["why"] == f"ended by SIGABRT, {why}"
    assert told["consumer-0"]["why"] == f"ended by SIGSEGV, {why}"
    assert told["producer-1"]["after"] == "producer-0"
    assert {row["producer"] for row in seen.rows("sends")} == {0, 1}
    assert answer(seen.document, "loss").verdict is Verdict.PASS
