"""What a worker works on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.experiment import Experiment
from chaos.spi import Address


@dataclass(frozen=True)
class Assignment:
    """`client` is the worker's name, `run` the number that marks the run's messages, `place` the
    number of the client whose place it holds (its own, unless that died)."""

    directory: Path
    client: str
    number: int
    place: int
    run: int
    experiment: Experiment
    clients: dict[str, Address]

    @staticmethod
    def read(
        directory: Path, role: str, number: int, place: int, experiment: Experiment
    ) -> Assignment:
        """From the run directory, where the engine wrote it."""
        about = json.loads((directory / "workers.json").read_text())
        clients = {name: Address(host, port) for name, (host, port) in about["clients"].items()}
        experiment = replace(experiment, stream=replace(experiment.stream, name=about["stream"]))
        client, run = f"{role}-{number}", about["run"]
        return Assignment(directory, client, number, place, run, experiment, clients)


def read_experiment(directory: Path) -> Experiment:
    """The experiment of a run, as it is on record."""
    return Experiment.from_resolved(json.loads((directory / "experiment.json").read_text()))


def group_name(run: int) -> str:
    """The consumer group of a run, by its number."""
    return f"chaos-{run:x}"
