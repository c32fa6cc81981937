"""The verdict as people read it at the end of `chaos run` and from `chaos verify`.

    the verdict, in words          what it means, in a sentence
    the table of questions         verdict | question, answer, figures | measured | threshold
    doubts                         what a verdict rests on and does not hold
    evidence                       the first messages of each question that FAILs
    the timeline of faults         with what was measured while they were on, and after
    where everything is
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos import verdict as report
from chaos.spi import Json, Verdict
from chaos.ui.text import clean, figures, listed, number, seconds
from chaos.verdict import Answer, Document, Evidence, FaultRow, FigureRow

STYLES = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "bold yellow"}
_BIG = {
    Verdict.PASS: "bold white on green",
    Verdict.FAIL: "bold white on red",
    Verdict.UNKNOWN: "bold black on yellow",
}
_MEANING = {
    Verdict.PASS: "every question is answered well, and every fault was proved on and gone",
    Verdict.FAIL: "an expectation was not met, and the messages that show it are on record",
    Verdict.UNKNOWN: "this run cannot tell, so it is neither a pass nor a fail",
}
_EVIDENCE_ROWS = 5
_DETAIL_ROWS = 6


def summary(document: Document, directory: Path, errors: Sequence[str] = ()) -> RenderableType:
    """All of it. `errors` are what went wrong with the run itself."""
    parts: list[RenderableType] = ["", _headline(document), "", _questions(document)]
    parts += _points("What this verdict lacks", document.preconditions)
    parts += _points("What went wrong with the run", errors)
    for answer in document.questions:
        parts += _evidence(answer, document)
        parts += _details(answer, document)
    parts += _timeline(document)
    parts += ["", *where(document, directory)]
    return Group(*parts)


def without_verdict(directory: Path, errors: Sequence[str]) -> RenderableType:
    """What is shown of a run that could not even be judged."""
    headline = Text.assemble((" UNKNOWN ", _BIG[Verdict.UNKNOWN]), "  no verdict could be written")
    told = _points("What went wrong with the run", errors)
    return Group("", headline, *told, "", *_files(directory, "events.jsonl", "what is on record"))


def where(document: Document, directory: Path) -> list[RenderableType]:
    """The last lines: the verdict once more, and where the evidence is."""
    last = Text.assemble(
        (document.verdict.value, STYLES[document.verdict]), f"  {clean(document.name)}"
    )
    return [*_files(directory, report.FILE, report.EVIDENCE, "events.jsonl", "history/"), last]


def _files(directory: Path, *names: str) -> list[RenderableType]:
    return [
        Text(f"record of the run: {clean(str(directory))}", overflow="fold"),
        Text(f"  with {', '.join(names)}; judge it again: chaos verify DIRECTORY", "dim"),
    ]


def _headline(document: Document) -> RenderableType:
    mark = (f" {document.verdict.value} ", _BIG[document.verdict])
    unhealed = [] if document.healed else ["a fault is NOT HEALED: see chaos heal"]
    stopped = ["interrupted"] if document.interrupted else []
    meaning = "; ".join([*unhealed, *stopped, _MEANING[document.verdict]])
    return Text.assemble(mark, "  ", (clean(document.name), "bold"), f": {meaning}")


def _questions(document: Document) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), pad_edge=False, show_lines=False)
    table.add_column("verdict", no_wrap=True, width=7)
    table.add_column("question, answer and figures", ratio=1, overflow="fold")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("threshold", no_wrap=True)
    for answer in document.questions:
        verdict = Text(answer.verdict.value, STYLES[answer.verdict])
        table.add_row(verdict, Text(clean(answer.question), "bold"))
        table.add_row("", Text(clean(answer.why)))
        for label in _label(answer):
            table.add_row("", label)
        for figure in answer.figures:
            if figure.threshold:
                table.add_row(*_figure(figure))
        if also := [_also(figure) for figure in answer.figures if not figure.threshold]:
            table.add_row("", Text(clean("; ".join(also)), "dim"))
        table.add_section()
    return table


def _label(answer: Answer) -> Iterator[Text]:
    if answer.label is None:
        return
    if not answer.caveats:
        yield Text(f"{answer.label}: with these settings it should not happen", "bold red")
    for caveat in answer.caveats:
        yield Text(clean(f"{answer.label}: {caveat.setting}: {caveat.why}"), "magenta")


def _figure(figure: FigureRow) -> tuple[Text, Text, Text, Text]:
    kept = {True: ("ok", "green"), False: ("not met", "bold red"), None: ("", "")}[figure.ok]
    return (
        Text(""),
        Text(clean(f"  {figure.name}")),
        Text(_value(figure), kept[1]),
        Text.assemble(clean(figure.threshold), " ", kept),
    )


def _value(figure: FigureRow) -> str:
    return "not known" if figure.value is None else number(figure.value, figure.unit)


def _also(figure: FigureRow) -> str:
    return f"{figure.name} {_value(figure)}"


def _points(title: str, texts: Sequence[str]) -> list[RenderableType]:
    if not texts:
        return []
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    for text in texts:
        grid.add_row("-", Text(clean(text)))
    return ["", Text(title, "bold"), grid]


def _evidence(answer: Answer, document: Document) -> list[RenderableType]:
    if answer.verdict is not Verdict.FAIL or not answer.evidence:
        return []
    shown = answer.evidence[:_EVIDENCE_ROWS]
    total = sum(answer.anomalies.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in answer.anomalies.items())
    title = f"Evidence for {answer.name}: {kinds}"
    if total > len(shown):
        title += f"; the first {len(shown)} of them"
    rows = [_told(row, document.started_ns) for row in shown]
    return _points(title, rows)


def _told(row: Evidence, started_ns: int) -> str:
    """One message, its story in a sentence."""
    who = "not ours" if row.producer < 0 else f"producer {row.producer} number {row.sequence:,}"
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


_OUTCOMES = {"ok": "acknowledged", "indeterminate": "outcome unknown"}


def _copies(row: Evidence) -> str:
    received, found = len(row.received), len(row.found)
    times = {0: "never", 1: "once"}.get(received, f"{received} times")
    stored = {0: "", 1: ", stored once"}.get(found, f", stored {found} times")
    return f"{times} delivered{stored}"


def _details(answer: Answer, document: Document) -> list[RenderableType]:
    """The rows of a finding as a table; what is the same in all of them goes into its title."""
    rows = answer.details
    if not rows:
        return []
    shown = [_detail(row, document.started_ns) for row in rows[:_DETAIL_ROWS]]
    same = [name for name in shown[0] if len(shown) > 1 and len({row[name] for row in shown}) == 1]
    title = f"Details of {answer.name}"
    if same:
        title += f" ({', '.join(f'{name} {shown[0][name]}' for name in same)})"
    if len(rows) > len(shown):
        title += f", the first {len(shown)} of {len(rows):,}"
    table = Table(box=None, padding=(0, 1), header_style="dim")
    names = [name for name in shown[0] if name not in same]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in shown:
        table.add_row(*(Text(row[name]) for name in names))
    return ["", Text(clean(title), "bold"), table]


def _detail(row: Json, started_ns: int) -> dict[str, str]:
    """Column names without their units, values with them."""
    told = {}
    for name, value in row.items():
        plain, _, unit = name.rpartition("_")
        if unit == "ns":
            told[plain.replace("_", " ")] = (
                "never" if value is None else seconds((value - started_ns) / 1e9)
            )
        elif unit == "s" and isinstance(value, int | float):
            told[plain.replace("_", " ")] = number(value, "s")
        else:
            told[name.replace("_", " ")] = clean(str(value))
    return told


def _timeline(document: Document) -> list[RenderableType]:
    if not document.faults:
        return []
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=9, justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for fault in document.faults:
        at = fault.attempt_ns
        time = seconds((at - document.started_ns) / 1e9) if at else "never"
        nodes = f" on {listed(fault.nodes)}" if fault.nodes else ""
        grid.add_row(Text(time), Text(clean(f"{fault.fault}{nodes}"), "bold"))
        for text, style in _life(fault):
            grid.add_row("", Text(clean(text), style))
    return ["", Text("Faults", "bold"), grid]


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
