"""Clocks of the nodes' own, and who has to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chaos.spi.cluster import Runtime


@dataclass(frozen=True)
class Skew:
    """How far a wall clock is ahead of this machine's (negative: behind), in seconds, and how many
    seconds more of it each second brings."""

    offset_s: float = 0.0
    drift: float = 0.0


class Clocks(Protocol):
    """The wall clocks of nodes; what measures durations (CLOCK_MONOTONIC) is nobody's to change.
    All are idempotent and raise ClusterError."""

    def set(self, node: str, skew: Skew) -> None:
        """From now on. Processes of the node see it within a second; a later start keeps it."""

    def read(self, node: str) -> float:
        """How far ahead its clock is now, as a process in the node's place reads it; seconds. Of a
        node that runs; ClusterError where the broker's process does not go by this clock."""


@runtime_checkable
class Clocked(Protocol):
    """Ability of a Cluster: each node has a wall clock of its own."""

    @property
    def clocks(self) -> Clocks:
        """See there."""


@runtime_checkable
class GivesClocks(Protocol):
    """Ability of a Runtime: it can give each node a wall clock of its own."""

    def with_clocks(self) -> Runtime:
        """A runtime like this one whose new clusters are Clocked; its `check` tells why clocks
        cannot be had here."""
