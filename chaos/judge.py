"""From the record of a run to its verdict; `chaos run` and `chaos verify` both end here.

The history is read once for all verifiers. Their folds of one batch run side by side in threads
(numpy lets go of the interpreter for most of what they do) while the next batch is read. When they
name messages, the history is read a second time for the evidence.
"""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from chaos import verdict as report
from chaos.errors import HistoryError
from chaos.evidence import collect
from chaos.facts import FaultStory, Story, facts, not_final, read_story
from chaos.files import write_whole
from chaos.history.reader import Stream, streams
from chaos.spi import Batch, Caveat, Facts, Finding, Outcome, Question, Verdict, Verifier
from chaos.targets import client_names
from chaos.verdict import (
    Answer,
    CaveatRow,
    Document,
    Evidence,
    FaultRow,
    FigureRow,
    Label,
    StageRow,
)

_LABELLED = (
    Question.LOSS,
    Question.DUPLICATION,
    Question.PHANTOMS,
    Question.ORDERING,
    Question.DIVERGENCE,
    Question.HANDLING,
)
"""Questions for which settings promise something."""

_AT_WORK = 0.1
"""The least share of the load to be served before the first fault. Runs worth a verdict served 80 %
and more of it, those of clusters that had not really come up less than 1 %."""

_OPEN_NS = 1_000_000_000
"""Messages that were due so shortly before the first fault may still have been open."""


def judge(
    run_directory: Path, verifiers: Mapping[str, Verifier[Any]], caveats: Sequence[Caveat]
) -> Document:
    """Judge a run; writes `verdict.json` and `evidence.jsonl` into its directory.

    Raises HistoryError when there is no history, it is damaged (other than cut off at its end), or
    the verdict cannot be written.
    """
    # Arrow's own allocator returns pages after each batch, and the kernel clears them anew: that
    # took half as long as reading.
    pa.set_memory_pool(pa.system_memory_pool())
    story = read_story(run_directory)
    recorded = streams(run_directory)
    baseline = _Baseline(story)
    runners = [_Runner(name, verifier) for name, verifier in verifiers.items()]
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        for batch in _ahead(recorded, pool):
            baseline.see(batch)
            _together(pool, runners, batch)
        known = facts(story, recorded)
        findings = {runner.name: runner.finish(known) for runner in runners}
        evidence = collect(run_directory, story, findings, pool)
    answers = tuple(
        _answer(name, verifiers[name], finding, evidence[name], caveats)
        for name, finding in findings.items()
    )
    document = _document(story, recorded, known, answers, baseline)
    _write_evidence(run_directory / report.EVIDENCE, evidence)
    report.write(run_directory, document)
    return document


def _ahead(recorded: Sequence[Stream], pool: Executor) -> Iterator[Batch]:
    """All batches of all streams; the next one is read while the last one is worked on."""
    batches = (batch for stream in recorded for batch in stream.batches())
    upcoming = pool.submit(next, batches, None)
    while (batch := upcoming.result()) is not None:
        upcoming = pool.submit(next, batches, None)
        yield batch


def _together(pool: Executor, runners: Sequence[_Runner], batch: Batch) -> None:
    for done in [pool.submit(runner.fold, batch) for runner in runners]:
        done.result()


class _Runner:
    """One verifier at work. One that crashes gives UNKNOWN, and the others go on."""

    def __init__(self, name: str, verifier: Verifier[Any]) -> None:
        self.name, self._verifier, self._crash = name, verifier, ""
        self._state = self._attempt(verifier.start)

    def fold(self, batch: Batch) -> None:
        """Show it a batch, if it wants to see such."""
        if not self._crash and batch.table in self._verifier.tables:
            self._state = self._attempt(lambda: self._verifier.fold(self._state, batch))

    def finish(self, known: Facts) -> Finding:
        """Its answer."""
        finding = None
        if not self._crash:
            finding = self._attempt(lambda: self._verifier.finish(self._state, known))
        if self._crash or finding is None:
            return Finding(Verdict.UNKNOWN, f"The verifier crashed: {self._crash}")
        return cast(Finding, finding)

    def _attempt(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - its state, its own affair
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - a verifier: whatever it is, it is its answer
            at = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(at.filename).name}:{at.lineno}"
            self._crash = f"{type(error).__name__}: {error} ({place})"
            return None


class _Baseline:
    """Whether the cluster was at work between the start of the load and the first fault."""

    def __init__(self, story: Story) -> None:
        self._from_ns = story.load_started_ns or story.started_ns
        self._until_ns = story.spans[0].started_ns if story.spans else None
        self._due = 0
        if self._until_ns is not None and story.load_ended_ns is not None:
            share = (self._until_ns - self._from_ns - _OPEN_NS) / (
                story.load_ended_ns - self._from_ns
            )
            self._due = int(sum(story.due.values()) * max(0.0, share))
        self._acked = 0

    def see(self, batch: Batch) -> None:
        """Look at a batch."""
        if batch.table != "sends" or not self.lacks:
            return
        done_ns = batch["done_ns"]
        early = (batch["outcome"] == Outcome.OK) & (done_ns >= self._from_ns)
        if self._until_ns is not None:
            early &= done_ns < self._until_ns
        self._acked += int(np.count_nonzero(early))

    @property
    def lacks(self) -> str:
        """What is wrong with it; empty: nothing."""
        when = "" if self._until_ns is None else " before the first fault"
        if not self._acked:
            return f"No message was acknowledged{when}, so there is nothing to compare with."
        if self._acked < _AT_WORK * self._due:
            return (
                f"Only {self._acked:,} of some {self._due:,} messages due before the first fault"
                " were acknowledged by then: a cluster that hardly works shows little of what a"
                " fault does to it. See its logs; give it more time before the fault, or less load."
            )
        return ""


