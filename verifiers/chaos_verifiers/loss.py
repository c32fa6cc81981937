"""Loss: acknowledged messages that never came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Batch, Facts, Figure, Finding, Verdict
from chaos_verifiers import fates, records
from chaos_verifiers.fates import State
from chaos_verifiers.thresholds import Count


@dataclass(frozen=True)
class Loss:
    """Compares what was acknowledged with what consumers got and with what is stored at the end.

    An acknowledged message that no consumer got intact, and that is not in the dead-letter stream
    either, is

    - *lost*: it is not stored although its partition was read back to the end; or, where that was
      not done, consumers got later messages of its partition, or another one at its offset;
    - *skipped*: it is stored, but consumers got later messages of its partition;
    - in the *unread tail*: it is stored, and consumers did not get that far before the deadline;
    - *unknown*: none of this can be told.

    A message of which the broker said that it is stored, but not as safe as was asked for (not
    flushed or copied in time), is not acknowledged, so it is not lost when it is gone: such are
    counted apart.

    What consumers got may be gone for whoever reads later: such messages have *vanished*. Where
    streams keep what was delivered, as Kafka's do, `max_vanished` judges them.

    Proved: each lost message was acknowledged, and is told by what it is, not by its offset, which
    another message may have taken after a truncation. Not proved: that a delivered message is safe
    for good (`delivered but no longer stored` tells those that already vanished), and
    anything about sends without an acknowledgement, which may appear or not.
    """

    max: Count = 0
    """Most lost messages for a PASS."""
    max_skipped: Count = 0
    """Most skipped messages for a PASS."""
    max_weak: Count | None = None
    """Most messages for a PASS that the broker called stored, but not as safe as was asked for."""

    max_vanished: Count | None = None
    """Most messages for a PASS that were acknowledged and delivered, and are not stored any more at
    the end; null: they are only counted. Of streams that keep what they delivered."""

    question: ClassVar[str] = "Were acknowledged messages lost?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends", "deliveries", "stored", "dead"})

    def start(self) -> State:
        """See Verifier."""
        return State()

    def fold(self, state: State, batch: Batch) -> State:
        """See Verifier. Cheapest when sends come last: then only what is missing is remembered."""
        if batch.table == "sends":
            fates.fold_sends(state, batch)
        else:
            fates.fold_copies(state, batch)
        return state

    def merge(self, a: State, b: State) -> State:
        """See Verifier."""
        fates.merge(a, b)
        return a

    def finish(self, state: State, facts: Facts) -> Finding:
        """See Verifier."""
        acked = fates.acknowledged(state)
        if not acked:
            return Finding(Verdict.UNKNOWN, "No message was acknowledged, so none could be lost.")
        missing = fates.missing(state, facts)
        vanished = fates.vanished(state, facts)
        weak, weak_gone = fates.weak(state)
        figures: tuple[Figure, ...] = (
            records.at_most("lost", len(missing["lost"]), self.max),
            records.at_most("skipped by consumers", len(missing["skipped"]), self.max_skipped),
            Figure("unread tail", len(missing["unread tail"]), "messages"),
            Figure("unknown", len(missing["unknown"]), "messages"),
            _vanished(vanished, self.max_vanished),
            Figure("acknowledged", acked, "messages"),
        )
        if weak or self.max_weak is not None:
            figures += (
                records.at_most("stored but not as safe as asked", weak, self.max_weak),
                Figure("of these gone", weak_gone, "messages"),
            )
        verdict, why = _judge(missing, self, acked)
        if self.max_weak is not None and weak > self.max_weak and verdict is not Verdict.FAIL:
            verdict, why = Verdict.FAIL, f"{weak:,} messages are stored but not as safe as asked."
        if self.max_vanished is not None and verdict is not Verdict.FAIL:
            verdict, why = _judge_vanished(vanished, self.max_vanished, verdict, why)
        if vanished is not None:
            missing["no longer stored"] = vanished
        return Finding(verdict, why, figures, anomalies=records.anomalies(missing))


def _vanished(rows: NDArray[np.int64] | None, limit: int | None) -> Figure:
    name = "delivered but no longer stored"
    if rows is None:
        return Figure(name, None, "messages")
    return records.at_most(name, len(rows), limit)


def _judge_vanished(
    rows: NDArray[np.int64] | None, limit: int, verdict: Verdict, why: str
) -> tuple[Verdict, str]:
    if rows is None:
        return Verdict.UNKNOWN, "Whether delivered messages are still stored cannot be told."
    if len(rows) > limit:
        return Verdict.FAIL, f"{len(rows):,} messages were delivered and are not stored any more."
    return verdict, why


def _judge(
    missing: Mapping[str, NDArray[np.int64]], limits: Loss, acked: int
) -> tuple[Verdict, str]:
    counts = {kind: len(rows) for kind, rows in missing.items()}
    of = f"of {acked:,} acknowledged messages"
    if counts["lost"] > limits.max:
        return Verdict.FAIL, f"{counts['lost']:,} {of} were lost."
    if counts["skipped"] > limits.max_skipped:
        return Verdict.FAIL, f"{counts['skipped']:,} {of} are stored but consumers skipped them."
    if counts["unknown"]:
        return Verdict.UNKNOWN, (
            f"{counts['unknown']:,} {of} were not delivered, and what is stored was not read back."
        )
    if counts["unread tail"]:
        return Verdict.UNKNOWN, (
            f"Consumers had not reached {counts['unread tail']:,} {of} at the deadline;"
            " they are stored."
        )
    if counts["lost"] or counts["skipped"]:
        return Verdict.PASS, f"{counts['lost'] + counts['skipped']:,} {of} are missing, as allowed."
    return Verdict.PASS, f"All {acked:,} acknowledged messages were delivered."
