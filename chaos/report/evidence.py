"""The evidence of a run for people: what all of it has in common, and a sample that fits a page."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.errors import HistoryError
from chaos.report.series import Axis
from chaos.spi import Json
from chaos.verdict import EVIDENCE

MOST_ROWS = 2000
"""How many rows of each kind stand on a page."""


@dataclass
class Digest:
    """All rows of one kind of one question. `buckets` counts them over time; `rows` is a sample:
    the first, the last, and some spread over those between. `first_ns` and `last_ns` are None when
    no row tells a time."""

    question: str
    kind: str
    count: int = 0
    acknowledged: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    partitions: Counter[int] = field(default_factory=Counter)
    leaders: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, ...]] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)
    rows: list[Json] = field(default_factory=list)
    _lines: array[int] = field(default_factory=lambda: array("Q"), repr=False)

    def take(self, line: int, row: Json, axis: Axis) -> None:
        """Take in the row that stands in this line of the file."""
        self.count += 1
        self.acknowledged += row["outcome"] == "ok"
        self._lines.append(line)
        self.faults[tuple(row["faults"])] += 1
        if row["partition"] is not None:
            self.partitions[row["partition"]] += 1
        if row["leader"]:
            self.leaders[row["leader"]] += 1
        moment_ns = moment(row)
        if moment_ns is not None:
            self.first_ns = min(moment_ns, self.first_ns or moment_ns)
            self.last_ns = max(moment_ns, self.last_ns or moment_ns)
            self.buckets[(moment_ns - axis.start_ns) // axis.width_ns] += 1

    def chosen(self) -> set[int]:
        """The lines of the sample."""
        return {self._lines[place] for place in sample(self.count, MOST_ROWS)}


def sample(count: int, most: int) -> list[int]:
    """At most `most` of `count` places: a quarter from each end, the rest evenly from between."""
    if count <= most:
        return list(range(count))
    ends = most // 4
    between = most - 2 * ends
    step = (count - 2 * ends) / between
    middle = [ends + int(step * number) for number in range(between)]
    return [*range(ends), *middle, *range(count - ends, count)]


def moment(row: Json) -> int | None:
    """When it was acknowledged, else sent, else when it first came out."""
    if row["outcome"] == "ok" and row["done_ns"] is not None:
        return int(row["done_ns"])
    if row["sent_ns"] is not None:
        return int(row["sent_ns"])
    return min((int(each["received_ns"]) for each in row["received"]), default=None)


def digests(run_directory: Path, axis: Axis) -> list[Digest]:
    """Those of a run, in the order of its file; none when it has no evidence. The file is read
    twice, a line at a time. Raises HistoryError when it cannot be read."""
    path = run_directory / EVIDENCE
    found: dict[tuple[str, str], Digest] = {}
    if not path.exists():
        return []
    try:
        for number, text in _lines(path):
            row = json.loads(text)
            key = row["question"], row["kind"]
            found.setdefault(key, Digest(*key)).take(number, row, axis)
        owners = {line: digest for digest in found.values() for line in digest.chosen()}
        for number, text in _lines(path):
            if number in owners:
                owners[number].rows.append(json.loads(text))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HistoryError(f"{path}: no evidence that can be read: {error}") from error
    return list(found.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as file:
        yield from enumerate(file)
