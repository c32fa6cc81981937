"""The directory of a run: everything that was seen, so that a verdict can be recomputed from it.

runs/<time>-<name>/experiment.json   the experiment with all defaults, seed and overrides
                   workers.json      what the worker processes were told of the cluster
                   events.jsonl      see chaos.history.events
                   history/          see chaos.history.schema
                   logs/             what brokers and workers logged
                   verdict.json      see chaos.verdict
                   evidence.jsonl    every message that is wrong
                   report.html       all of it on a page, see chaos.report
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from chaos.errors import HistoryError
from chaos.experiment import Experiment
from chaos.files import write_whole
from chaos.spi import Json


def create(parent: Path, name: str) -> Path:
    """A new, empty run directory, named so that runs sort by time. Raises HistoryError."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            directory = parent / f"{stamp}-{name}{suffix}"
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory
    except OSError as error:
        raise HistoryError(f"{parent}: no run directory can be made: {error}") from error
    raise HistoryError(f"{parent}: too many runs of {name} begin in this second")


def write_json(path: Path, value: Json) -> None:
    """Write one of the files above, whole or not at all. Raises HistoryError."""
    try:
        write_whole(path, json.dumps(value, indent=1) + "\n")
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error


def read_experiment(directory: Path) -> Experiment:
    """The experiment of a run. Raises HistoryError when this is no run directory."""
    try:
        resolved = json.loads((directory / "experiment.json").read_text())
    except (OSError, ValueError) as error:
        raise HistoryError(f"{directory}: not a run: {error}") from error
    return Experiment.recorded(resolved)
