"""Failover: how long clients were without service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

import numpy as np

from chaos.spi import Batch, Facts, Figure, Finding, Stage, Verdict
from chaos_verifiers import buckets, gaps, interruptions, liveness, records, stages
from chaos_verifiers.interruptions import ACKED, ALL, DELIVERED, Interruption, Served
from chaos_verifiers.thresholds import Positive


@dataclass
class State:
    """When whom was served, and by bucket of due time the longest latency in ns."""

    served: Served = field(default_factory=Served)
    latency: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failover:
    """Measures what clients see of a fault: the longest time between two acknowledgements of one
    producer by one partition that overlaps the time for which the fault counts as on, and the
    longest time without a delivery from a partition.

    A gap counts as an interruption when it is longer than 100 ms and than three times the longest
    one of the same kind before the first fault; so a partition that is seldom written to, or has
    nothing to do with the fault, is not blamed. Every client is looked at on its own, as an outage
    does not end with the first success of any of them; rows for `all` tell when the partition
    served nobody. Deliveries of a partition may move from one consumer to another, so there `all`
    counts.

    Each fault is told in stages: suspected by the cluster, new leader elected (where others than
    those who elect tell it to clients), new leader chosen, first acknowledged, first delivered,
    in-sync set whole; for the partition as a whole (`all`) and for each client that was
    interrupted. A change counts for every fault that is on then, on a node that holds the
    partition, until another one begins after its end. Figures `until ...` count from the start of
    the fault, without the time in which no majority was in service: faults on so many nodes, and no
    controller named. A client that waited longer than `max` only because the fault took its time to
    be undone gives UNKNOWN.

    Proved: no acknowledgement came in the time that is told, to the ns of the client's clock; what
    the cluster did, it did within the uncertainty of its stage. Not proved: what caused it, and
    when exactly the service was back (that needs a message that tries).
    """

    max: Positive | None = None
    """Longest interruption for a PASS; unset: it is only told."""
    leader: Positive | None = None
    """Longest time from the start of a fault until a new leader is chosen; unset: only told."""
    in_sync: Positive | None = None
    """Longest time from the start of a fault until the in-sync set is whole; unset: only told."""

    question: ClassVar[str] = "How long were clients without service?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if batch.table == "deliveries":
            gaps.follow(state.served.deliveries, batch, "received_ns")
            return state
        acked = records.acknowledged(batch)
        gaps.follow(state.served.acks, acked, "done_ns")
        if len(acked):
            first, place, count = buckets.split(acked["due_ns"])
            longest = np.zeros(count, np.int64)
            np.maximum.at(longest, place, acked["done_ns"] - acked["due_ns"])
            buckets.merge(state.latency, first, longest, max)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        gaps.merge(a.served.acks, b.served.acks)
        gaps.merge(a.served.deliveries, b.served.deliveries)
        for bucket, latency_ns in b.latency.items():
            a.latency[bucket] = max(latency_ns, a.latency.get(bucket, 0))
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        if not facts.faults:
            verdict = Verdict.PASS if self.max is None else Verdict.UNKNOWN
            return Finding(verdict, "There was no fault, so nothing had to fail over.")
        before_ns = min(fault.started_ns for fault in facts.faults)
        if not any(track.first_ns < before_ns for track in state.served.acks.values()):
            return Finding(Verdict.UNKNOWN, "Nothing was acknowledged before the first fault.")
        found = interruptions.find(state.served, facts, before_ns)
        staged = stages.find(facts, found)
        figures = (*self._figures(state, facts, found, before_ns), *self._staged(facts, staged))
        late = self._late_heal(figures, state, facts, before_ns)
        verdict, why = self._judge(figures, found, late)
        if verdict is Verdict.PASS and (unknown := self._not_known(facts, staged)):
            verdict, why = Verdict.UNKNOWN, f"{why} {unknown}"
        details = tuple(map(asdict, found))
        return Finding(verdict, why, figures, details=details, stages=tuple(staged))

    def _figures(
        self, state: State, facts: Facts, found: Sequence[Interruption], before_ns: int
    ) -> tuple[Figure, ...]:
        def worst(what: str, whole: bool) -> float:
            lengths = [g.gap_s for g in found if g.what == what and (g.client == ALL) is whole]
            return max(lengths, default=0.0)

        usual_ns = max(
            interruptions.usual_ns(track.spans(0), facts, before_ns)
            for track in state.served.acks.values()
        )
        return (
            records.at_most("longest without acknowledgement", worst(ACKED, False), self.max, "s"),
            records.at_most("longest without delivery", worst(DELIVERED, True), self.max, "s"),
            Figure("longest of a partition for all clients", worst(ACKED, True), "s"),
            Figure("longest before the first fault", usual_ns / 1e9, "s"),
            Figure("longest latency from due time", _latency_s(state, facts), "s"),
            Figure("interruptions", len(found), "rows"),
        )

    def _staged(self, facts: Facts, staged: Sequence[Stage]) -> tuple[Figure, ...]:
        """The worst of each stage, from the start of its fault."""
        limits = {stages.LEADER: self.leader, stages.IN_SYNC: self.in_sync}
        stood = liveness.stopped(facts)
        figures = []
        for name in stages.NAMES:
            took = [liveness.until_s(facts, s, stood) for s in staged if s.name == name]
            figure = records.at_most(f"until {name}", max(took, default=0.0), limits.get(name), "s")
            figures.append(figure if took else replace(figure, value=None))
        standing_s = sum(((stood[:, 1] - stood[:, 0]) / 1e9).tolist())
        return (*figures, Figure("without a majority", standing_s, "s"))

    def _not_known(self, facts: Facts, staged: Sequence[Stage]) -> str:
        """Why a threshold of a stage cannot be held against what is on record; empty: it can."""
        for name, limit in ((stages.LEADER, self.leader), (stages.IN_SYNC, self.in_sync)):
            if limit is None:
                continue
            if not any(sighting.view.leaders for sighting in facts.sightings):
                return "The leaders are not on record."
            if any(stage.name == name and stage.ended_ns is None for stage in staged):
                return f"The stage '{name}' had not ended when the record did."
        return ""

    def _judge(
        self, figures: Sequence[Figure], found: Sequence[Interruption], late: str
    ) -> tuple[Verdict, str]:
        acked, delivered, _, usual, *_ = (figure.value or 0.0 for figure in figures)
        if self.max is not None and usual > self.max:
            why = f"Already before the first fault nothing was acknowledged for {usual:.3f} s."
            return Verdict.UNKNOWN, why
        told = (
            f"A client waited up to {acked:.3f} s for an acknowledgement"
            f" and {delivered:.3f} s for a delivery."
        )
        if any(figure.ok is False for figure in figures):
            return (Verdict.UNKNOWN, f"{told} But {late}") if late else (Verdict.FAIL, told)
        if self.max is not None and interruptions.noticeable_s(usual) > self.max:
            why = f"{told} But a client waited {usual:.3f} s even before the first fault: with so"
            return (
                Verdict.UNKNOWN,
                f"{why} little load an interruption of {self.max:g} s is not seen.",
            )
        if any(gap.first_after_ns is None for gap in found):
            return Verdict.UNKNOWN, f"{told} It had not ended when the load did."
        return Verdict.PASS, told if found else "No client noticed the faults."

    def _late_heal(
        self, figures: Sequence[Figure], state: State, facts: Facts, before_ns: int
    ) -> str:
        """Why what was too long is not held against the brokers; empty: it is, or nothing was."""
        failed = [figure for figure in figures if figure.ok is False]
        if self.max is None or not failed or not set(failed) <= set(figures[:2]):
            return ""
        too_long = interruptions.too_long(state.served, facts, before_ns, self.max)
        return interruptions.late_heal(too_long, self.max, facts)


def _latency_s(state: State, facts: Facts) -> float:
    found = [
        latency_ns
        for fault in facts.faults
        for latency_ns in buckets.between(
            state.latency, fault.started_ns, fault.ended_ns or facts.load_ended_ns
        )
    ]
    return max(found, default=0) / 1e9
