"""The stages of a failover as bars, from the moment in which a fault was attempted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from chaos.report.model import StageBar, StageGroup
from chaos.ui.text import listed
from chaos.verdict import Document, StageRow

MOST_GROUPS = 12
"""Of more, those that took longest are drawn."""

_ALL = "all"


def rows(document: Document) -> list[StageRow]:
    """All stages of all answers."""
    return [stage for answer in document.questions for stage in answer.stages]


def groups(
    stages: Sequence[StageRow], faults: Mapping[str, tuple[str, int]], end_ns: int
) -> list[StageGroup]:
    """By fault, partition and client, the longest first; at equal length the partition as a whole
    first. `faults` is title and time of the attempt by id; `end_ns` is where the load ended."""

    def key(stage: StageRow) -> tuple[str, int, str]:
        return stage.fault, stage.partition, stage.client

    by_key = {names: list(several) for names, several in groupby(sorted(stages, key=key), key=key)}
    starts = {
        names: faults[names[0]][1] if names[0] in faults else min(_starts(several))
        for names, several in by_key.items()
    }
    spans = {
        names: max(max(_end(stage, end_ns) for stage in several) - starts[names], 1)
        for names, several in by_key.items()
    }
    # One scale for all, so that bars can be compared.
    longest_ns = max(spans.values(), default=1)
    found = [
        StageGroup(
            _title(*names, faults), spans[names] / 1e9, _length(spans[names]),
            tuple(
                _bar(stage, starts[names], longest_ns, end_ns)
                for stage in sorted(several, key=lambda each: (_end(each, end_ns), each.name))
            ),
        )
        for names, several in by_key.items()
    ]  # fmt: skip
    return sorted(found, key=lambda group: (-group.span_s, _ALL not in group.title, group.title))


def _title(fault: str, partition: int, client: str, faults: Mapping[str, tuple[str, int]]) -> str:
    title = faults[fault][0] if fault in faults else fault
    return f"{title}: partition {partition}, {'all clients' if client == _ALL else client}"


def _starts(stages: Iterable[StageRow]) -> Iterator[int]:
    yield from (stage.started_ns for stage in stages)


def _length(span_ns: int) -> str:
    return f"{span_ns / 1e9:.2f} s" if span_ns >= 1e9 else f"{span_ns / 1e6:.0f} ms"


def _end(stage: StageRow, end_ns: int) -> int:
    ended_ns = stage.ended_ns
    return int(end_ns if ended_ns is None else ended_ns)


def _bar(stage: StageRow, start_ns: int, span_ns: int, end_ns: int) -> StageBar:
    ended = stage.ended_ns is not None
    from_ns = max(stage.started_ns, start_ns)
    to_ns = max(_end(stage, end_ns), from_ns)
    length = _length(to_ns - from_ns)
    return StageBar(
        stage.name, length if ended else f"over {length}", "; ".join(_notes(stage, ended)),
        (from_ns - start_ns) / span_ns, (to_ns - start_ns) / span_ns, ended,
    )  # fmt: skip


def _notes(stage: StageRow, ended: bool) -> Iterator[str]:
    if not ended:
        yield "not by the end of the load"
    if stage.within_ns:
        yield f"ended at most {_length(stage.within_ns)} earlier"
    if stage.merged:
        yield f"contains: {listed(stage.merged)}"
