"""The observer: asks every broker on connections of its own, so that no broker delays another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kio.schema.describe_quorum.v1.response import DescribeQuorumResponse

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Group, View
from chaos_adapters.brokers.kafka import wire
from chaos_adapters.brokers.kafka.groups import Groups
from chaos_adapters.brokers.kafka.told import Told, behind, told, view

_PATIENCE_S = 0.025
"""Who has not answered after so long is not waited for, as long as somebody else has who knows the
last leaders."""
_QUORUM_EVERY = 2
"""Every so many looks one broker is asked for the controller. It hands the question on, so that
asking costs twice what a look at leaders does, and all costs fall on one node."""
_SILENT_S = 2.0
"""A controller that nobody has named for so long counts as none. While a quorum elects one, and
while the active one is frozen, the questions handed on to it hang."""
_DISSENT_S = 1.0
"""Brokers that lag behind for less are only slow."""


class KafkaObserver:
    """spi.Observer: each look is a Metadata request to every broker; now and then DescribeQuorum.

    A look takes what was asked *and* answered in it, so that it describes a moment within it. A
    broker that was silent in the look before does not count where others do: nobody could tell
    since when it says so. One that tells older leaders than somebody told before is never believed,
    even where it answers alone: a leader that hears nobody would seem to be back for an instant.
    """

    def __init__(self, clients: Mapping[str, Address], topic: str) -> None:
        self._names, self._topic = list(clients), topic
        leaders, quorum = wire.metadata(topic), wire.describe_quorum()
        self._leaders = [wire.Line(address, leaders) for address in clients.values()]
        self._lines: list[wire.Line[Any]] = [*self._leaders]
        self._lines += [wire.Line(address, quorum) for address in clients.values()]
        self._controller, self._groups = _Controller(), Groups(clients, topic)
        self._looks, self._spoke = 0, frozenset[str]()
        self._behind: dict[str, float] = {}
        self._youngest = (0, 0)
        """The greatest `Told.age` so far."""
        self._last = View()

    def observe(self, timeout_s: float) -> View:
        """Leader -1 is told as None: the partition has none."""
        start = time.monotonic()
        tales = self._ask(start, timeout_s)
        if not tales:
            raise DeadlineExceeded("an answer of any broker", timeout_s)
        known = {name: tale for name, tale in tales.items() if name in self._spoke} or tales
        self._spoke = frozenset(tales)
        if not any(tale.partitions for tale in known.values()):
            raise ClusterError(f"Kafka does not know {self._topic}")
        self._youngest = max(self._youngest, *(tale.age for tale in known.values()))
        if not self._up_to_date(known):
            raise DeadlineExceeded("an answer of a broker that knows the last leaders", timeout_s)
        controller = self._controller.now(time.monotonic())
        self._last = view(known, self._last, controller, self._dissenting(known, start))
        return self._last

    def group(self, name: str, timeout_s: float) -> Group:
        """See spi.ObservesGroups."""
        return self._groups.look(name, self._last.leaders, timeout_s)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _ask(self, start: float, timeout_s: float) -> dict[str, Told]:
        """What the brokers tell that answer at once; or the first that does at all, and up to the
        first that knows the last leaders."""
        asked = {place for place, line in enumerate(self._leaders) if line.ask(start)}
        if self._looks % _QUORUM_EVERY == 0:
            asked |= self._ask_for_controller(start)
        self._looks += 1
        tales: dict[str, Told] = {}
        while any(self._lines[place].waiting for place in asked):
            patience_s = _PATIENCE_S if self._up_to_date(tales) else timeout_s
            left_s = start + patience_s - time.monotonic()
            if left_s <= 0:
                break
            for place, answer in wire.turn(self._lines, left_s):
                if place >= len(self._names):
                    self._controller.take(answer, time.monotonic())
                elif place in asked:
                    tales[self._names[place]] = told(answer, self._topic)
        return tales

    def _up_to_date(self, tales: Mapping[str, Told]) -> bool:
        """Whether one of them knows the last leaders."""
        return any(tale.age >= self._youngest for tale in tales.values())

    def _ask_for_controller(self, start: float) -> set[int]:
        """Ask the next broker whose last question does not hang; where its line stands."""
        count = len(self._names)
        for turn in range(count):
            place = count + (self._looks // _QUORUM_EVERY + turn) % count
            if self._lines[place].ask(start):
                return {place}
        return set()

    def _dissenting(self, tales: Mapping[str, Told], now: float) -> list[str]:
        """The nodes that have been telling older leaders for a while."""
        self._behind = {name: self._behind.get(name, now) for name in behind(tales)}
        return [name for name, since in self._behind.items() if now - since >= _DISSENT_S]


class _Controller:
    """Who leads the metadata quorum: the newest epoch that somebody named."""

    def __init__(self) -> None:
        self._named, self._named_at = (-1, -1), 0.0

    def take(self, answer: DescribeQuorumResponse, now: float) -> None:
        """Take in an answer; one without a leader says nothing."""
        named = wire.controller(answer)
        if named and named >= self._named:
            self._named, self._named_at = named, now

    def now(self, now: float) -> int | None:
        """Its node id; None when it has been silent for a while."""
        return self._named[1] if now < self._named_at + _SILENT_S else None
