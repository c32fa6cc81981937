"""`chaos validate`: what is wrong with experiment files; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from chaos import registry
from chaos.errors import ChaosError, UsageError
from chaos.experiment import AUTO, Experiment, load_experiment, place_problems


def validate(files: Sequence[Path], runtime: str, overrides: Sequence[str]) -> None:
    """Check each file, and end with the code of wrong usage when one has a problem."""
    wrong = False
    for file in files:
        try:
            experiment = load_experiment(file, overrides)
            _check_place(experiment, runtime or experiment.runtime)
        except ChaosError as error:
            wrong = True
            typer.echo(str(error), err=True)
        else:
            typer.echo(f"{file}: ok")
            for note in experiment.notes():
                typer.echo(f"note: {note}")
    if wrong:
        raise typer.Exit(UsageError.exit_code)


def _check_place(experiment: Experiment, runtime: str) -> None:
    if runtime == AUTO:
        return
    problems = place_problems(experiment, runtime, registry.load("runtimes", runtime))
    if problems:
        raise UsageError(problems)
