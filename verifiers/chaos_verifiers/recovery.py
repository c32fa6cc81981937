"""Recovery: when everything was as it had been before the fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.spi import Batch, Facts, Figure, Finding, Json, Verdict
from chaos_verifiers import levels, records
from chaos_verifiers.levels import Return, Served
from chaos_verifiers.thresholds import Positive, Share


@dataclass(frozen=True)
class Recovery:
    """Measures how long after the heal of a fault all was as it had been before the first one.

    - *in-sync sets*: each partition has a leader, and all of its replicas are in sync;
    - *backlog*: consumers are no further behind what is acknowledged (offsets, summed over the
      partitions) than twice the most of the baseline, or what is acknowledged in 0.1 s;
    - *throughput*: in a second at least `share` as many messages were acknowledged as in the mean
      second of the baseline;
    - *latency*: 99 % of the messages that were due in a second were acknowledged, counted from when
      they were due, within `factor` times what the worst second of the baseline took, or within
      `slack` more.

    The baseline is the load before the first fault. Each is back when it stays so for `hold`; one
    that was back before the heal, or never left, counts as 0 s. Faults that overlap count as one.
    What is asked for is the time of the last of them, from the heal that was measured.

    Proved: from the time that is told on, for `hold`, service was in that band (to 0.1 s; in-sync
    sets: between two looks). Not proved: that it was the fault that took it out of the band.
    """

    max: Positive | None = None
    """Longest time from the heal until all of them are back for a PASS; unset: it is only told."""
    share: Share = 0.9
    """Of the baseline's throughput."""
    factor: Annotated[float, Field(ge=1)] = 2.0
    """Times the baseline's 99th percentile of latency."""
    slack: Positive = 0.05
    """Beyond the baseline's 99th percentile of latency."""
    hold: Positive = 3.0
    """How long service has to stay as it was to count as back."""

    question: ClassVar[str] = "How soon after the fault was everything as before?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries"})

    def start(self) -> Served:
        """See Verifier."""
        return Served()

    def fold(self, state: Served, batch: Batch) -> Served:
        """See Verifier."""
        if batch.table == "deliveries":
            state.add_deliveries(batch)
        else:
            state.add_acks(records.acknowledged(batch))
        return state

    def merge(self, a: Served, b: Served) -> Served:
        """See Verifier."""
        a.merge(b)
        return a

    def finish(self, state: Served, facts: Facts) -> Finding:
        """See Verifier."""
        if not facts.faults:
            verdict = Verdict.PASS if self.max is None else Verdict.UNKNOWN
            return Finding(verdict, "There was no fault, so nothing had to recover.")
        usual = levels.usual(state, facts)
        if usual is None:
            verdict = Verdict.PASS if self.max is None else Verdict.UNKNOWN
            return Finding(verdict, "The load before the first fault is too short to compare with.")
        band = levels.Band(
            self.share * usual.rate, max(self.factor * usual.p99_s, usual.p99_s + self.slack),
            max(2 * usual.backlog, usual.rate), self.hold,
        )  # fmt: skip
        returns = [
            found
            for span in levels.spans(facts)
            for found in (
                *levels.whole(span, facts, self.hold),
                *levels.service(span, band, state),
            )
        ]
        figures = (
            self._all_back(returns),
            *(
                Figure(f"{what} after", _longest([r for r in returns if r.what == what]), "s")
                for what in (levels.IN_SYNC, levels.BACKLOG, levels.THROUGHPUT, levels.LATENCY)
            ),
            Figure("from the effect on", _longest(returns, effect=True), "s"),
            Figure("throughput before the first fault", usual.rate * levels.A_SECOND, "messages/s"),
            Figure("p99 before the first fault", usual.p99_s, "s"),
        )
        verdict, why = self._judge(returns, figures[0])
        return Finding(verdict, why, figures, tuple(_rows(returns)))

    def _all_back(self, returns: Sequence[Return]) -> Figure:
        name, longest_s = "all back after", _longest(returns)
        if self.max is None or longest_s is None:
            return Figure(name, longest_s, "s")
        return records.at_most(name, longest_s, self.max, "s")

    def _judge(self, returns: Sequence[Return], all_back: Figure) -> tuple[Verdict, str]:
        open_ = [found for found in returns if found.after_heal_s is None]
        if open_:
            waited_s = max(found.span.left_s for found in open_)
            names = ", ".join(dict.fromkeys(found.what for found in open_))
            why = f"Not back {waited_s:.1f} s after the heal, when the look at it ended: {names}."
            if self.max is None:
                return Verdict.PASS, why
            late = any(found.span.left_s - self.hold > self.max for found in open_)
            return (Verdict.FAIL if late else Verdict.UNKNOWN), why
        last = max(returns, key=lambda found: found.after_heal_s or 0.0)
        why = f"All was as before {last.after_heal_s or 0.0:.1f} s after the heal"
        why += f"; the last was: {last.what}." if last.after_heal_s else "."
        return (Verdict.FAIL if all_back.ok is False else Verdict.PASS), why


def _longest(returns: Sequence[Return], *, effect: bool = False) -> float | None:
    """None when one of them is not back, or there is none."""
    times = [found.after_effect_s if effect else found.after_heal_s for found in returns]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _rows(returns: Sequence[Return]) -> Iterator[Json]:
    for found in returns:
        span = found.span
        yield {
            "fault": span.name, "what": found.what, "back_ns": found.back_ns,
            "after_heal_s": found.after_heal_s, "after_effect_s": found.after_effect_s,
            "within_s": found.within_s, "healed_ns": span.healed_ns,
        }  # fmt: skip
