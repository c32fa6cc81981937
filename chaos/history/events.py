"""The events of a run, one JSON object a line, readable by people and by `chaos.facts`.

Every event has `time_ns` and `kind`; the other fields depend on the kind:

    run          run, name, seed, runtime, stream, versions, expects: what has to be on record at
                 the end (faults by id; how many producers, consumers, partitions; readable;
                 replicas: it can tell what each node holds)
    cluster      id, reused, clients: address of each node
    phase        phase: start | ready | prepare | warm-up | baseline | faults | settle | drain |
                 read-back | clean-up | verify | done; until_ns where its end is known
    rates        once a second under load, messages so far: due, sent, ok, refused, indeterminate,
                 aborted, weak, received
    load         what: started | ended; due: {producer number: messages due while load was offered}
    fault        id, fault, nodes, what: planned | attempt | injected | effect | unproved | heal |
                 gone | failed | skipped; figures, why; undone_ns (gone): the first try that had
                 undone all was over then, and it was measured to be gone since; null where brokers
                 have a part in undoing it
    view         controller, alive, leaders, replicas, in_sync, dissenting (nodes that go on telling
                 older leaders), elected (by partition, where others tell it to clients): whenever
                 one of them changed; since_ns: the start of the last look that said otherwise
    group        state, members, lag by partition: the consumers' group as the cluster sees it
    settings     in_force: by whom they belong to, as read back from the cluster
    node         node, what: consequence (it ended by itself) | restarted
    client       client, what: ready | error | fenced | exit | started | crashed, supplanted (by a
                 fault); why; after: the client in whose place it was started
    connection   client, and one of node (null: none), blocked (why the broker takes nothing from
                 it; null: it does again), channel (why it opened a new one)
    drain        what: deadline; seconds
    note         text: something that people may want to know
    interrupted  why
    error        why, exit_code
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaos.errors import HistoryError
from chaos.spi import Json
from chaos.timing import now_ns

Listener = Callable[[Json], None]


class EventLog:
    """Appends events to a file and tells them to listeners; safe to use from several threads.

    Writing never raises, as a full disk must not keep a fault from being healed: `error` says what
    went wrong, and whoever runs the show looks at it.
    """

    def __init__(self, path: Path) -> None:
        self.error: HistoryError | None = None
        self._path, self._lock = path, threading.Lock()
        self._listeners: list[Listener] = []
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise HistoryError(f"{path}: cannot be written: {error}") from error

    def listen(self, listener: Listener) -> None:
        """Have every later event told to `listener`, from whatever thread it happens on."""
        self._listeners.append(listener)

    def add(self, kind: str, **fields: Any) -> Json:  # noqa: ANN401 - whatever JSON can say
        """Write one event, stamped now (or with `time_ns`), and return it."""
        event: Json = {"time_ns": fields.pop("time_ns", None) or now_ns(), "kind": kind, **fields}
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._write(line)
            except OSError as error:
                self.error = HistoryError(f"{self._path}: cannot be written: {error}")
        for listener in self._listeners:
            listener(event)
        return event

    def _write(self, line: bytes) -> None:
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, line) < len(line):
            # Half a line would make everything behind it unreadable, should there be room again.
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path) -> Iterator[Json]:
    """All events in order; a torn last line (the writer was killed) is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number >= len(lines) - 1:
                return
            raise HistoryError(f"{path}:{number}: not an event: {error}") from error
