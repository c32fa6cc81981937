"""Bars in characters, in 80 columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from printed import text, widest
from test_summary import FINE, KILL, START_NS, document

from chaos.spi import Verdict
from chaos.ui.drawn import failovers, fault_line
from chaos.ui.summary import summary
from chaos.verdict import Document, FaultRow, StageRow

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def loaded(*answers: object, seconds: int = 56) -> Document:
    """A run under load for as many seconds as its line has characters."""
    end = {"load_ended_ns": START_NS + seconds * SECOND}
    return document(Verdict.PASS, *answers).model_copy(update=end)  # type: ignore[arg-type]


def drawn(fault: FaultRow, run: Document) -> str:
    line = fault_line(fault, run)
    assert line is not None
    return line.plain


def test_a_fault_is_drawn_where_it_was_on() -> None:
    """From the attempt at 8 s until it was proved gone at 21.5 s."""
    assert drawn(KILL, loaded()) == "·" * 8 + "█" * 14 + "·" * 34


def test_a_fault_that_did_not_end_runs_off_the_line() -> None:
    """And one that was not attempted has none; nor has a run without load."""
    line = drawn(KILL.model_copy(update={"gone_ns": None}), loaded())
    assert line.endswith("█>")
    assert len(line) == 56
    late = KILL.model_copy(update={"attempt_ns": START_NS + 99 * SECOND, "gone_ns": None})
    assert drawn(late, loaded()) == "·" * 55 + ">"
    assert fault_line(KILL.model_copy(update={"attempt_ns": None}), loaded()) is None
    assert fault_line(KILL, document(Verdict.PASS)) is None


def stage(name: str, start_s: float, end_s: float | None, partition: int = 0) -> StageRow:
    return StageRow(
        fault=KILL.id, partition=partition, client="all", name=name,
        started_ns=START_NS + int((8 + start_s) * SECOND),
        ended_ns=None if end_s is None else START_NS + int((8 + end_s) * SECOND),
        within_ns=250_000_000, merged=("suspected by the cluster",),
    )  # fmt: skip


def test_the_longest_failovers_are_drawn() -> None:
    """With the length of each stage, what is not sure about it, and how many there are more."""
    rows = [
        *(stage("new leader chosen", 0, 9, number) for number in range(3)),
        stage("first acknowledged", 9, 9.7),
        stage("in-sync set whole", 9.7, None),
    ]
    told = "".join(text(part) for part in failovers(rows, loaded()))
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    assert lines[0] == "process.kill on b-1: partition 0, all clients: 48.00 s"
    assert lines[1].startswith("new leader chosen")
    assert lines[1].endswith("9.00 s")
    assert lines[2] == "ended at most 250 ms earlier; contains: suspected by the cluster"
    assert [line.split("  ")[0] for line in lines if "█" in line] == [
        "new leader chosen", "first acknowledged", "new leader chosen",
    ]  # fmt: skip
    assert any(line.endswith("over 38.30 s") for line in lines)
    assert lines[-1] == "the 2 longest of 3; all are in the report"


def test_both_stand_in_the_summary_in_80_columns(tmp_path: Path) -> None:
    """And the page is named where there is one."""
    answer = FINE.model_copy(update={"stages": (stage("in-sync set whole", 0, None),)})
    shown = summary(loaded(answer), tmp_path)
    assert widest(shown) <= 80
    assert "in-sync set whole" in text(shown)
    assert "Faults, along the load from 0.0 s to 56.0 s" in text(shown)
    assert "report.html" not in text(shown)
    (tmp_path / "report.html").touch()
    assert "report.html" in text(summary(loaded(answer), tmp_path))
