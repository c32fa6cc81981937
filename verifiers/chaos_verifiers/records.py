"""Dense sets and counters of messages.

Producers number their messages 0, 1, 2, ..., so a set of messages is an array with one element a
message, cut into pages: memory follows what was really sent, and a made-up number far away
costs one page, most of which the kernel never provides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chaos.spi import ANOMALY_LIMIT, Anomaly, Batch, Column, Facts, Figure, Outcome

PAGE_BITS = 20
PAGE = 1 << PAGE_BITS

Page = tuple[int, int]
"""(producer, number of the page)."""

Rows = slice | NDArray[np.intp]
"""Some rows of a batch."""


def distinct(values: Column) -> list[int]:
    """The different values; fast where they lie close together, as they do in a history."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        return [low]
    if high - low < 4 * len(values):
        present = np.zeros(high - low + 1, np.bool_)
        present[values - low] = True
        return [int(value) for value in np.flatnonzero(present) + low]
    return [int(value) for value in np.unique(values)]


def _groups(values: Column) -> Iterator[tuple[int, Rows]]:
    if not len(values):
        return
    found = distinct(values)
    if len(found) == 1:
        yield found[0], slice(None)
        return
    for value in found:
        yield value, np.flatnonzero(values == value)


def by_page(producer: int | Column, sequence: Column) -> Iterator[tuple[Page, Rows, Column]]:
    """Group messages by page: the page, which rows are in it, and at which place each is."""
    owners = [(producer, slice(None))] if isinstance(producer, int) else _groups(producer)
    for owner, rows in owners:
        mine = sequence[rows]
        for page, part in _groups(mine >> PAGE_BITS):
            yield (owner, page), within(rows, part), mine[part] & (PAGE - 1)


def pages(batch: Batch) -> Sequence[tuple[Page, Rows, Column]]:
    """The messages of a batch by page."""
    owner = batch.producer if batch.table == "sends" else batch["producer"]
    return batch.once("pages", lambda: list(by_page(owner, batch["sequence"])))


@dataclass(frozen=True)
class Lots:
    """Rows number by number (of their partitions, say), those of each in the order of the record:
    `numbers[i]` has `rows[edges[i]:edges[i + 1]]`."""

    rows: NDArray[np.intp]
    numbers: list[int]
    edges: list[int]

    def __iter__(self) -> Iterator[tuple[int, slice]]:
        """Each number, and which of `rows` are its."""
        for number, (start, end) in zip(self.numbers, pairwise(self.edges), strict=True):
            yield number, slice(start, end)


def by_partition(batch: Batch) -> Lots:
    """The rows of a batch, which has some, by partition."""
    return batch.once("lots", lambda: lots(batch["partition"]))


def lots(values: Column) -> Lots:
    """Rows, at least one, by a number of each; it is above -2**15."""
    # A stable sort of 16 bits is a radix sort, many times faster than one of 32 or 64.
    narrow = values.astype(np.int16) if int(values.max()) < 1 << 15 else values
    rows = np.argsort(narrow, kind="stable")
    ordered = values[rows]
    turns = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    edges = [0, *turns.tolist(), len(rows)]
    return Lots(rows, ordered[edges[:-1]].tolist(), edges)


def within(rows: Rows, part: Rows | NDArray[np.bool_]) -> Rows:
    """Some of `rows`: those that `part` names by place or by truth value."""
    if isinstance(part, slice):
        return rows
    if isinstance(rows, slice):
        return np.flatnonzero(part) if part.dtype == np.bool_ else cast(Rows, part)
    return rows[part]


def select(batch: Batch, which: NDArray[np.bool_]) -> Batch:
    """The rows of a batch for which `which` is true."""
    if which.all():
        return batch
    return Batch(batch.table, batch.client, batch.producer, _Some(batch.columns, which))


class _Some(Mapping[str, Column]):
    """Some rows of columns, each picked out when it is first asked for."""

    def __init__(self, columns: Mapping[str, Column], which: NDArray[np.bool_]) -> None:
        self._columns, self._rows = columns, np.flatnonzero(which)
        self._known: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._known:
            self._known[name] = self._columns[name][self._rows]
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def acknowledged(batch: Batch) -> Batch:
    """The sends of a batch that the broker acknowledged."""
    return batch.once("acknowledged", lambda: select(batch, batch["outcome"] == Outcome.OK))