def _preconditions(story: Story, recorded: Sequence[Stream], baseline: _Baseline) -> list[str]:
    """What does not hold that a verdict rests on, a sentence each."""
    broken = [text for fault in story.faults.values() for text in _doubts(fault)]
    if baseline.lacks:
        broken.append(baseline.lacks)
    if story.interrupted:
        broken.append(f"The run was interrupted: {story.interrupted}.")
    broken += [f"The run went wrong: {error}." for error in story.errors]
    broken += [f"A client failed: {client}." for client in story.failed_clients]
    return [*broken, *_absent(story, recorded), *not_final(story, recorded)]


def _absent(story: Story, recorded: Sequence[Stream]) -> Iterator[str]:
    """What should be on record of a run that got as far as to offer load, and is not."""
    expects = story.expects
    if not expects or story.load_started_ns is None:
        return
    for fault in expects["faults"]:
        if fault not in story.faults:
            yield f"Fault {fault} of the experiment is not on record."
    there = {stream.client for stream in recorded}
    for client in [*client_names(expects["producers"], expects["consumers"]), *story.started]:
        if client not in there:
            yield f"There is no record of {client}."
    if expects["readable"]:
        yield from _unread(expects["partitions"], recorded, "stored", "Partition")
    if expects["readable"] and expects.get("dead_letter"):
        which = "Dead-letter partition"
        yield from _unread(expects["partitions"], recorded, "dead", which)


def _unread(partitions: int, recorded: Sequence[Stream], table: str, which: str) -> Iterator[str]:
    ends = {end.partition: end for s in recorded if s.table == table for end in s.ends}
    for number in range(partitions):
        end = ends.get(number)
        if end is None or end.read < end.end:
            yield f"{which} {number} was not read back to its end."


def _doubts(fault: FaultStory) -> Iterator[str]:
    who = f"{fault.id} ({fault.fault}{' on ' if fault.nodes else ''}{', '.join(fault.nodes)})"
    why = f": {fault.why}" if fault.why else ""
    if fault.attempt_ns is None:
        yield f"Fault {who} was not injected{why}."
        return
    if not fault.proved:
        yield f"Fault {who} was not measured to be in effect{why}."
    if not fault.healed:
        yield f"Fault {who} was not measured to be gone{why}."


def _answer(
    name: str,
    verifier: Verifier[Any],
    finding: Finding,
    evidence: Sequence[Evidence],
    caveats: Sequence[Caveat],
) -> Answer:
    unsafe: tuple[CaveatRow, ...] = ()
    label = None
    if finding.verdict is Verdict.FAIL:
        fitting = [caveat for caveat in caveats if caveat.question == name]
        unsafe = tuple(CaveatRow(setting=c.setting, why=c.why) for c in fitting)
        promised = Label.BROKEN_PROMISE if name in _LABELLED else None
        label = Label.UNSAFE_SETTING if unsafe else promised
    return Answer(
        name=name,
        question=verifier.question,
        verdict=finding.verdict,
        why=finding.why,
        figures=tuple(FigureRow(**asdict(figure)) for figure in finding.figures),
        label=label,
        caveats=unsafe,
        details=finding.details,
        anomalies=dict(Counter(row.kind for row in evidence)),
        evidence=tuple(_first_of_each_kind(evidence)),
        stages=tuple(StageRow(**asdict(stage)) for stage in finding.stages),
    )


def _first_of_each_kind(evidence: Iterable[Evidence]) -> Iterator[Evidence]:
    seen: Counter[str] = Counter()
    for row in evidence:
        seen[row.kind] += 1
        if seen[row.kind] <= report.EVIDENCE_SHOWN:
            yield row


def _document(
    story: Story,
    recorded: Sequence[Stream],
    known: Facts,
    answers: tuple[Answer, ...],
    baseline: _Baseline,
) -> Document:
    broken = tuple(_preconditions(story, recorded, baseline))
    verdict = report.worst(
        [*(answer.verdict for answer in answers), *[Verdict.UNKNOWN] * bool(broken)]
    )
    records: Counter[str] = Counter()
    for stream in recorded:
        records[stream.table] += stream.rows
    return Document(
        run=story.run,
        name=story.name,
        verdict=verdict,
        reasons=tuple(_reasons(verdict, answers, broken)),
        questions=answers,
        preconditions=broken,
        faults=tuple(_fault_row(fault) for fault in story.faults.values()),
        healed=not any(fault.heal_failed for fault in story.faults.values()),
        interrupted=bool(story.interrupted),
        started_ns=story.started_ns,
        load_started_ns=known.load_started_ns,
        load_ended_ns=known.load_ended_ns,
        records=dict(records),
    )


def _reasons(verdict: Verdict, answers: Sequence[Answer], broken: Sequence[str]) -> Iterator[str]:
    """Why it is this verdict; the gravest first."""
    for grade in (Verdict.FAIL, Verdict.UNKNOWN):
        for answer in answers:
            if answer.verdict is grade:
                label = f" ({answer.label})" if answer.label else ""
                yield f"{answer.name}: {answer.why}{label}"
    yield from broken
    if verdict is Verdict.PASS:
        yield from (f"{answer.name}: {answer.why}" for answer in answers)


def _fault_row(fault: FaultStory) -> FaultRow:
    shown = FaultRow.model_fields.keys()
    return FaultRow(**{name: getattr(fault, name) for name in shown})


def _write_evidence(path: Path, evidence: Mapping[str, Sequence[Evidence]]) -> None:
    lines = [row.model_dump_json() for rows in evidence.values() for row in rows]
    try:
        write_whole(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error
