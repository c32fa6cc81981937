"""What each node gets of the place where it runs, whatever its system is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from chaos.errors import Unavailable
from chaos.spi import GivesClocks, GivesDisks, NeedsDisk, Runtime, Volume

CLOCK = "clock"
"""What faults claim that act on clocks."""


@dataclass(frozen=True)
class Machine:
    """These keys stand under `cluster:` beside those of the broker."""

    disk: Volume | None = None
    """Gives each node a disk of its own for its data, for the faults that act on disks; left out:
    its data lies with that of the place. Needs the Docker runtime."""

    clock: Literal["shared", "own"] = "shared"
    """Whether each node has a wall clock of its own, for the faults that act on clocks. Needs the
    Docker runtime, and an image with libfaketime as ours has it."""

    def on(self, runtime: Runtime) -> Runtime:
        """The runtime that gives all of it. Raises Unavailable when this one cannot."""
        if self.disk is not None:
            if not isinstance(runtime, GivesDisks):
                raise Unavailable("it gives nodes no disks of their own")
            runtime = runtime.with_disks(self.disk)
        if self.clock == "own":
            if not isinstance(runtime, GivesClocks):
                raise Unavailable("it gives nodes no clocks of their own")
            runtime = runtime.with_clocks()
        return runtime


def needs_own(fault: type[Any]) -> bool:
    """Whether a fault acts on what nodes have of their own only where a Machine says so."""
    return issubclass(fault, NeedsDisk) or fault.claims == CLOCK


PLAIN = Machine()
"""Nothing but what the place has anyway."""
