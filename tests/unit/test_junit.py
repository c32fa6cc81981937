"""JUnit XML, as a pipeline reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, TestCase

from chaos.errors import HistoryError
from chaos.junit import write_junit
from chaos.spi import Verdict
from chaos.verdict import Document
from tests.unit.test_verdict import ANSWER, document

PASSED = ANSWER.model_copy(update={"name": "phantoms", "verdict": Verdict.PASS, "label": None,
                                   "why": "All well."})  # fmt: skip
OPEN = ANSWER.model_copy(update={"name": "failover", "verdict": Verdict.UNKNOWN, "label": None,
                                 "why": "It had not ended."})  # fmt: skip


def written(path: Path, *verdicts: Document) -> JUnitXml:
    """What a reader finds in the file."""
    write_junit(path / "out.xml", verdicts)
    return JUnitXml.fromfile(str(path / "out.xml"))


def cases(report: JUnitXml) -> dict[str, TestCase]:
    """All cases of a report by name."""
    return {case.name: case for suite in report for case in suite}


def test_one_suite_an_experiment(tmp_path: Path) -> None:
    """Each verdict is a suite, each question a case; the totals fit."""
    report = written(tmp_path, document(questions=(ANSWER, PASSED, OPEN)), document(name="other"))
    assert [suite.name for suite in report] == ["broker-down", "other"]
    assert (report.tests, report.failures, report.errors) == (6, 2, 1)


def test_results(tmp_path: Path) -> None:
    """FAIL is a failure with its label, UNKNOWN an error, PASS neither."""
    found = cases(written(tmp_path, document(questions=(ANSWER, PASSED, OPEN))))
    (failure,) = found["loss"].result
    assert isinstance(failure, Failure)
    assert (failure.message, failure.type) == (ANSWER.why, "unsafe setting")
    (error,) = found["failover"].result
    assert isinstance(error, Error)
    assert found["phantoms"].is_passed
    assert "All well." in (found["phantoms"].system_out or "")


def test_figures_and_evidence_are_told(tmp_path: Path) -> None:
    """Whoever sees only the pipeline sees the figures, the setting and the messages."""
    (failure,) = cases(written(tmp_path, document()))["loss"].result
    text = failure.text or ""
    for part in ("lost: 1 messages <= 0", "acks: 1", "sequence 7", "kafka-1", "20 more"):
        assert part in text


def test_preconditions_are_an_error(tmp_path: Path) -> None:
    """A run that is UNKNOWN for its preconditions is not green although all questions passed."""
    broken = document(
        questions=(PASSED,), verdict=Verdict.UNKNOWN, preconditions=("The run was interrupted.",)
    )
    report = written(tmp_path, broken)
    assert report.errors == 1
    assert "interrupted" in (cases(report)["preconditions"].result[0].text or "")


def test_control_characters(tmp_path: Path) -> None:
    """What XML cannot hold is replaced, and the file stays readable."""
    odd = ANSWER.model_copy(update={"why": "a\x00b\x1b[31m <&>"})
    (failure,) = cases(written(tmp_path, document(questions=(odd,))))["loss"].result
    assert failure.message == "a\ufffdb\ufffd[31m <&>"


def test_not_writable(tmp_path: Path) -> None:
    """A path that cannot be written is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="file"):
        write_junit(tmp_path / "file" / "out.xml", [document()])
