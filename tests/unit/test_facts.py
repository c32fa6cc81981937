"""What the events of a run tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import HistoryError
from chaos.facts import facts, not_final, read_story, tell
from chaos.history.reader import streams
from chaos.spi import FaultSpan, Json, PartitionEnd
from tests.histories import Fault, at, right


def fault(what: str, time_ns: int, **more: object) -> Json:
    """One step in the life of fault f1."""
    return {"time_ns": time_ns, "kind": "fault", "id": "f1", "fault": "process.kill",
            "what": what, **more}  # fmt: skip


PLANNED = fault("planned", 1, nodes=["a"])
LIFE = [
    PLANNED,
    fault("attempt", 2, nodes=["a"]),
    fault("injected", 3),
    fault("effect", 4, figures={"gone": 1}),
    fault("heal", 5),
    fault("gone", 7, figures={"gone": 0}, undone_ns=6),
]


def test_life_of_a_fault() -> None:
    """It counts as on from before the attempt until it was measured to be gone."""
    story = tell(LIFE)
    assert story.spans == [FaultSpan("f1", "process.kill", ("a",), 2, 4, 7, True, 5, 6)]
    known = story.faults["f1"]
    assert (known.on, known.after) == ({"gone": 1}, {"gone": 0})
    assert known.healed
    assert not known.heal_failed


def test_planned_only() -> None:
    """A fault that was never attempted was never on."""
    story = tell([PLANNED])
    assert story.spans == []
    assert story.faults["f1"].healed


def test_unproved() -> None:
    """Without a measured effect nothing is proved, but it counts as on all the same."""
    story = tell([*LIFE[:3], fault("unproved", 4, why="no effect"), *LIFE[4:]])
    assert story.spans == [FaultSpan("f1", "process.kill", ("a",), 2, None, 7, False, 5, 6)]
    assert story.faults["f1"].why == "no effect"


def test_effect_that_vanished() -> None:
    """An effect that was gone again before the heal proves nothing."""
    story = tell([*LIFE[:4], fault("unproved", 4, why="at its end only none of it was left")])
    assert not story.spans[0].proved


def test_heal_that_failed_and_was_made_good() -> None:
    """A failed heal counts as failed until a later one is measured to have worked."""
    failed = [*LIFE[:5], fault("failed", 6, why="still there")]
    assert tell(failed).faults["f1"].heal_failed
    assert tell(failed).spans[0].ended_ns is None
    assert not tell([*failed, fault("heal", 7), fault("gone", 8)]).faults["f1"].heal_failed


def test_consequences() -> None:
    """A node that ended because of a fault is told with it, once."""
    ended = {"time_ns": 5, "kind": "node", "node": "b", "what": "consequence", "id": "f1"}
    assert tell([*LIFE, ended, ended]).faults["f1"].consequences == ["b"]


def test_spans_are_in_order_of_time() -> None:
    """Faults are ordered by their attempts, not by their plans."""
    story = tell([{**step, "id": "f2", "time_ns": step["time_ns"] + 10} for step in LIFE] + LIFE)
    assert [span.name for span in story.spans] == ["f1", "f2"]
    assert story.active(5) == ["f1"]
    assert story.active(8) == []


def test_fault_without_end_is_active() -> None:
    """A fault that was never measured to be gone is on until the end."""
    assert tell(LIFE[:4]).active(10**9) == ["f1"]


def test_leaders() -> None:
    """The leader at a time is the one observed last before it."""

    def view(time_ns: int, leader: str | None) -> Json:
        return {"time_ns": time_ns, "kind": "view", "leaders": {"0": leader}}

    story = tell([view(10, "a"), view(20, None), view(30, "b")])
    assert [story.leader(0, at) for at in (9, 10, 19, 20, 35)] == [None, "a", "a", None, "b"]
    assert story.leader(1, 35) is None


def test_load_and_problems() -> None:
    """Load, interruptions, errors and failed clients are on record."""
    story = tell([
        {"time_ns": 1, "kind": "run", "run": "ab", "name": "x"},
        {"time_ns": 2, "kind": "load", "what": "started"},
        {"time_ns": 3, "kind": "load", "what": "ended", "due": {"0": 5, "1": 6}},
        {"time_ns": 4, "kind": "client", "client": "producer-0", "what": "error", "why": "boom"},
        {"time_ns": 5, "kind": "interrupted", "why": "Ctrl-C"},
        {"time_ns": 6, "kind": "error", "why": "no disk"},
        {"time_ns": 7, "kind": "a kind of a later version"},
    ])  # fmt: skip
    assert (story.run, story.name, story.started_ns, story.last_ns) == ("ab", "x", 1, 7)
    assert (story.load_started_ns, story.load_ended_ns, story.due) == (2, 3, {0: 5, 1: 6})
    assert story.failed_clients == ["producer-0: boom"]
    assert (story.interrupted, story.errors) == ("Ctrl-C", ["no disk"])


def test_facts_of_a_run(tmp_path: Path) -> None:
    """Events and the metadata of streams make the facts."""
    history = right(10, producers=2)
    history.handed_out, history.due = {1: 50}, {0: 10, 1: 12}
    history.faults = [Fault("f1", 0.04, 0.06)]
    history.write(tmp_path)
    recorded = streams(tmp_path)
    for stream in recorded:
        assert list(stream.batches())
    known = facts(read_story(tmp_path), recorded)
    assert known.handed_out == {0: 10, 1: 50}
    assert known.final
    assert known.due == {0: 10, 1: 12}
    assert known.ends == {0: PartitionEnd(0, 0, 20, 20)}
    assert (known.load_started_ns, known.load_ended_ns) == (at(0), at(0.1))
    assert [span.name for span in known.faults] == ["f1"]


def test_cut_off_run_is_not_final(tmp_path: Path) -> None:
    """A stream without its orderly end, or load that never ended, is not final; each is told."""
    history = right(3)
    history.final = False
    history.write(tmp_path)
    recorded = streams(tmp_path)
    for stream in recorded:
        assert list(stream.batches())
    story = read_story(tmp_path)
    story.load_ended_ns = None
    assert not facts(story, recorded).final
    reasons = not_final(story, recorded)
    assert len(reasons) == 4
    assert any("producer-0" in reason for reason in reasons)


def test_no_events(tmp_path: Path) -> None:
    """A directory that is no run is told."""
    with pytest.raises(HistoryError, match=r"events\.jsonl"):
        read_story(tmp_path)
