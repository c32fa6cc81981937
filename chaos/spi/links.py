"""The links between nodes, and the packets on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

BOTH, UPSTREAM, DOWNSTREAM = "both", "upstream", "downstream"
"""The streams of a link."""

Way = tuple[str, str]
"""Whose bytes, to whom: a direction of data, whoever opened the connection. Names of nodes, and
CLIENTS on either side."""


class Witness(Protocol):
    """An open connection that can tell what becomes of it."""

    def closed(self, within_s: float) -> bool:
        """Whether a ping on it has it closed, instead of answered or not, within this time."""


class Link(Protocol):
    """The way of the bytes from `source`, who connects, to `target`; the answers use it as well.

    What is imposed on a link has a name, so that each fault lifts only its own. `impose` replaces
    what has the same name; `lift` of a name that is not there does nothing.
    """

    @property
    def source(self) -> str:
        """A node, or CLIENTS."""

    @property
    def target(self) -> str:
        """A node."""

    def impose(self, name: str, kind: str, stream: str = BOTH, **attributes: float) -> None:
        """Put a Toxiproxy toxic of this kind on one direction of the link, or on both.

        `stream` is UPSTREAM, what `source` sends, DOWNSTREAM, what `target` sends over connections
        of `source`, or BOTH. Kinds and attributes are Toxiproxy's (`latency`: latency, jitter in
        ms; `bandwidth`: rate in KB/s; `reset_peer`: timeout in ms), see its README, "Toxics".
        """

    def lift(self, name: str) -> None:
        """Take off what `impose` put there under this name."""

    def imposed(self) -> frozenset[str]:
        """The names of all that is imposed now, as the proxy itself reports it."""

    def probe(self, timeout_s: float) -> Mapping[str, float | None]:
        """Port name -> seconds until a ping in that port's protocol was answered through the link;
        None: no byte came back."""

    def reaches(self, timeout_s: float) -> bool:
        """Whether bytes of `source` arrive at every port, whatever becomes of the answers."""

    def serves(self, timeout_s: float) -> bool:
        """Whether every port of the link answers a ping that does not go through the link: if not,
        silence on the link says nothing about the link."""

    def witness(self, timeout_s: float) -> AbstractContextManager[Witness]:
        """A connection through the link to its first port, which was answered just now. Raises
        ClusterError."""

    def flow(self, size: int, timeout_s: float) -> tuple[float, float]:
        """Bytes a second, sent and answered, of a connection on which pings follow each other until
        so many bytes were exchanged or the time is over; zeros where one connection answers once.
        """


@runtime_checkable
class Meshed(Protocol):
    """Ability of a Cluster: each directed link can be disturbed on its own."""

    @property
    def links(self) -> Mapping[tuple[str, str], Link]:
        """By (source, target): every ordered pair of nodes, and (CLIENTS, node)."""


@dataclass(frozen=True)
class Losses:
    """What the packet rules of one name did on one way since they are there: packets that came by,
    that were dropped, and how many of those were to close a connection (FIN, RST); `closings` are
    the closing ones that got through, all others dropped or not."""

    seen: int
    dropped: int
    closings_dropped: int
    closings: int


class Packets(Protocol):
    """Rules that drop packets, below any protocol. Rules have a name, as what is imposed on links:
    `lose` replaces those of the same name, `regain` of a name that is not there does nothing. All
    raise ClusterError."""

    def lose(self, name: str, ways: Sequence[Way], share: float) -> None:
        """Drop this share of the packets (1: all) that go these ways."""

    def regain(self, name: str) -> None:
        """Remove the rules of this name, wherever they are."""

    def losses(self) -> Mapping[str, Mapping[Way, Losses]]:
        """All rules that are there now, by name, as the kernel tells them."""

    def retransmitted(self, nodes: Sequence[str]) -> int:
        """TCP segments that these nodes have sent again since their pods are there."""


@runtime_checkable
class Lossy(Protocol):
    """Ability of a Cluster: packets between its nodes can be dropped."""

    @property
    def packets(self) -> Packets:
        """The rules."""
