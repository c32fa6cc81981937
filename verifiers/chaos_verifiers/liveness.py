"""The liveness clock: it stands still while the cluster cannot be expected to go on.

Nobody can choose a leader without a majority, so such time counts against no one. What is known
of it: a fault is on at so many nodes that those it leaves alone are no majority, *and* the cluster
names no active controller. One alone is not enough: a fault may be on at all nodes and only slow
them down, or take them in turns; and an election takes its time. So nothing is known of a broker
that never names a controller, and its clock never stands still; nor are partial partitions that
leave every node in service seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from chaos.spi import Facts, Stage
from chaos_verifiers.gaps import NO_SPANS, Spans, common


def stopped(facts: Facts) -> Spans:
    """When the clock stands still."""
    disturbed = np.array([*_without_majority(facts)], np.int64).reshape(-1, 2)
    headless = np.array([*_without_controller(facts)], np.int64).reshape(-1, 2)
    return common([disturbed, headless]) if len(disturbed) and len(headless) else NO_SPANS


def counted_s(spans: Spans, from_ns: int, until_ns: int) -> float:
    """Seconds between two times, less those in `spans`."""
    overlap = np.minimum(spans[:, 1], until_ns) - np.maximum(spans[:, 0], from_ns)
    return float(max(0, until_ns - from_ns) - overlap.clip(0).sum()) / 1e9


def until_s(facts: Facts, stage: Stage, spans: Spans) -> float:
    """Counted seconds from the start of the stage's fault to its end, or to that of the record."""
    started_ns = next(fault.started_ns for fault in facts.faults if fault.name == stage.fault)
    return counted_s(spans, started_ns, stage.ended_ns or _end_ns(facts))


def _end_ns(facts: Facts) -> int:
    return max([facts.load_ended_ns, *(s.time_ns for s in facts.sightings)])


def _without_majority(facts: Facts) -> Iterator[tuple[int, int]]:
    nodes = {node for s in facts.sightings for node in s.view.alive}
    nodes |= {node for s in facts.sightings for held in s.view.replicas.values() for node in held}
    spans = [(f.started_ns, f.ended_ns or _end_ns(facts), f.nodes) for f in facts.faults]
    times = sorted({time_ns for start_ns, end_ns, _ in spans for time_ns in (start_ns, end_ns)})
    for start_ns, end_ns in itertools.pairwise(times):
        hit = {node for a, b, named in spans if a <= start_ns and end_ns <= b for node in named}
        if nodes and 2 * len(nodes - hit) <= len(nodes):
            yield start_ns, end_ns


def _without_controller(facts: Facts) -> Iterator[tuple[int, int]]:
    if not any(s.view.controller for s in facts.sightings):
        return
    ends = [*(s.time_ns for s in facts.sightings[1:]), _end_ns(facts)]
    for sighting, end_ns in zip(facts.sightings, ends, strict=True):
        if sighting.view.controller is None:
            yield sighting.time_ns, end_ns
