"""Verdicts as JUnit XML, for pipelines: a suite an experiment, a case a question.

A FAIL is a failure, an UNKNOWN an error. Preconditions that do not hold make a case of their own,
so that a pipeline sees an UNKNOWN although every question was answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from chaos.errors import HistoryError
from chaos.files import write_whole
from chaos.spi import Verdict
from chaos.verdict import Answer, Document, Evidence, FigureRow

_RESULTS = {Verdict.FAIL: Failure, Verdict.UNKNOWN: Error}
_NOT_XML = re.compile("[^\\t\\n\\r\\u0020-\\uD7FF\\uE000-\\uFFFD\\U00010000-\\U0010FFFF]")
"""What XML 1.0 cannot hold (§2.2): a control character in a log line must not cost the file."""


def write_junit(path: Path, verdicts: Iterable[Document]) -> None:
    """Write one file for all experiments. Raises HistoryError when it cannot be written."""
    report = JUnitXml("chaos")
    for document in verdicts:
        report.add_testsuite(_suite(document))
    report.update_statistics()  # type: ignore[no-untyped-call]
    try:
        text: bytes = report.tostring()  # type: ignore[no-untyped-call]
        write_whole(path, text.decode())
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error


def _suite(document: Document) -> TestSuite:
    suite = TestSuite(_plain(document.name))
    suite.add_property("run", document.run)
    suite.add_property("verdict", document.verdict.value)
    case = _case(document, "preconditions", 0.0)
    if document.preconditions:
        told = "\n".join(document.preconditions)
        case.result = [Error(_plain(document.preconditions[0]), "UNKNOWN")]
        case.result[0].text = _plain(told)
    suite.add_testcase(case)
    for answer in document.questions:
        suite.add_testcase(_answer(document, answer))
    return suite


def _case(document: Document, name: str, seconds: float) -> TestCase:
    return TestCase(name, classname=_plain(document.name), time=seconds)


def _answer(document: Document, answer: Answer) -> TestCase:
    seconds = (document.load_ended_ns - document.load_started_ns) / 1e9
    case = _case(document, answer.name, seconds)
    text = _plain("\n".join(_told(answer)))
    kind = _RESULTS.get(answer.verdict)
    if kind is None:
        case.system_out = text
        return case
    result = kind(_plain(answer.why), answer.label or answer.verdict.value)
    result.text = text
    case.result = [result]
    return case


def _told(answer: Answer) -> Iterator[str]:
    yield f"{answer.question} {answer.verdict}: {answer.why}"
    for caveat in answer.caveats:
        yield f"{answer.label}: {caveat.setting}: {caveat.why}"
    yield from map(_figure, answer.figures)
    yield from map(_message, answer.evidence)
    shown, all_of_them = len(answer.evidence), sum(answer.anomalies.values())
    if shown < all_of_them:
        yield f"... and {all_of_them - shown:,} more in the evidence of the run"


def _figure(figure: FigureRow) -> str:
    value = "not known" if figure.value is None else f"{figure.value:g} {figure.unit}"
    return f"{figure.name}: {value} {figure.threshold}".rstrip()


def _message(row: Evidence) -> str:
    place = f"partition {row.partition} offset {row.offset}, leader {row.leader}"
    return (
        f"{row.kind}: producer {row.producer} sequence {row.sequence}, {place},"
        f" outcome {row.outcome}, faults on: {', '.join(row.faults) or 'none'}"
    )


def _plain(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
