"""Availability: how much of the load was served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np

from chaos.spi import Batch, Facts, Figure, Finding, Json, Verdict
from chaos_verifiers import gaps, interruptions, records
from chaos_verifiers.gaps import Spans, Track, Tracks
from chaos_verifiers.records import Messages
from chaos_verifiers.schedule import DueTimes
from chaos_verifiers.thresholds import Count, Positive, Share

_OPEN_NS = 1_000_000_000
"""Messages that were due so shortly before the first fault are not held against the baseline."""


@dataclass
class State:
    """When whom was served, which messages were served in time, and when they were due."""

    acks: Tracks = field(default_factory=dict)
    served: Messages = field(default_factory=lambda: Messages(np.bool_))
    due: DueTimes = field(default_factory=DueTimes)


@dataclass(frozen=True)
class Availability:
    """The share of the due messages that was acknowledged, and the longest times in which a client
    got no acknowledgement at all, or a partition gave none.

    Load is open: what was due and could not even be handed over counts as not served. What the
    baseline before the first fault does not meet cannot be blamed on a fault and gives UNKNOWN, as
    does a gap that is too long only because the fault took its time to be undone.

    Proved: the counts (the window of the load may be off by one message of a producer), and that no
    acknowledgement came in the times that are told. Not proved: anything about a partition that
    never acknowledged anything, as nothing tells that there is one. Where the broker told clients
    that it blocks them, how many and for how long is what it told them, up to a second late.
    """

    min_share: Share | None = None
    """Least share of due messages to be served for a PASS, 0 to 1."""
    max_gap: Positive | None = None
    """Longest time without an acknowledgement for any client, or from any partition, for a PASS."""
    within: Positive | None = None
    """Count a message as served only if acknowledged so soon after its due time."""
    min_blocked: Count | None = None
    """Fewest clients that the broker has to block for a PASS: whether an alarm does what it is
    there for."""

    question: ClassVar[str] = "How much of the load was served?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier."""
        if not len(batch):
            return state
        acked = records.acknowledged(batch)
        gaps.follow(state.acks, acked, "done_ns")
        in_time = acked
        if self.within is not None:
            late_ns = acked["done_ns"] - acked["due_ns"]
            in_time = records.select(acked, late_ns <= self.within * 1e9)
        for key, _, places in records.pages(in_time):
            state.served.page(key)[places] = True
        state.due.add(batch)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        gaps.merge(a.acks, b.acks)
        a.served.merge(b.served, np.bitwise_or)
        a.due.merge(b.due)
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        due = sum(facts.due.values())
        if not due:
            return Finding(Verdict.UNKNOWN, "It is not on record how many messages were due.")
        before_ns = min([f.started_ns for f in facts.faults], default=facts.load_started_ns)
        rows = sorted(_rows(state, facts, before_ns), key=lambda row: -row["gap_s"])
        share = _served(state, facts, facts.due) / due
        figures = (
            Figure("served", share, "share", *_at_least(share, self.min_share)),
            records.at_most("longest gap", rows[0]["gap_s"], self.max_gap, "s"),
            Figure("served before the first fault", _early(state, facts, before_ns), "share"),
            Figure("longest gap before the first fault", max(r["usual_s"] for r in rows), "s"),
            Figure("longest gap of all clients", _overall_s(state, facts), "s"),
            Figure("due", due, "messages"),
            *self._blocked(facts),
        )
        told = f"{share:.2%} of {due:,} due messages were served; {rows[0]['who']} had the longest"
        told += f" gap, {rows[0]['gap_s']:.3f} s."
        if (missed := self._missed_before(figures)) is not None:
            return Finding(Verdict.UNKNOWN, missed, figures, tuple(rows))
        failed = [figure for figure in figures if figure.ok is False]
        if failed == [figures[1]] and (late := self._late_heal(state, facts)):
            return Finding(Verdict.UNKNOWN, f"{told} But {late}", figures, tuple(rows))
        return Finding(Verdict.FAIL if failed else Verdict.PASS, told, figures, tuple(rows))

    def _late_heal(self, state: State, facts: Facts) -> str:
        """Why gaps that were too long are not held against the brokers; empty: they are."""
        limit_s = self.max_gap or 0.0
        too_long = (
            pair
            for _, spans in _gaps(state, facts)
            for pair in gaps.pairs(gaps.longer(spans, limit_s))
        )
        return interruptions.late_heal(too_long, limit_s, facts)

    def _blocked(self, facts: Facts) -> Iterator[Figure]:
        """How long the broker told a client at most that it takes nothing from it, if it told
        anybody: it says so when something of its own runs out (disk, memory)."""
        spans = [
            (client, until_ns - since_ns)
            for client, changes in facts.blocked.items()
            for (since_ns, why), (until_ns, _) in pairwise((*changes, (facts.load_ended_ns, None)))
            if why
        ]
        count, least = len({client for client, _ in spans}), self.min_blocked
        if spans or least is not None:
            kept = ("", None) if least is None else (f">= {least}", count >= least)
            yield Figure("blocked by the broker", count, "clients", *kept)
        if spans:
            yield Figure("longest block", max(span_ns for _, span_ns in spans) / 1e9, "s")

    def _missed_before(self, figures: tuple[Figure, ...]) -> str | None:
        """What the baseline did not meet."""
        share, gap_s = figures[2].value, figures[3].value or 0.0
        if self.min_share is not None and share is not None and share < self.min_share:
            return f"Already before the first fault only {share:.2%} of the messages were served."
        if self.max_gap is not None and gap_s > self.max_gap:
            return f"Already before the first fault there was a gap of {gap_s:.3f} s."
        return None


