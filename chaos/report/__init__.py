"""`report.html`: a run on one page that works offline, made from the run's directory alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.errors import HistoryError
from chaos.files import write_whole
from chaos.report.build import FILE, build_page
from chaos.report.comparison import compare

__all__ = ["FILE", "compare", "report_after", "write_report"]


def write_report(run_directory: Path, beside: Sequence[Path] = ()) -> Path:
    """Write the page of a run into its directory; its path. With other runs `beside` it, which have
    been judged, it also compares them. Raises HistoryError when a record cannot be read or the page
    not be written."""
    from chaos.report.page import render  # loads the template engine, which few commands need

    path = run_directory / FILE
    found = compare([run_directory, *beside]) if beside else None
    text = render(build_page(run_directory, found))
    try:
        write_whole(path, text)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error
    return path


def report_after(run_directory: Path, note: Callable[[str], None]) -> None:
    """The page of a run that just ended. The verdict stands without it, so that what keeps it from
    being written is only noted; a run that never came to offer load has none."""
    if (run_directory / "history").is_dir():
        try:
            write_report(run_directory)
        except HistoryError as error:
            note(f"no report is written: {error}")
