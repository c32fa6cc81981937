"""The verdict as people read it at the end of `chaos run` and from `chaos verify`.

the verdict, in words          what it means, in a sentence
the table of questions         the answer to each, its figures and thresholds, the first
                               messages that show it when it FAILs, rows of details, the
                               stages of the longest failover
doubts                         what a verdict rests on and does not hold
the timeline of faults         with what was measured while they were on, and after
where everything is
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos import verdict as report
from chaos.errors import HealError
from chaos.spi import Json, Verdict
from chaos.ui.drawn import failovers, fault_line, span
from chaos.ui.text import clean, figures, listed, number, seconds
from chaos.verdict import Answer, Document, Evidence, FaultRow, FigureRow, unsent

PAGE = "report.html"
STYLES = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "bold yellow"}
_BIG = {
    Verdict.PASS: "bold white on green",
    Verdict.FAIL: "bold white on red",
    Verdict.UNKNOWN: "bold black on yellow",
}
_MEANING = {
    Verdict.PASS: "every question is answered well, every fault was proved on and gone",
    Verdict.FAIL: "an expectation was not met",
    Verdict.UNKNOWN: "this run cannot tell",
}
_GRAVEST = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
_EVIDENCE_ROWS = 5
_DETAIL_ROWS = 4


def summary(
    document: Document, directory: Path, errors: Sequence[str] = (), code: int | None = None
) -> RenderableType:
    """All of it. `errors` are what went wrong with the run itself, `code` is its exit code, which
    knows more than the verdict of what happened after it."""
    healed = document.healed and code != HealError.exit_code
    parts: list[RenderableType] = ["", _headline(document, healed), "", _questions(document)]
    parts += _points("What this verdict lacks", document.preconditions)
    parts += _points("What went wrong with the run", errors)
    parts += _timeline(document)
    page = [PAGE] * (directory / PAGE).exists()
    names = (*page, report.FILE, report.EVIDENCE, "events.jsonl", "history/")
    parts += ["", *_where(directory, *names), _last_line(document)]
    return Group(*parts)


def without_verdict(directory: Path, errors: Sequence[str]) -> RenderableType:
    """What is shown of a run that could not even be judged."""
    headline = Text.assemble((" UNKNOWN ", _BIG[Verdict.UNKNOWN]), " no verdict could be written")
    told = _points("What went wrong with the run", errors)
    return Group("", headline, *told, "", *_where(directory, "events.jsonl"))


def _last_line(document: Document) -> RenderableType:
    """The verdict once more, as the headline may have scrolled away."""
    mark = (document.verdict.value, STYLES[document.verdict])
    return Text.assemble(mark, f" {clean(document.name)}")


def _where(directory: Path, *names: str) -> list[RenderableType]:
    return [
        Text(f"record: {clean(str(directory))}", overflow="fold"),
        Text(f"        {', '.join(names)}", "dim"),
        Text(f"        judge it again with: chaos verify {clean(str(directory))}", "dim"),
    ]


def _headline(document: Document, healed: bool) -> RenderableType:
    mark = (f" {document.verdict.value} ", _BIG[document.verdict])
    unhealed = [] if healed else ["something is NOT HEALED: see chaos heal"]
    stopped = ["interrupted"] if document.interrupted else []
    meaning = "; ".join([*unhealed, *stopped, _MEANING[document.verdict]])
    return Text.assemble(mark, " ", (clean(document.name), "bold"), f": {meaning}")


def _questions(document: Document) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("verdict", no_wrap=True, width=7)
    table.add_column("question, answer, figures and thresholds", ratio=1)
    for answer in sorted(document.questions, key=lambda answer: _GRAVEST.index(answer.verdict)):
        verdict = Text(answer.verdict.value, STYLES[answer.verdict])
        table.add_row(verdict, Group(*_block(answer, document)))
        table.add_section()
    return table


def _block(answer: Answer, document: Document) -> Iterator[RenderableType]:
    """All about one question."""
    started_ns = document.started_ns
    yield Text(clean(answer.question), "bold")
    yield Text(clean(answer.why))
    yield from _label(answer)
    if judged := [figure for figure in answer.figures if figure.threshold]:
        yield _judged(judged)
    if told := [figure for figure in answer.figures if not figure.threshold]:
        yield _Items([clean(f"{each.name} {_value(each)}") for each in told])
    yield from _evidence(answer, started_ns)
    yield from _details(answer, started_ns)
    yield from failovers(answer.stages, document)


@dataclass(frozen=True)
class _Items:
    """Things in a row, of which none is broken over two lines unless it is longer than one."""

    texts: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = ""
        for index, text in enumerate(self.texts, 1):
            item = text if index == len(self.texts) else f"{text};"
            if line and cell_len(line) + 1 + cell_len(item) > options.max_width:
                yield Text(line, "dim")
                line = ""
            line = f"{line} {item}" if line else item
        yield Text(line, "dim")


def _judged(rows: Sequence[FigureRow]) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    for figure in rows:
        kept, style = _KEPT[figure.ok]
        grid.add_row(
            Text(clean(figure.name)),
            Text(_value(figure), style),
            Text.assemble(f"{clean(figure.threshold)}  ", (kept, style)),
        )
    return grid


def _label(answer: Answer) -> Iterator[Text]:
    if answer.label is None:
        return
    if not answer.caveats:
        yield Text(f"{answer.label}: these settings should not allow it", "bold red")
    for caveat in answer.caveats:
        yield Text(clean(f"{answer.label}: {caveat.setting}: {caveat.why}"), "magenta")


def _value(figure: FigureRow) -> str:
    return "not known" if figure.value is None else number(figure.value, figure.unit)


def _points(title: str, texts: Sequence[str]) -> list[RenderableType]:
    if not texts:
        return []
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    for text in texts:
        grid.add_row("-", Text(clean(text)))
    return ["", Text(title, "bold"), grid]


def _evidence(answer: Answer, started_ns: int) -> Iterator[RenderableType]:
    """The first messages that are wrong, where the question FAILs."""
    if answer.verdict is not Verdict.FAIL or not answer.evidence:
        return
    shown = answer.evidence[:_EVIDENCE_ROWS]
    total = sum(answer.anomalies.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in answer.anomalies.items())
    more = f"; the first {len(shown)}" if total > len(shown) else ""
    yield from _points(f"Evidence: {kinds}{more}", [_told(row, started_ns) for row in shown])


def _told(row: Evidence, started_ns: int) -> str:
    """One message, its story in a sentence."""
    sent = f"producer {row.producer} number {row.sequence:,}"
    who = unsent(row.question) if row.producer < 0 else sent
    parts = [f"{row.kind}: {who}"]
    if row.key is not None and row.key >= 0:
        parts.append(f"key {row.key}")
    if row.partition is not None:
        offset = "" if row.offset is None else f" offset {row.offset:,}"
        parts.append(f"partition {row.partition}{offset}")
    if row.outcome and row.done_ns:
        at = seconds((row.done_ns - started_ns) / 1e9)
        parts.append(f"{_OUTCOMES.get(row.outcome, row.outcome)} at {at}")
    if row.leader:
        parts.append(f"leader {row.leader}")
    if row.faults:
        parts.append(f"during {listed(row.faults)}")
    parts.append(_copies(row))
    return ", ".join([*parts, row.note] if row.note else parts)


_KEPT = {True: ("ok", "green"), False: ("not met", "bold red"), None: ("", "")}
_TIMES = {1: "once", 2: "twice"}
_OUTCOMES = {"ok": "acknowledged", "indeterminate": "outcome unknown",
             "weak": "stored, but not as safe as asked"}  # fmt: skip


def _copies(row: Evidence) -> str:
    received, found = len(row.received), len(row.found)
    stored = f", stored {_TIMES.get(found, f'{found} times')}" if found else ""
    delivered = f"delivered {_TIMES.get(received, f'{received} times')}" if received else ""
    return (delivered or "never delivered") + stored


def _details(answer: Answer, started_ns: int) -> Iterator[RenderableType]:
    """The rows of a finding; what is the same in all of them goes into the title."""
    if not answer.details:
        return
    rows = [_detail(row, started_ns) for row in answer.details[:_DETAIL_ROWS]]
    same = [name for name in rows[0] if len(rows) > 1 and len({row[name] for row in rows}) == 1]
    about = [f"{name} {rows[0][name]}" for name in same]
    if len(answer.details) > len(rows):
        about.append(f"the first {len(rows)} of {len(answer.details):,}")
    names = [name for name in rows[0] if name not in same]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(*(Text(name, "dim") for name in names))
    for row in rows:
        table.add_row(*(Text(row[name]) for name in names))
    yield Group("", _Items(about), table) if about else Group("", table)


def _detail(row: Json, started_ns: int) -> dict[str, str]:
    """Column names without their units, values with them."""
    told = {}
    for name, value in row.items():
        plain, _, unit = name.rpartition("_")
        if unit == "ns":
            told[plain.replace("_", " ")] = (
                "never" if value is None else seconds((value - started_ns) / 1e9)
            )
        elif unit == "s" and (value is None or isinstance(value, int | float)):
            told[plain.replace("_", " ")] = "never" if value is None else number(value, "s")
        else:
            told[name.replace("_", " ")] = clean(str(value))
    return told


def _timeline(document: Document) -> list[RenderableType]:
    if not document.faults:
        return []
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=9, justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    load_s = [(at - document.started_ns) / 1e9 for at in span(document)]
    for fault in document.faults:
        at = fault.attempt_ns
        time = seconds((at - document.started_ns) / 1e9) if at else "never"
        nodes = f" on {listed(fault.nodes)}" if fault.nodes else ""
        grid.add_row(Text(time), Text(clean(f"{fault.fault}{nodes}"), "bold"))
        if line := fault_line(fault, document):
            grid.add_row("", line)
        for text, style in _life(fault):
            grid.add_row("", Text(clean(text), style))
    along = f", along the load from {seconds(load_s[0])} to {seconds(load_s[1])}"
    return ["", Text.assemble(("Faults", "bold"), along if load_s[1] > load_s[0] else ""), grid]


def _life(fault: FaultRow) -> Iterator[tuple[str, str]]:
    if fault.attempt_ns is None:
        yield f"not injected: {fault.why}", "bold red"
        return
    if fault.proved and fault.effect_ns:
        after_s = (fault.effect_ns - fault.attempt_ns) / 1e9
        yield f"on after {number(after_s, 's')}, proved: {figures(fault.on)}", ""
    else:
        yield f"effect NOT proved: {fault.why or figures(fault.on)}", "bold red"
    if fault.gone_ns:
        after_s = (fault.gone_ns - fault.attempt_ns) / 1e9
        yield f"gone after {number(after_s, 's')}, proved: {figures(fault.after)}", ""
    elif not fault.healed:
        yield f"NOT HEALED: {fault.why}", "bold red"


def overview(rows: Sequence[tuple[str, str, str]]) -> RenderableType:
    """Several runs at a glance: verdict or what else became of it, name, where its record is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("verdict", "experiment", "record"):
        table.add_column(title, overflow="fold")
    for verdict, name, place in rows:
        style = STYLES[Verdict(verdict)] if verdict in list(Verdict) else "bold red"
        table.add_row(Text(verdict, style), Text(clean(name)), Text(clean(place)))
    return Padding(table, (1, 0, 0, 0))
