"""What happened, in sentences: the head of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chaos.report.evidence import Digest
from chaos.report.model import Wrong
from chaos.report.timeline import Clock
from chaos.spi import Question, Verdict
from chaos.ui.text import listed, number, partitions
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


def wrong(document: Document, digests: Sequence[Digest], clock: Clock) -> Iterator[Wrong]:
    """Of each question that FAILs: what, when, under which fault, where, why."""
    faults = {fault.id: title(fault) for fault in document.faults}
    for answer in document.questions:
        if answer.verdict is Verdict.FAIL:
            own = [digest for digest in digests if digest.question == answer.name]
            yield Wrong(answer.why, tuple(_points(answer, own, faults, clock)))


def _points(
    answer: Answer, digests: Sequence[Digest], faults: Mapping[str, str], clock: Clock
) -> Iterator[tuple[str, str]]:
    for digest in digests:
        if len(digests) > 1:
            yield "What", f"{digest.count:,} {digest.kind}"
        if digest.first_ns is not None and digest.last_ns is not None:
            first_s, last_s = clock.at(digest.first_ns), clock.at(digest.last_ns)
            yield "When", f"{first_s:.1f} s to {last_s:.1f} s of the run"
        yield "Under", "; ".join(_under(digest, faults)) or "no fault"
        if digest.partitions:
            led = f", led by {listed(sorted(digest.leaders))}" if digest.leaders else ""
            yield "Where", partitions(sorted(digest.partitions)) + led
    if not digests:
        for figure in answer.figures:
            if figure.ok is False and figure.value is not None:
                told = f"{number(figure.value, figure.unit)}, expected {figure.threshold}"
                yield figure.name.capitalize(), told
    if answer.caveats:
        settings = listed(f"{caveat.setting} ({caveat.why})" for caveat in answer.caveats)
        yield "Why", f"{answer.label}: {settings}"
    elif answer.label:
        yield "Why", f"{answer.label}: these settings should not allow it"


def _under(digest: Digest, faults: Mapping[str, str]) -> Iterator[str]:
    """The faults that were on, with how many rows each set of them has if they are several."""
    for names, count in digest.faults.most_common():
        told = " and ".join(faults.get(name, name) for name in names) or "no fault"
        yield told if len(digest.faults) == 1 else f"{told} ({count:,})"
