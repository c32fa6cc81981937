"""`broker.elect`: the preferred leaders are brought back, at once."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import FaultError
from chaos.spi import (
    Broker,
    Cluster,
    Duration,
    Effect,
    ElectsLeaders,
    Injection,
    Presence,
    Rig,
)
from chaos_adapters.faults.process import await_nothing, managed

_ASK_S = 10.0
_ELECTED = "elected"


@dataclass(frozen=True)
class Elect:
    """Has each partition of the stream led by its preferred replica again.

    After failures the leaders are where the elections left them; operators bring them back, which
    disturbs clients for a moment. They wait until the cluster is whole, as one that is still behind
    cannot be elected. Proof: at least one leader changed, and each partition is led by
    its preferred replica; a partition whose preferred replica is not in sync spoils it.
    """

    claims: ClassVar[str] = "leaders"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = "at once: there is nothing to undo"

    whole_within: Duration = 60.0
    """How long it may take until the cluster is whole; 0s: elect whatever it lacks."""

    def broker_problem(self, broker: Broker) -> str:
        """See spi.ChecksBroker."""
        return "" if isinstance(broker, ElectsLeaders) else "this broker elects nobody on request"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Whoever should lead a partition."""
        cluster = managed(rig.cluster)
        preferred = set(_elector(cluster.broker).preferred(cluster.look()).values())
        return Injection(tuple(name for name in cluster.nodes if name in preferred))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Ask for the election."""
        operated = managed(cluster)
        if self.whole_within:
            what = "the cluster to be whole before the election"
            await_nothing(operated, operated.missing, what, self.whole_within)
        came = _elector(operated.broker).elect(cluster.clients, operated.stream, _ASK_S)
        injection.data[_ELECTED] = sum(not why for why in came.values())
        if refused := [f"partition {number}: {why}" for number, why in came.items() if why]:
            raise FaultError(f"not elected: {'; '.join(refused)}")

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Who leads, and how many were elected."""
        operated = managed(cluster)
        view, elected = operated.look(), injection.data.get(_ELECTED, 0)
        preferred = _elector(operated.broker).preferred(view)
        right = sum(view.leaders.get(number) == node for number, node in preferred.items())
        figures = {
            "partitions": len(preferred),
            "led by the preferred replica": right,
            "elected": elected,
        }
        if elected and right == len(preferred):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.PARTIAL if elected else Presence.NONE, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Nothing: this is how it should be."""

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:  # noqa: ARG002
        """None."""
        return Effect(Presence.NONE)


def _elector(broker: Broker) -> ElectsLeaders:
    if not isinstance(broker, ElectsLeaders):
        raise FaultError("this broker elects nobody on request")
    return broker
