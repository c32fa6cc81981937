"""`chaos report` and what the engine writes at the end of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from chaos.cli import main
from chaos.experiment import Experiment
from chaos.report import report_after
from chaos.run.directory import write_json
from tests.histories import Fault, right


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def a_run(name: str) -> Path:
    """One that was killed before it was judged."""
    history = right(100)
    history.faults = [Fault("1-process.kill", 0.5, 0.7)]
    run = history.write(Path(name))
    resolved = Experiment.from_resolved({
        "name": "by-hand",
        "cluster": {"broker": "memory"},
        "faults": [{"at": "3s", "for": "1s", "fault": "process.kill", "target": "leader(0)"}],
    }).resolved  # fmt: skip
    write_json(run / "experiment.json", resolved)
    return run


def test_report_judges_what_was_not_judged_and_says_where_the_page_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its exit code is about the page, not about the verdict."""
    run = a_run("run")
    assert main(["report", "run"]) == 0
    assert capsys.readouterr().out == "report: run/report.html\n"
    assert (run / "verdict.json").exists()
    assert "process.kill on kafka-1" in (run / "report.html").read_text()


def test_report_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its address; where there is no browser that is said, and the page is there."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run = a_run("run")
    assert main(["report", "run", "--open"]) == 0
    assert opened == [(run / "report.html").resolve().as_uri()]
    assert "no browser could be started" in capsys.readouterr().err


def test_report_tells_what_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there, no run, several runs, a run whose history is gone: which it is, and what to
    do."""
    Path("empty").mkdir()
    a_run("runs/1-a")
    a_run("runs/2-b")
    (a_run("lost") / "history").rename("elsewhere")
    assert main(["report", "gone"]) == 2
    assert main(["report", "empty"]) == 3
    assert main(["report", "runs"]) == 2
    assert main(["report", "lost"]) == 3
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "gone: no such directory; give one that `chaos run` made"
    assert told[1] == "empty: not a run: it has no events.jsonl"
    assert told[2] == "runs: holds 2 runs; give one of them, such as runs/2-b, runs/1-a"
    assert told[3] == "lost/history: no such directory; is lost a run?"


def test_a_run_stands_without_its_page() -> None:
    """A full disk or a damaged record is noted; a run that offered no load has no page."""
    notes: list[str] = []
    run = a_run("run")
    report_after(run, notes.append)
    assert notes == []
    assert (run / "report.html").exists()
    (run / "verdict.json").write_text("{")
    report_after(run, notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("no report is written: run/verdict.json")
    Path("empty").mkdir()
    report_after(Path("empty"), notes.append)
    assert len(notes) == 1
