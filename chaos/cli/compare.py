"""`chaos compare`: runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaos.cli.report import make_ready
from chaos.errors import UsageError
from chaos.report import compare as compared
from chaos.report import model
from chaos.ui.text import clean

_WIDE = 200
"""Columns where nobody looks: a file or a pipe breaks no lines."""


def compare(runs: Sequence[Path]) -> None:
    """Judge those that are not judged, and show what was measured and what they were told."""
    if len(runs) < 2:
        raise UsageError("one run has nothing to be compared with; give two or more")
    for run in runs:
        make_ready(run)
    found = compared(runs)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(_drawn("what was measured", found.figures))
    if found.settings.rows:
        console.print(_drawn("what they were told differently", found.settings))
    else:
        console.print("They were told the same.")


def _drawn(title: str, shown: model.Table) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for name, numeric in zip(shown.head, shown.numeric, strict=True):
        table.add_column(Text(clean(name)), justify="right" if numeric else "left", overflow="fold")
    for row in shown.rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table
