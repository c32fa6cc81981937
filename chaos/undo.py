"""The undo log: what has to be undone is on the disk before it is done.

One JSON object a line: `{"undo": id, "fault": ..., "parameters": ..., "nodes": ..., "data": ...,
"running": ...}` before a fault is injected, `{"done": id}` after it was healed and proved gone.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.errors import FaultError, HealError
from chaos.files import append_durably
from chaos.recorded import rebuild
from chaos.spi import Fault, Injection, Json


@dataclass(frozen=True)
class Entry:
    """One fault to undo. `running` are all nodes that ran before it: heal restores them."""

    undo: str
    fault: str
    parameters: Json
    nodes: tuple[str, ...]
    data: Json
    running: tuple[str, ...]

    @property
    def injection(self) -> Injection:
        """What the fault decided to do."""
        return Injection(self.nodes, self.data)

    def build(self) -> Fault:
        """The fault that heals it."""
        fault: Fault = rebuild("faults", self.fault, self.parameters)
        return fault


class UndoLog:
    """Appends to the log of one cluster; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def record(self, entry: Entry) -> None:
        """Returns when the entry is on the disk. Raises FaultError: then nothing may be done."""
        try:
            self._append(asdict(entry))
        except HealError as error:
            raise FaultError(f"it could not be undone after a crash: {error}") from error

    def done(self, identity: str) -> None:
        """It is healed."""
        self._append({"done": identity})

    def _append(self, line: Json) -> None:
        with self._lock:
            try:
                append_durably(self._path, json.dumps(line))
            except OSError as error:
                raise HealError(f"{self._path}: cannot be written: {error}") from error

    def pending(self) -> list[Entry]:
        """What is not yet undone, latest first: the order in which to undo it."""
        entries: dict[str, Entry] = {}
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HealError(f"{self._path}: cannot be read: {error}") from error
        for line in lines:
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue  # a torn line: its write never returned, so nothing was done after it
            if "done" in value:
                entries.pop(value["done"], None)
            else:
                value["nodes"], value["running"] = tuple(value["nodes"]), tuple(value["running"])
                entries[value["undo"]] = Entry(**value)
        return list(reversed(entries.values()))
