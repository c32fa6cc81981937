"""`chaos verify`: the verdict once more, from the record of a run alone."""

from __future__ import annotations

from pathlib import Path

import typer

from chaos.cli.codes import worst
from chaos.cli.ended import report_to
from chaos.errors import UsageError
from chaos.judge import judge
from chaos.run.directory import read_experiment
from chaos.ui.screen import Screen
from chaos.ui.summary import summary
from chaos.verdict import Document


def verify(run: Path, junit: Path | None) -> None:
    """Judge and show; ends with the verdict's exit code."""
    document = judged(run)
    Screen().show(summary(document, run))
    raise typer.Exit(worst([document.exit_code, report_to(junit, [document])]))


def judged(run: Path) -> Document:
    """The verdict of a recorded run. Raises UsageError when there is none, and HistoryError."""
    if not run.is_dir():
        raise UsageError(f"{run}: no such directory; give one that `chaos run` made")
    experiment = read_experiment(run)
    return judge(run, experiment.verifiers, experiment.caveats())
