"""Whether a runtime can do what an experiment asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaos import registry
from chaos.errors import ChaosError, Problem
from chaos.experiment.build import Experiment
from chaos.experiment.source import split_path
from chaos.plugin import Flaw
from chaos.spi import ChecksRuntime, Foresees, GivesClocks, GivesDisks


def place_problems(
    experiment: Experiment, runtime_name: str, runtime_class: type[Any]
) -> list[Problem]:
    """What of an experiment cannot be had on a runtime, and where it can."""
    runtime = runtime_class()
    flaws = []
    if isinstance(runtime, Foresees):
        flaws = [
            Flaw(split_path(dotted), what) for dotted, what in runtime.problems(experiment.broker)
        ]
    if experiment.machine.disk and not isinstance(runtime, GivesDisks):
        what = f"the {runtime_name} runtime gives nodes no disks of their own: use {elsewhere()}"
        flaws.append(Flaw(("cluster", "disk"), what))
    if experiment.machine.clock == "own" and not isinstance(runtime, GivesClocks):
        what = f"the {runtime_name} runtime gives nodes no clocks of their own: use {elsewhere()}"
        flaws.append(Flaw(("cluster", "clock"), what))
    for index, step in enumerate(experiment.faults):
        if isinstance(step.fault, ChecksRuntime) and (what := step.fault.runtime_problem(runtime)):
            flaws.append(Flaw(("faults", index, "fault"), what))
    if not runtime.meshed:
        flaws += _unlinked(experiment, runtime_name)
    return experiment.source.problems(flaws)


def _unlinked(experiment: Experiment, runtime_name: str) -> list[Flaw]:
    """Faults that act on links, which this runtime has no hold of."""
    return [
        Flaw(
            ("faults", index, "fault"),
            f"{step.name} acts on links between nodes, which the {runtime_name} runtime has no "
            f"hold of: use {elsewhere()}",
        )
        for index, step in enumerate(experiment.faults)
        if step.fault.needs_links
    ]


def elsewhere() -> str:
    """Where links and disks can be had, for people."""
    return " or ".join(f"--runtime {name}" for name in meshed()) or "a runtime with links"


def meshed() -> Iterator[str]:
    """The runtimes that have a hold of links."""
    for name in registry.names("runtimes"):
        try:
            if registry.load("runtimes", name).meshed:
                yield name
        except ChaosError:
            continue  # one that cannot be loaded is no help either
