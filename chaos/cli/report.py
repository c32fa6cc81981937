"""`chaos report`: the page of a run, from its record alone."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from chaos import verdict
from chaos.cli.verify import judged
from chaos.errors import HistoryError, UsageError
from chaos.facts import EVENTS
from chaos.report import write_report
from chaos.ui.screen import Screen, complain
from chaos.ui.text import listed


def report(run: Path, beside: Sequence[Path], show: bool) -> None:
    """Write it, say where it is, and `show` it."""
    for each in (run, *beside):
        make_ready(each)
    path = write_report(run, beside)
    Screen().say(f"report: {path}")
    if show and not webbrowser.open(path.resolve().as_uri()):
        complain("no browser could be started here; open the file by hand")


def make_ready(run: Path) -> None:
    """Judge a run that was not. Raises UsageError and HistoryError when it is none."""
    _check(run)
    if not (run / verdict.FILE).exists():
        judged(run)


def _check(run: Path) -> None:
    """Raises UsageError when it is no directory or holds runs, and HistoryError when it is none."""
    if not run.is_dir():
        raise UsageError(f"{run}: no such directory; give one that `chaos run` made")
    if (run / EVENTS).exists():
        return
    runs = sorted(path.parent for path in run.glob(f"*/{EVENTS}"))
    if runs:
        names = listed(reversed(runs), most=3)
        raise UsageError(f"{run}: holds {len(runs)} runs; give one of them, such as {names}")
    raise HistoryError(f"{run}: not a run: it has no {EVENTS}")
