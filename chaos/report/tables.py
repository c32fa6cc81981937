"""The tables of the page: answers, faults, evidence, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from chaos.report import words
from chaos.report.evidence import Digest, moment
from chaos.report.model import (
    Answered,
    EventLine,
    EvidenceTable,
    FaultLine,
    FigureLine,
    Table,
)
from chaos.report.timeline import Clock
from chaos.spi import Json
from chaos.ui.progress import Progress
from chaos.ui.text import figures, number
from chaos.verdict import Answer, Document, FaultRow, FigureRow, unsent

_MOST_DETAILS = 200
_KEPT = {True: "ok", False: "not met", None: ""}
_COLUMNS = (
    "kind", "question", "producer", "number", "key", "partition", "offset", "time, s", "outcome",
    "leader", "faults", "delivered", "stored", "note",
)  # fmt: skip


def value_of(figure: FigureRow) -> str:
    """A figure with its unit."""
    return "not known" if figure.value is None else number(figure.value, figure.unit)


def left_out(count: int, most: int, what: str) -> str:
    """How much of it is not on the page; empty: all is."""
    return f"{most:,} of {count:,} {what} are shown." if count > most else ""


def answered(answer: Answer, document: Document) -> Answered:
    """One question as it is shown."""
    return Answered(
        answer.name, answer.question, answer.verdict.value, answer.why, answer.label or "",
        tuple((caveat.setting, caveat.why) for caveat in answer.caveats),
        tuple(
            FigureLine(each.name, value_of(each), each.threshold, _KEPT[each.ok])
            for each in answer.figures
        ),
        _details(answer.details, document.started_ns),
    )  # fmt: skip


def _details(rows: Sequence[Json], zero_ns: int) -> Table | None:
    """The rows of a finding, with units instead of the ends of their names."""
    if not rows:
        return None
    names = list(rows[0])
    cells = tuple(
        tuple(_cell(name, row.get(name), zero_ns) for name in names) for row in rows[:_MOST_DETAILS]
    )
    numeric = tuple(isinstance(rows[0][name], int | float) for name in names)
    note = left_out(len(rows), _MOST_DETAILS, "rows")
    return Table(tuple(_column(name) for name in names), cells, numeric, note)


def _column(name: str) -> str:
    plain, _, unit = name.rpartition("_")
    return (plain if unit in ("ns", "s") and plain else name).replace("_", " ")


def _cell(name: str, value: object, zero_ns: int) -> str:
    if name.endswith("_ns"):
        return f"{(value - zero_ns) / 1e9:,.3f} s" if isinstance(value, int) else "never"
    if name.endswith("_s") and isinstance(value, int | float):
        return number(value, "s")
    return figures({"": value}).strip()


def fault(fault: FaultRow, clock: Clock) -> FaultLine:
    """One fault with its proofs."""
    steps = (
        ("attempted", fault.attempt_ns), ("injected", fault.injected_ns),
        ("proved on", fault.effect_ns if fault.proved else None), ("healing", fault.heal_ns),
        ("proved gone", fault.gone_ns),
    )  # fmt: skip
    times = tuple(
        (name, f"{clock.at(time_ns):.3f} s" if time_ns is not None else "never")
        for name, time_ns in steps
    )
    good = fault.proved and fault.gone_ns is not None
    why = "; ".join(filter(None, (fault.why, *(
        f"{node} ended by itself and was started again" for node in fault.consequences
    ))))  # fmt: skip
    return FaultLine(
        words.title(fault), _state(fault), good, times, figures(fault.on), figures(fault.after), why
    )


def _state(fault: FaultRow) -> str:
    if fault.attempt_ns is None:
        return "not injected"
    if not fault.healed:
        return "NOT HEALED"
    if not fault.proved:
        return "effect not proved"
    return "proved on and gone"


# --------------------------------------------------------------------------- evidence, events


def evidence(digests: Sequence[Digest], clock: Clock) -> EvidenceTable:
    """The rows on the page, kind by kind."""
    rows = tuple(_message(row, clock) for digest in digests for row in digest.rows)
    partitions = sorted({number for digest in digests for number in digest.partitions})
    kinds = tuple((digest.kind, digest.count, len(digest.rows)) for digest in digests)
    return EvidenceTable(_COLUMNS, kinds, rows, tuple(partitions))


def _message(row: Json, clock: Clock) -> tuple[str | int | float | None, ...]:
    moment_ns = moment(row)
    ours = row["producer"] >= 0
    return (
        row["kind"], row["question"], row["producer"] if ours else unsent(row["question"]),
        row["sequence"] if ours else None, row["key"] if (row["key"] or 0) >= 0 else None,
        row["partition"], row["offset"],
        None if moment_ns is None else round(clock.at(moment_ns), 3),
        row["outcome"], row["leader"], ", ".join(row["faults"]),
        len(row["received"]), len(row["found"]), row["note"],
    )  # fmt: skip


def events(events: Iterable[Json]) -> Iterator[EventLine]:
    """What events say to people, as on the screen."""
    progress = Progress()
    for event in events:
        for line in progress.take(event):
            yield EventLine(round(line.time_s, 3), event["kind"], line.text, line.tone.value)