def whole(batch: Batch) -> Batch:
    """The messages of this run in a batch that came out as they were sent."""
    return batch.once("whole", lambda: select(batch, batch["intact"] & (batch["producer"] >= 0)))


class Messages:
    """One number for each message, 0 until set."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self.pages: dict[Page, NDArray[Any]] = {}

    def page(self, key: Page) -> NDArray[Any]:
        """The numbers of one page, to be read and changed in place."""
        found = self.pages.get(key)
        if found is None:
            found = self.pages[key] = np.zeros(PAGE, self._dtype)
        return found

    def of(self, producer: Column, sequence: Column) -> NDArray[Any]:
        """The numbers of these messages; nothing is created."""
        values = np.zeros(len(sequence), self._dtype)
        for key, rows, places in by_page(producer, sequence):
            if key in self.pages:
                values[rows] = self.pages[key][places]
        return values

    def merge(self, other: Messages, how: Callable[..., Any]) -> None:
        """Take in `other`, page by page; `how` is a function of two pages."""
        for key, theirs in other.pages.items():
            mine = self.page(key)
            mine[:] = how(mine, theirs)

    def where(
        self, test: Callable[[NDArray[Any]], NDArray[np.bool_]]
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Producer and sequence numbers of the messages whose number passes, page by page."""
        for producer, number in sorted(self.pages):
            places = np.flatnonzero(test(self.pages[producer, number]))
            if len(places):
                yield producer, places + (number << PAGE_BITS)

    def count(self, test: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> int:
        """How many messages have a number that passes (0 must not)."""
        return sum(int(np.count_nonzero(test(page))) for page in self.pages.values())

    def count_between(self, producer: int, first: int, end: int) -> int:
        """How many messages of [first, end) have a number other than 0."""
        count = 0
        for (owner, number), page in self.pages.items():
            start = number << PAGE_BITS
            if owner == producer and start < end:
                count += int(np.count_nonzero(page[max(0, first - start) : end - start]))
        return count


class Table:
    """A growing list of rows of `width` integers, the first two of which name a message."""

    def __init__(self, width: int) -> None:
        self._parts = [np.empty((0, width), np.int64)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, *columns: int | Column) -> None:
        """Append rows, column by column; a single number stands in all of them."""
        part = np.column_stack(np.broadcast_arrays(*columns)).astype(np.int64, copy=False)
        if len(part):
            self._parts.append(part)

    def extend(self, other: Table) -> None:
        """Append all rows of another."""
        self._parts += other._parts

    def rows(self) -> NDArray[np.int64]:
        """All rows, shape (n, width), each once, in order."""
        return _each_once(np.concatenate(self._parts))

    def keep(self, test: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> None:
        """Drop the rows that do not pass."""
        self._parts = [part[test(part)] for part in self._parts]


def _each_once(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    ordered = rows[np.lexsort(rows.T[::-1])]
    fresh = np.ones(len(ordered), np.bool_)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[fresh]


def read_back(facts: Facts) -> frozenset[int]:
    """The partitions that were read back to their end."""
    return frozenset(number for number, end in facts.ends.items() if end.read >= end.end)


def told_by_reading(facts: Facts) -> frozenset[int]:
    """The partitions of which is known what they hold: -1, which stands for one that the client did
    not tell, is among them if all were read back."""
    whole = read_back(facts)
    everywhere = facts.partitions > 0 and whole >= set(range(facts.partitions))
    return whole | {-1} if everywhere else whole


def anomalies(rows: Mapping[str, NDArray[np.int64]]) -> tuple[Anomaly, ...]:
    """One for each row (producer, sequence, partition, offset) of each kind, up to the limit."""
    return tuple(
        Anomaly(kind, *row)
        for kind, found in rows.items()
        for row in found[:ANOMALY_LIMIT].tolist()
    )


def at_most(name: str, value: float, limit: float | None, unit: str = "messages") -> Figure:
    """A figure that must not exceed `limit` (None: it is only reported)."""
    if limit is None:
        return Figure(name, value, unit)
    return Figure(name, value, unit, f"<= {limit:g}", value <= limit)
