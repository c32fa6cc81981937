"""Whether a runtime can do what an experiment asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaos import registry
from chaos.errors import ChaosError, Problem
from chaos.experiment.build import Experiment
from chaos.plugin import Flaw


def place_problems(
    experiment: Experiment, runtime_name: str, runtime_class: type[Any]
) -> list[Problem]:
    """The faults of an experiment that cannot be had on a runtime, and where they can."""
    if runtime_class.meshed:
        return []
    elsewhere = " or ".join(f"--runtime {name}" for name in meshed()) or "a runtime with links"
    flaws = [
        Flaw(
            ("faults", index, "fault"),
            f"{step.name} acts on links between nodes, which the {runtime_name} runtime has no "
            f"hold of: use {elsewhere}",
        )
        for index, step in enumerate(experiment.faults)
        if step.fault.needs_links
    ]
    return experiment.source.problems(flaws)


def meshed() -> Iterator[str]:
    """The runtimes that have a hold of links."""
    for name in registry.names("runtimes"):
        try:
            if registry.load("runtimes", name).meshed:
                yield name
        except ChaosError:
            continue  # one that cannot be loaded is no help either
