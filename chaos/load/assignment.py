"""What a worker works on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.experiment import Experiment
from chaos.spi import Address, Json


@dataclass(frozen=True)
class Assignment:
    """`client` is the worker's name, `run` the number that marks the run's messages, `place` the
    number of the client whose place it holds (its own, unless that died). `clients` begins with
    another node for each place, in turn, so that those who stay with one are spread."""

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
        nodes = list(about["clients"])
        turned = [*nodes[place % len(nodes) :], *nodes[: place % len(nodes)]]
        clients = {name: _address(*about["clients"][name]) for name in turned}
        experiment = replace(experiment, stream=replace(experiment.stream, name=about["stream"]))
        client, run = f"{role}-{number}", about["run"]
        return Assignment(directory, client, number, place, run, experiment, clients)


def for_all(run: int, stream: str, clients: Mapping[str, Address]) -> Json:
    """What `Assignment.read` needs in `workers.json`."""
    addresses = {name: (at.host, at.port, at.others) for name, at in clients.items()}
    return {"run": run, "stream": stream, "clients": addresses}


def _address(host: str, port: int, others: list[tuple[str, int]]) -> Address:
    return Address(host, port, tuple((name, number) for name, number in others))


def read_experiment(directory: Path) -> Experiment:
    """The experiment of a run, as it is on record."""
    return Experiment.from_resolved(json.loads((directory / "experiment.json").read_text()))


def group_name(run: int) -> str:
    """The consumer group of a run, by its number."""
    return f"chaos-{run:x}"
