"""What happened, in sentences: the head of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaos.report.evidence import Digest
from chaos.report.model import Wrong
from chaos.report.timeline import Clock
from chaos.spi import Question, Verdict
from chaos.ui.text import listed, number, partitions, seconds
from chaos.verdict import Answer, Document, FaultRow

_FIRST = (Question.LOSS, Question.FAILOVER)
"""What a PASS is asked first: is everything there, and how long was it down."""


def title(fault: FaultRow) -> str:
    """What was done to whom: `process.kill on b-1`."""
    return f"{fault.fault} on {listed(fault.nodes)}" if fault.nodes else fault.fault


def lead(document: Document) -> Iterator[str]:
    """A sentence on what was done, and some on what came of it."""
    done = [f"{title(fault)}{_lasted(fault)}" for fault in document.faults if fault.attempt_ns]
    yield f"Under load: {'; '.join(done)}." if done else "No fault was injected."
    if document.verdict is Verdict.PASS:
        by_name = {answer.name: answer for answer in document.questions}
        yield from (by_name[name].why for name in _FIRST if name in by_name)
    elif document.verdict is Verdict.UNKNOWN:
        yield from document.reasons[:3]
    if not document.healed:
        yield "Something is NOT HEALED: run chaos heal."


def _lasted(fault: FaultRow) -> str:
    if fault.attempt_ns is None or fault.gone_ns is None:
        return " (not proved gone)"
    return f" for {number((fault.gone_ns - fault.attempt_ns) / 1e9, 's')}"


def wrong(document: Document, digests: Sequence[Digest], run: Known) -> Iterator[Wrong]:
    """Of each question that FAILs: what, when, under which fault, where, what came then, why."""
    for answer in document.questions:
        if answer.verdict is Verdict.FAIL:
            own = [digest for digest in digests if digest.question == answer.name]
            yield Wrong(answer.why, tuple(_points(answer, own, run)))


@dataclass(frozen=True)
class Known:
    """What sentences are made of besides the verdict."""

    faults: Sequence[FaultRow]
    leaders: Mapping[int, Sequence[tuple[int, str | None]]]
    clock: Clock

    def at(self, time_ns: int) -> str:
        """A time of the run."""
        return seconds(self.clock.at(time_ns))


def _points(answer: Answer, digests: Sequence[Digest], run: Known) -> Iterator[tuple[str, str]]:
    for digest in digests:
        if len(digests) > 1:
            yield "What", f"{digest.count:,} {digest.kind}"
        yield from _circumstances(digest, run)
    if not digests:
        for figure in answer.figures:
            if figure.ok is False and figure.value is not None:
                told = f"{number(figure.value, figure.unit)}, expected {figure.threshold}"
                yield figure.name.capitalize(), told
    if answer.caveats:
        settings = "; ".join(f"{caveat.setting}: {caveat.why}" for caveat in answer.caveats)
        yield "Why", f"{answer.label}: {settings}"
    elif answer.label:
        yield "Why", f"{answer.label}: these settings should not allow it"


def _circumstances(digest: Digest, run: Known) -> Iterator[tuple[str, str]]:
    if digest.first_ns is not None and digest.last_ns is not None:
        what = "acknowledged" if digest.acknowledged == digest.count else "sent or received"
        yield "When", f"{what} {run.at(digest.first_ns)} to {run.at(digest.last_ns)} into the run"
    yield "Under", "; ".join(_under(digest, run.faults)) or "no fault"
    if digest.partitions:
        led = f", led by {listed(sorted(digest.leaders))}" if digest.leaders else ""
        yield "Where", partitions(sorted(digest.partitions)) + led
    if then := listed(_then(digest, run)):
        yield "Then", then


def _under(digest: Digest, faults: Sequence[FaultRow]) -> Iterator[str]:
    """The faults that were on, with how many rows each set of them has if they are several."""
    titles = {fault.id: title(fault) for fault in faults}
    for names, count in digest.faults.most_common():
        told = " and ".join(titles.get(name, name) for name in names) or "no fault"
        yield told if len(digest.faults) == 1 else f"{told} ({count:,})"


def _then(digest: Digest, run: Known) -> Iterator[str]:
    """What happened after the first of them: later faults, and the next leader of a partition."""
    if digest.first_ns is None:
        return
    known = {name for names in digest.faults for name in names}
    for fault in run.faults:
        if fault.id not in known and fault.attempt_ns and fault.attempt_ns > digest.first_ns:
            yield f"{title(fault)} at {run.at(fault.attempt_ns)}"
    for place in sorted(digest.partitions):
        change = _next_leader(run.leaders.get(place, ()), digest.first_ns)
        if change:
            yield f"{change[1]} led partition {place} from {run.at(change[0])} on"


def _next_leader(changes: Sequence[tuple[int, str | None]], time_ns: int) -> tuple[int, str] | None:
    """When another node led for the first time after this, and which."""
    before = [leader for at_ns, leader in changes if at_ns <= time_ns and leader]
    for at_ns, leader in changes:
        if at_ns > time_ns and leader and leader != (before[-1] if before else None):
            return at_ns, leader
    return None
