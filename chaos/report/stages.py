"""The stages of a failover as bars, from the moment in which a fault was attempted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from chaos.report.model import StageBar, StageGroup
from chaos.spi import Json
from chaos.ui.text import listed
from chaos.verdict import Document

MOST_GROUPS = 12
"""Of more, those that took longest are drawn."""

_ALL = "all"
_KEY = ("fault", "partition", "client")


def rows(document: Document) -> list[Json]:
    """All stages of all answers, as plain rows; none from a version that did not measure them."""
    found: list[Json] = []
    for answer in document.questions:
        stages: Iterable[Any] = getattr(answer, "stages", ())
        found += [_plain(stage) for stage in stages]
    return found


def _plain(stage: Any) -> Json:  # noqa: ANN401 - a record of the verdict
    return dict(stage) if isinstance(stage, Mapping) else dict(stage.model_dump())


def groups(
    stages: Sequence[Json], faults: Mapping[str, tuple[str, int]], end_ns: int
) -> list[StageGroup]:
    """By fault, partition and client, the longest first; at equal length the partition as a whole
    first. `faults` is title and time of the attempt by id; `end_ns` is where the load ended."""

    def key(stage: Json) -> tuple[str, int, str]:
        return tuple(stage[name] for name in _KEY)

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
                for stage in sorted(several, key=lambda each: (_end(each, end_ns), each["name"]))
            ),
        )
        for names, several in by_key.items()
    ]  # fmt: skip
    return sorted(found, key=lambda group: (-group.span_s, _ALL not in group.title, group.title))


def _title(fault: str, partition: int, client: str, faults: Mapping[str, tuple[str, int]]) -> str:
    title = faults[fault][0] if fault in faults else fault
    return f"{title}: partition {partition}, {'all clients' if client == _ALL else client}"


def _starts(stages: Iterable[Json]) -> Iterator[int]:
    yield from (stage["started_ns"] for stage in stages)


def _length(span_ns: int) -> str:
    return f"{span_ns / 1e9:.2f} s" if span_ns >= 1e9 else f"{span_ns / 1e6:.0f} ms"


def _end(stage: Json, end_ns: int) -> int:
    ended_ns = stage["ended_ns"]
    return int(end_ns if ended_ns is None else ended_ns)


def _bar(stage: Json, start_ns: int, span_ns: int, end_ns: int) -> StageBar:
    ended = stage["ended_ns"] is not None
    from_ns = max(stage["started_ns"], start_ns)
    to_ns = max(_end(stage, end_ns), from_ns)
    length = _length(to_ns - from_ns)
    return StageBar(
        stage["name"], length if ended else f"over {length}", "; ".join(_notes(stage, ended)),
        (from_ns - start_ns) / span_ns, (to_ns - start_ns) / span_ns, ended,
    )  # fmt: skip


def _notes(stage: Json, ended: bool) -> Iterator[str]:
    if not ended:
        yield "not by the end of the load"
    if stage.get("within_ns"):
        yield f"ended at most {_length(stage['within_ns'])} earlier"
    if stage.get("merged"):
        yield f"contains: {listed(stage['merged'])}"
