"""`report.html`: a run on one page that works offline, made from the run's directory alone."""

from __future__ import annotations

from pathlib import Path

from chaos.errors import HistoryError
from chaos.files import write_whole
from chaos.report.build import FILE, build
from chaos.report.page import render

__all__ = ["FILE", "write_report"]


def write_report(run_directory: Path) -> Path:
    """Write the page of a run into its directory; its path. Raises HistoryError when the record
    cannot be read or the page not be written."""
    path = run_directory / FILE
    text = render(build(run_directory))
    try:
        write_whole(path, text)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error
    return path
