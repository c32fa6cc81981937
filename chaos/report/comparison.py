"""Several runs side by side: what a setting buys, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos import verdict as report
from chaos.facts import EVENTS
from chaos.history.events import read_events
from chaos.report import series, settings
from chaos.report.model import Comparison, Table
from chaos.report.series import Axis
from chaos.spi import Json
from chaos.ui.text import number
from chaos.verdict import Document

_OPEN_NS = 1_000_000_000
"""What was due so shortly before the first fault may have waited for its answer when that came."""
_TOLD_ELSEWHERE = ("name", "about")
_BEFORE = "before the first fault"

_ALL = 0.99
"""Where so much of what was due was acknowledged, the rate is the one that was asked for."""


@dataclass(frozen=True)
class _Value:
    """A figure and its unit; None: not known, or not asked in that run. `asked` says that it is
    what the run was told, so that it cannot tell one cluster from another."""

    figure: float | None = None
    unit: str = ""
    asked: bool = False


@dataclass(frozen=True)
class _Column:
    """One run. `figures` by question and name, in the order in which a report shows them."""

    name: str
    verdict: str
    settings: dict[str, str]
    figures: dict[tuple[str, str], _Value]


def compare(directories: Sequence[Path]) -> Comparison:
    """The runs in these directories, which have been judged, in this order; of two also how many
    times the first one's figure the second one's is. Raises HistoryError when the record of one
    cannot be read."""
    runs = [_column(directory) for directory in directories]
    names = tuple(run.name for run in runs)
    numeric = (False, False, *(True for _ in runs))
    head, rows = ("question", "figure", *names), list(_figures(runs))
    if len(runs) == 2:
        head, numeric = (*head, "ratio"), (*numeric, True)
    told = Table(("setting", *names), tuple(_differences(runs)), (False, *(False for _ in runs)))
    return Comparison(told, Table(head, (_verdicts(runs), *rows), numeric))


def _column(directory: Path) -> _Column:
    document = report.read(directory)
    found = dict(_before(directory, document))
    for answer in document.questions:
        for figure in answer.figures:
            found[answer.name, figure.name] = _Value(figure.value, figure.unit)
    told = settings.experiment(directory) | _circumstances(directory)
    flat = settings.flat({key: told[key] for key in told if key not in _TOLD_ELSEWHERE})
    return _Column(directory.resolve().name, document.verdict.value, dict(flat), found)


def _circumstances(directory: Path) -> Json:
    """What is not in the experiment: where it ran, with which seed, and on which versions."""
    runs = (event for event in read_events(directory / EVENTS) if event["kind"] == "run")
    run = next(runs, {})
    return {key: run[key] for key in ("runtime", "seed", "versions") if key in run}


def _before(directory: Path, document: Document) -> Iterator[tuple[tuple[str, str], _Value]]:
    """What the cluster did while nothing disturbed it. Load is open, so waits count from the time
    at which a message was due: where more was due than the cluster took, they tell of the queue."""
    start_ns = document.load_started_ns
    faults = [fault.attempt_ns for fault in document.faults if fault.attempt_ns is not None]
    until_ns = min(faults, default=document.load_ended_ns)
    width_ns = max(1, until_ns - start_ns - min(_OPEN_NS, (until_ns - start_ns) // 2))
    # What was due is told by how the numbers go on from those of the warm-up, the first bucket.
    axis = Axis(start_ns - width_ns, width_ns, 2)
    seen = series.read(directory, axis, {}, (start_ns, start_ns + width_ns))
    due, acknowledged = seen.due[1], seen.acknowledged[1]
    for name, count in (("due", due), ("acknowledged", acknowledged)):
        rate = count / (width_ns / 1e9)
        yield (_BEFORE, name), _Value(rate, "messages/s", asked=acknowledged >= _ALL * due)
    for what, waits in (("acknowledged", seen.sending), ("delivered", seen.delivery)):
        for name, values in (("median", waits.p50), ("99th percentile", waits.p99)):
            wait_ms = None if values[1] is None else values[1] * 1000
            yield (_BEFORE, f"due until {what}, {name}"), _Value(wait_ms, "ms")


def _verdicts(runs: Sequence[_Column]) -> tuple[str, ...]:
    row = ("", "verdict", *(run.verdict for run in runs))
    return (*row, "") if len(runs) == 2 else row


def _figures(runs: Sequence[_Column]) -> Iterator[tuple[str, ...]]:
    questions = dict.fromkeys(question for run in runs for question, _ in run.figures)
    for question in questions:
        names = dict.fromkeys(name for run in runs for q, name in run.figures if q == question)
        for name in names:
            values = [run.figures.get((question, name), _Value()) for run in runs]
            row = (question, name, *map(_told, values))
            yield (*row, _ratio(*values)) if len(runs) == 2 else row


def _told(value: _Value) -> str:
    return "" if value.figure is None else number(value.figure, value.unit)


def _ratio(first: _Value, second: _Value) -> str:
    """How many times the first the second is; of shares, of nothing and of rates that both were
    asked for that says little."""
    if not first.figure or second.figure is None or first.unit == "share":
        return ""
    if first.asked and second.asked:
        return ""
    return f"{second.figure / first.figure:,.2f}"


def _differences(runs: Sequence[_Column]) -> Iterator[tuple[str, ...]]:
    keys: Iterable[str] = dict.fromkeys(key for run in runs for key in run.settings)
    for key in keys:
        values = [run.settings.get(key, "not set") for run in runs]
        if len(set(values)) > 1:
            yield (key, *values)