def _at_least(share: float, least: float | None) -> tuple[str, bool | None]:
    return ("", None) if least is None else (f">= {least:g}", share >= least)


def _served(state: State, facts: Facts, counts: Mapping[int, int]) -> int:
    """How many were served of so many messages of each producer, from the start of the load on."""
    served = 0
    for producer, count in counts.items():
        if producer in state.due.producers:
            first = state.due.before(producer, facts.load_started_ns)
            served += state.served.count_between(producer, first, first + count)
    return served


def _early(state: State, facts: Facts, before_ns: int) -> float | None:
    """The share that was served before the first fault; None when nothing was due then."""
    # What was due just before may have been open when the fault struck: that is its doing.
    before_ns -= min(_OPEN_NS, (before_ns - facts.load_started_ns) // 2)
    counts = {}
    for number in state.due.producers:
        first = state.due.before(number, facts.load_started_ns)
        counts[number] = state.due.before(number, before_ns) - first
    due = sum(counts.values())
    return _served(state, facts, counts) / due if due > 0 else None


def _overall_s(state: State, facts: Facts) -> float:
    return gaps.length_ns(_while_loaded(state.acks.values(), facts)) / 1e9


def _while_loaded(tracks: Iterable[Track], facts: Facts) -> Spans:
    """The gaps that they have in common, cut to the time in which load was offered."""
    spans = gaps.together(tracks, facts.load_started_ns, facts.load_ended_ns)
    return np.clip(spans, facts.load_started_ns, facts.load_ended_ns)


def _gaps(state: State, facts: Facts) -> Iterator[tuple[str, Spans]]:
    """Of each client and each partition."""
    silent = {f"producer-{number}" for number, due in facts.due.items() if due}
    tracks = {name: list(some) for name, some in gaps.by_client(state.acks).items()}
    for number, some in gaps.by_partition(state.acks).items():
        tracks[f"partition {number}"] = some
    for who in sorted(tracks.keys() | silent):
        spans = _while_loaded(tracks.get(who, []), facts)
        if who in facts.lives:
            from_ns, until_ns = facts.lives[who]
            spans = np.clip(spans, from_ns, max(from_ns, until_ns))
        yield who, spans


def _rows(state: State, facts: Facts, before_ns: int) -> Iterator[Json]:
    for who, spans in _gaps(state, facts):
        start, end = gaps.longest(spans)
        usual = gaps.inside(spans, facts.load_started_ns, before_ns)
        yield {
            "who": who, "gap_s": (end - start) / 1e9, "usual_s": gaps.length_ns(usual) / 1e9,
            "from_ns": start or None, "until_ns": end or None,
        }  # fmt: skip
