"""Experiment files: what one says, checked before anything starts."""

from chaos.experiment.build import AUTO, Experiment, load_experiment
from chaos.experiment.place import place_problems
from chaos.experiment.records import Consumers, Load, Phases, Producers, Step

__all__ = [
    "AUTO", "Consumers", "Experiment", "Load", "Phases", "Producers", "Step", "load_experiment",
    "place_problems",
]  # fmt: skip
