"""Finds plug-ins by their entry points; the built-in ones take the same way as everybody's.

Listing never imports a plug-in, so a Kafka run never loads a RocketMQ client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chaos.errors import Unavailable, UsageError
from chaos.wording import unknown

KINDS = {
    "brokers": "broker",
    "runtimes": "runtime",
    "faults": "fault",
    "verifiers": "verifier",
}
"""Each kind of plug-in (its group is `chaos.` and this) and what one of them is called."""


@dataclass(frozen=True)
class Entry:
    """One plug-in by name: `reference` is `module:Class`, `origin` the distribution it is from."""

    kind: str
    name: str
    reference: str
    origin: str


@cache
def discover(kind: str) -> tuple[Entry, ...]:
    """All entries of a kind as installed, double ones too. Tests put their own in its place."""
    return tuple(
        Entry(kind, point.name, point.value, _origin(point))
        for point in entry_points(group=f"chaos.{kind}")
    )


def names(kind: str) -> tuple[str, ...]:
    """The names of all plug-ins of a kind, sorted; nothing is imported."""
    return tuple(sorted({entry.name for entry in discover(kind)}))


def entries(kind: str, name: str) -> Sequence[Entry]:
    """Who offers this name: one, unless two distributions claim it; each claim is told once."""
    return sorted({entry for entry in discover(kind) if entry.name == name}, key=str)


def load(kind: str, name: str) -> type[Any]:
    """Import one plug-in.

    Raises UsageError for a name that nobody or more than one distribution offers (the other names
    stay usable: a heal must not fail for a plug-in that it does not need), and Unavailable for a
    plug-in that cannot be imported or is no dataclass.
    """
    found = entries(kind, name)
    if not found:
        raise UsageError(unknown(KINDS[kind], name, names(kind), kind))
    if len(found) > 1:
        claims = " and ".join(f"{entry.reference} of {entry.origin}" for entry in found)
        raise UsageError(f'{KINDS[kind]} "{name}" is claimed by {claims}: uninstall one of them')
    return _import(found[0])


def _import(entry: Entry) -> type[Any]:
    what = f'{KINDS[entry.kind]} "{entry.name}" ({entry.reference} of {entry.origin})'
    try:
        plugin = EntryPoint(entry.name, entry.reference, f"chaos.{entry.kind}").load()
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Unavailable(
            f"{what} cannot be imported: {reason}; reinstall or uninstall {entry.origin}"
        ) from error
    if not (isinstance(plugin, type) and is_dataclass(plugin)):
        raise Unavailable(f"{what} is not a dataclass, so it is no plug-in")
    return plugin


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
