"""How a cluster is looked at from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class View:
    """What the cluster says of itself at one moment; None and empty mean "it does not say".

    `leaders`, `replicas` and `in_sync` are by partition (or queue) number of the run's stream;
    `alive` are the nodes that the cluster counts as alive; `dissenting` those that go on telling
    other, older leaders than the rest, as one does that is cut off. `alarms` are by node, such as
    "disk"; `apart` is by node from whom it says that it was parted; `rivals` is by partition the
    leaders that are named at once, each with the nodes that name it. `elected` is by partition who
    was chosen to lead, where others than those who choose tell it to clients.
    """

    controller: str | None = None
    leaders: Mapping[int, str | None] = field(default_factory=dict)
    replicas: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    in_sync: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    alive: tuple[str, ...] = ()
    dissenting: tuple[str, ...] = ()
    alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rivals: Mapping[int, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    elected: Mapping[int, str] = field(default_factory=dict)


class Observer(Protocol):
    """Looks at a cluster from outside, cheaply enough to be asked several times a second."""

    def observe(self, timeout_s: float) -> View:
        """One look: what was so at some moment while it was taken. Raises ClusterError when no node
        answers in time."""

    def close(self) -> None:
        """Give the connections back."""


@runtime_checkable
class Paced(Protocol):
    """Ability of an Observer: it tells how often to look, where looks are dear."""

    @property
    def every_s(self) -> float:
        """Seconds between the starts of two looks."""


@dataclass(frozen=True)
class Group:
    """A consumer group as the cluster sees it. `lag` is by partition: stored messages from the
    group's committed position on."""

    state: str
    members: int
    lag: Mapping[int, int]


@runtime_checkable
class ObservesGroups(Protocol):
    """Ability of an Observer: it can tell the state and the backlog of a consumer group."""

    def group(self, name: str, timeout_s: float) -> Group:
        """One look: what was so at some moment while it was taken. Raises ClusterError when no node
        answers in time."""
