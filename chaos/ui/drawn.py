"""Bars in characters: when a fault was on, and where the seconds of a failover went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos.report import stages
from chaos.report.model import StageBar
from chaos.report.words import title
from chaos.ui.text import clean
from chaos.verdict import Document, FaultRow, StageRow

_LINE = 56
_NAME, _BAR, _LENGTH = 22, 26, 12
_MOST_GROUPS = 2


def span(document: Document) -> tuple[int, int]:
    """When load was offered."""
    return document.load_started_ns, document.load_ended_ns


def fault_line(fault: FaultRow, document: Document) -> Text | None:
    """The time of the load, with that of the fault drawn thick; `>` where it did not end in it."""
    start_ns, end_ns = span(document)
    if fault.attempt_ns is None or end_ns <= start_ns:
        return None
    gone_ns = end_ns if fault.gone_ns is None else fault.gone_ns
    first, last = (
        min(max(0, (at_ns - start_ns) * _LINE // (end_ns - start_ns)), _LINE - 1)
        for at_ns in (fault.attempt_ns, gone_ns)
    )
    open_end = ">" if fault.gone_ns is None else ""
    on = "█" * (last - first + 1 - len(open_end)) + open_end
    return Text.assemble(("·" * first, "dim"), (on, "red"), ("·" * (_LINE - 1 - last), "dim"))


def failovers(rows: Sequence[StageRow], document: Document) -> Iterator[RenderableType]:
    """The stages of those that took longest."""
    faults = {
        fault.id: (title(fault), fault.attempt_ns)
        for fault in document.faults
        if fault.attempt_ns is not None
    }
    groups = stages.groups(rows, faults, document.load_ended_ns)
    for group in groups[:_MOST_GROUPS]:
        yield Text("")
        yield Text(clean(f"{group.title}: {group.scale}"), "bold")
        for bar in group.bars:
            yield _row(bar)
            if bar.note:
                yield Padding(Text(clean(bar.note), "dim"), (0, 0, 0, 2))
    if len(groups) > _MOST_GROUPS:
        yield Text(f"the {_MOST_GROUPS} longest of {len(groups):,}; all are in the report", "dim")


def _row(bar: StageBar) -> RenderableType:
    # A grid a row, so that what is noted below may be longer than a cell.
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(overflow="fold", width=_NAME)
    grid.add_column(width=_BAR, no_wrap=True)
    grid.add_column(width=_LENGTH, justify="right", no_wrap=True)
    grid.add_row(Text(clean(bar.name)), _bar(bar), Text(bar.length))
    return grid


def _bar(bar: StageBar) -> Text:
    first, last = (min(int(share * _BAR), _BAR - 1) for share in (bar.from_share, bar.to_share))
    drawn = "█" * (last - first + 1) if bar.ended else "░" * (last - first) + ">"
    return Text(" " * first + drawn, "cyan" if bar.ended else "red")
