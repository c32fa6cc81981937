"""A small message broker in plain Python: the public test double for engine and plug-in tests.

It is real where faults are concerned: each node is a process of its own that listens on TCP and
keeps a journal, so that `kill -9`, a pause and a restart hit it as they hit Kafka; yet a cluster is
up in a fraction of a second. It is honest unless a field of `Memory` asks for mischief.

    wire, store, group, mischief, server     the node's process; standard library only
    client, producer, consumer, observer     the clients
    broker                                   the plug-in

The nodes are started with `-m chaos_adapters.brokers.memory.server`, which imports this package
first: the plug-in is imported on first use, to keep the engine's imports out of the nodes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos_adapters.brokers.memory.broker import Memory, MemoryStream

__all__ = ["Memory", "MemoryStream"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature of PEP 562
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("chaos_adapters.brokers.memory.broker"), name)
