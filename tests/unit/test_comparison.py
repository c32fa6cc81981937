"""Runs side by side: `chaos compare`, and `chaos report --beside`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.cli import main
from chaos.experiment import Experiment
from chaos.judge import judge
from chaos.report import compare
from chaos.run.directory import write_json
from chaos.spi import Figure, Finding, Outcome, Verdict
from tests.histories import Fault, right
from tests.unit.test_report_page import Says, words

FOUND = Finding(
    Verdict.PASS, "All is well.", (Figure("lost", 0, "messages"), Figure("served", 1.0, "share")),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def a_run(
    name: str, wait_s: float = 0.01, every_s: float = 0.01, lost: int = 0, acknowledged: float = 1
) -> Path:
    """Judged: messages due `every_s` for 4 s, acknowledged after `wait_s`, or that share of them, a
    fault from 3 s on. The last two before it are two seconds late."""
    history = right(round(4 / every_s), every_s=every_s)
    for send in history.sends:
        send.done_s = send.due_s + (2 if 2.95 < send.due_s < 3 else wait_s)
        if send.sequence % round(1 / acknowledged):
            send.outcome = Outcome.INDETERMINATE
    history.load_s = (0.0, 4.0)
    history.faults = [Fault("1-process.kill", 3.0, 3.5)]
    run = history.write(Path(name))
    resolved = Experiment.from_resolved({
        "name": name, "cluster": {"broker": "memory"},
        "load": {"producers": {"rate": f"{1 / every_s:.0f}/s"}},
        "faults": [{"at": "3s", "for": "1s", "fault": "process.kill", "target": "leader(0)"}],
    }).resolved  # fmt: skip
    write_json(run / "experiment.json", resolved)
    found = Finding(FOUND.verdict, FOUND.why, (Figure("lost", lost, "messages"), FOUND.figures[1]))
    judge(run, {"loss": Says(found)}, ())
    return run


def test_two_runs_side_by_side() -> None:
    """What was measured while nothing disturbed them, the figures of their verdicts, how many times
    the first's the second's are, and what they were told differently: nothing else."""
    found = compare([a_run("fast", lost=4), a_run("slow", 0.02, 0.02, lost=6)])
    assert found.figures.head == ("question", "figure", "fast", "slow", "ratio")
    rows = {row[:2]: row[2:] for row in found.figures.rows}
    assert rows["", "verdict"] == ("PASS", "PASS", "")
    before = "before the first fault"
    assert rows[before, "due"] == ("100 messages/s", "50 messages/s", "")
    assert rows[before, "acknowledged"] == ("99.50 messages/s", "49.50 messages/s", "")
    for name in ("median", "99th percentile"):
        fast, slow, ratio = rows[before, f"due until acknowledged, {name}"]
        assert [float(each.removesuffix(" ms")) for each in (fast, slow)] == pytest.approx(
            [10, 20], rel=0.02
        )
        assert float(ratio) == pytest.approx(2, rel=0.02)
    assert rows["loss", "lost"] == ("4 messages", "6 messages", "1.50")
    assert rows["loss", "served"] == ("100%", "100%", "")  # a ratio of shares says little
    assert found.settings.rows == (("load.producers.rate", "100/s", "50/s"),)


def test_a_rate_that_a_cluster_did_not_keep_up_with_is_compared() -> None:
    """Else it is what it was asked for, which tells nothing of it. Where it ran is told, too."""
    one, other = a_run("one", every_s=0.02), a_run("other", 1.0, 0.01, acknowledged=0.25)
    lines = (other / "events.jsonl").read_text()
    changed = lines.replace('"kind":"run",', '"kind":"run","runtime":"local",', 1)
    (other / "events.jsonl").write_text(changed)
    found = compare([one, other])
    rows = {row[:2]: row[2:] for row in found.figures.rows}
    before = "before the first fault"
    assert rows[before, "due"] == ("50 messages/s", "100 messages/s", "2.00")
    assert rows[before, "acknowledged"] == ("50 messages/s", "12.50 messages/s", "0.25")
    assert ("runtime", "auto", "local") in found.settings.rows


def test_more_than_two_have_no_ratio_and_nothing_is_made_up() -> None:
    """A figure that one has not is empty there, never nought."""
    other = a_run("other")
    judge(other, {"order": Says(FOUND)}, ())
    found = compare([a_run("one"), other, a_run("three")])
    assert found.figures.head == ("question", "figure", "one", "other", "three")
    rows = {row[:2]: row[2:] for row in found.figures.rows}
    assert rows["loss", "lost"] == ("0 messages", "", "0 messages")
    assert rows["order", "lost"] == ("", "0 messages", "")
    assert found.settings.rows == ()


def test_compare_prints_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure in a line of its own, for `grep` and for people."""
    a_run("fast")
    a_run("slow", 0.02, 0.02)
    assert main(["compare", "fast", "slow"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "before the first fault acknowledged 99.50 messages/s 49.50 messages/s" in lines
    assert "load.producers.rate 100/s 50/s" in lines
    assert main(["compare", "fast", "fast"]) == 0
    assert "They were told the same." in capsys.readouterr().out


def test_one_run_or_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no run is named, and nothing is printed then."""
    a_run("fast")
    assert main(["compare", "fast"]) == 2
    assert main(["compare", "fast", "gone"]) == 2
    assert main(["report", "fast", "--beside", "gone"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "one run has nothing to be compared with; give two or more",
        "gone: no such directory; give one that `chaos run` made",
        "gone: no such directory; give one that `chaos run` made",
    ]


def test_a_report_beside_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The same tables on the page; a run that was not judged is judged first."""
    fast, slow = a_run("fast"), a_run("slow", 0.02, 0.02)
    (fast / "verdict.json").unlink()
    assert main(["report", "slow", "--beside", "fast"]) == 0
    assert capsys.readouterr().out == "report: slow/report.html\n"
    text = words((slow / "report.html").read_text())
    assert "Beside other runs" in text
    assert "acknowledged 49.50 messages/s 99.50 messages/s" in text
    assert "load.producers.rate 50/s 100/s" in text
    assert main(["report", "slow"]) == 0
    assert "Beside other runs" not in words((slow / "report.html").read_text())
