"""`chaos run`: one experiment or several, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from chaos.cli.codes import worst
from chaos.cli.ended import Ended, report_to
from chaos.cli.paths import find_experiments
from chaos.cli.stopping import supervised
from chaos.errors import ChaosError, Problem, Unavailable, UsageError
from chaos.experiment import Experiment, load_experiment
from chaos.run.engine import Options, execute
from chaos.run.provision import choose_runtime
from chaos.ui.screen import Screen, complain
from chaos.ui.summary import overview, summary, without_verdict


def run(
    paths: Sequence[str],
    runtime: str | None,
    keep: bool,
    overrides: Sequence[str],
    runs: Path,
    junit: Path | None,
) -> None:
    """Run them all; ends with the worst exit code."""
    experiments = load_all(find_experiments(paths), overrides, runtime)
    screen = Screen()
    ended = supervised(
        lambda stop: _Series(screen, Options(runtime, keep, runs, stop=stop)).run(experiments),
        screen.say,
        "stopping: healing first",
    )
    codes = [each.code for each in ended]
    codes.append(report_to(junit, [each.document for each in ended]))
    raise typer.Exit(worst(codes))


def load_all(
    files: Sequence[Path], overrides: Sequence[str], runtime: str | None
) -> list[Experiment]:
    """All experiments, checked, also for where they are to run. Raises UsageError with every
    problem of all of them; nothing is started before."""
    experiments: list[Experiment] = []
    problems: list[Problem] = []
    for file in files:
        try:
            experiment = load_experiment(file, overrides)
            choose_runtime(experiment, runtime)
            experiments.append(experiment)
        except UsageError as error:
            problems += error.problems
        except Unavailable as error:
            problems.append(Problem("", str(error)))
    if problems:
        raise UsageError(list(dict.fromkeys(problems)))
    return experiments


@dataclass(frozen=True)
class _Series:
    """Runs one experiment after the other and shows each."""

    screen: Screen
    options: Options

    def run(self, experiments: Sequence[Experiment]) -> list[Ended]:
        """All of them, unless one ends so that the rest must not run."""
        ended: list[Ended] = []
        for number, experiment in enumerate(experiments, 1):
            if ended and ended[-1].final:
                break
            of_many = f" ({number} of {len(experiments)})" if len(experiments) > 1 else ""
            ended.append(self._one(experiment, experiment.name + of_many))
        ended += [Ended.not_started(left.name) for left in experiments[len(ended) :]]
        if len(experiments) > 1:
            self.screen.show(overview([each.row for each in ended]))
        return ended

    def _one(self, experiment: Experiment, title: str) -> Ended:
        try:
            with self.screen.run(title) as listener:
                result = execute(experiment, replace(self.options, listeners=(listener,)))
        except ChaosError as error:
            complain(f"{experiment.name} was not run: {error}")
            return Ended(error.exit_code, experiment.name, errors=(str(error),))
        ended = Ended(
            result.exit_code, experiment.name, result.directory, result.verdict, result.errors
        )
        self.screen.show(
            summary(result.verdict, result.directory, result.errors, result.exit_code)
            if result.verdict
            else without_verdict(result.directory, result.errors)
        )
        return ended
