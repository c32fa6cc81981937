"""What is really in force goes into the record of a run, and is what the experiment set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos.errors import ClusterError
from chaos.history.events import EventLog
from chaos.spi import Address, Broker, TellsSettings

_ANSWER_WITHIN_S = 30.0


def read_settings(
    broker: Broker,
    stream: Any,  # noqa: ANN401 - the broker's own type
    clients: Mapping[str, Address],
    events: EventLog,
) -> None:
    """Write them down, where the broker can tell.

    Raises ClusterError when one is not what the experiment says: the run would answer another
    question than the one that was asked.
    """
    if not isinstance(broker, TellsSettings):
        return
    found = broker.in_force(clients, stream, _ANSWER_WITHIN_S)
    events.add("settings", in_force=found)
    if wrong := broker.unheeded(stream, found):
        raise ClusterError(f"settings are not in force: {' '.join(wrong).removesuffix('.')}")
