"""What several contracts are written in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

Json = dict[str, Any]
"""What `json.dumps` can write."""

Settings = dict[str, str | int | float | bool]
"""Settings passed through to a broker, topic or client as they are."""

CLIENTS = "clients"
"""The name of everything outside the cluster, as the source of a link."""


@dataclass(frozen=True)
class TargetMark:
    """Marks a field as naming nodes, or clients of the load (`of` "clients", "producers" or
    "consumers"), so that its value can be checked before anything starts."""

    of: str = "nodes"


Target = Annotated[str, TargetMark()]
"""Names nodes by role (`leader(0)`, `followers(0)`, `controller`, `one`, `minority`) or by name."""

ClientTarget = Annotated[str, TargetMark("clients")]
"""Names clients of the load: `consumer` (one of them), `consumers`, `producer`, `producers`,
`clients` (all), or one by its name (`consumer-0`)."""

ProducerTarget = Annotated[str, TargetMark("producers")]
ConsumerTarget = Annotated[str, TargetMark("consumers")]
"""The same, where only one role makes sense."""


class Kind(IntEnum):
    """What a message does to the application that handles it; all but normal ones are poisoned."""

    NORMAL = 0
    MALFORMED = 1
    """It cannot be parsed."""
    THROWS = 2
    """The handler ends in an error, at every attempt."""
    HANGS = 3
    """The handler never returns."""


class Handling(IntEnum):
    """How an attempt to handle a message ended."""

    HANDLED = 1
    THREW = 2
    TIMED_OUT = 3
    """It took longer than `handler_timeout`."""
    DEAD_LETTERED = 4
    """No attempt: it is in the dead-letter stream now."""
    CUT = 5
    """The run ended in the middle of it."""
