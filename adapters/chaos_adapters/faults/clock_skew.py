"""`clock.skew`: the wall clock of a node is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import copysign
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import Clocked, Clocks, Cluster, Effect, Injection, Presence, Rig, Skew, Target
from chaos_adapters.faults.process import running

_NEAR_S = 0.25
_LEAST_S = 1.0
_LEAST_DRIFT = 0.05  # makes a difference within 5 s
_SET = "set at"


@dataclass(frozen=True)
class ClockSkew:
    """Has the wall clocks of the target nodes jump by so many seconds, or drift; heal sets them
    right, which is a jump, too.

    What measures durations goes on as before, as on a machine whose time was set: time-outs are
    not touched, timestamps are. By libfaketime, so in images only that have it, and with
    `clock: own` under `cluster`. Proof: the broker's process has the library loaded, and a process
    beside it reads a clock that is off by what was asked for, within 0.25 s, and one second's
    drift; a drift of at least 0.05 has to have brought over 0.25 s. After heal it is off by no more
    than that.
    """

    claims: ClassVar[str] = "clock"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose clock it is."""
    seconds: float = 60.0
    """How far it jumps; negative: back. With a drift it may be 0."""
    drift: Annotated[float, Field(ge=-0.9, le=9)] = 0.0
    """How many seconds more each second brings: 0.01 is 36 s an hour ahead. One below 0.05 needs
    a jump, which is then what is proved."""

    def __post_init__(self) -> None:
        """What cannot be told from none would prove nothing."""
        if abs(self.seconds) < _LEAST_S and abs(self.drift) < _LEAST_DRIFT:
            raise ValueError(
                "seconds should be at least 1, ahead or back, or drift at least 0.05: less cannot "
                "be told from a clock that is right"
            )

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """All clocks have to be right as yet."""
        nodes = running(rig, self.target, "skew the clock of")
        for name in nodes:
            if abs(ahead := clocks_of(rig.cluster).read(name)) > _NEAR_S:
                raise FaultError(f"the clock of {name} is off by {ahead:.3f} s even now")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """One after the other."""
        for name in injection.nodes:
            clocks_of(cluster).set(name, Skew(self.seconds, self.drift))
            injection.data.setdefault(_SET, {})[name] = time.monotonic()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What their clocks say."""
        figures, off, right = {}, [], []
        for name in injection.nodes:
            ahead = clocks_of(cluster).read(name)
            since_s = time.monotonic() - injection.data.get(_SET, {}).get(name, time.monotonic())
            wanted = self.seconds + self.drift * since_s
            figures[name] = f"{ahead:+.3f} s, asked for {wanted:+.3f} s"
            near = abs(ahead - wanted) <= _NEAR_S + abs(self.drift) and abs(ahead) > _NEAR_S
            off.append(near and self._drifts(ahead))
            right.append(abs(ahead) <= _NEAR_S)
        if all(off):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(right) else Presence.PARTIAL, figures)

    def _drifts(self, ahead: float) -> bool:
        """A clock that only jumped is near enough at first, whatever drift was asked for."""
        if abs(self.drift) < _LEAST_DRIFT:
            return True
        return (ahead - self.seconds) * copysign(1, self.drift) > _NEAR_S

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """As this machine's."""
        attempt_all(lambda name: clocks_of(cluster).set(name, Skew()), injection.nodes)


def clocks_of(cluster: Cluster) -> Clocks:
    """The clocks of its nodes. Raises FaultError where they have none of their own."""
    if not isinstance(cluster, Clocked):
        raise FaultError("nodes have no clocks of their own; write `clock: own`")
    return cluster.clocks
