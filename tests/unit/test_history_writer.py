"""Recording: what `write` and `add` accepted can be read back, whatever the disk does."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from chaos.errors import HistoryError
from chaos.history import events as events_module
from chaos.history.events import EventLog, read_events
from chaos.history.reader import Stream, streams
from chaos.history.schema import FINAL, RESERVED, SENDS
from chaos.history.writer import Writer, stream_path
from chaos.spi import Json


def rows(first: int, count: int) -> list[np.ndarray]:
    numbers = np.arange(first, first + count)
    return [numbers.astype(field.type.to_pandas_dtype()) for field in SENDS]


def read(directory: Path) -> tuple[list[int], Stream]:
    """The sequence numbers that are on record, and the stream."""
    (stream,) = streams(directory)
    return [int(n) for batch in stream.batches() for n in batch["sequence"]], stream


def writer(directory: Path) -> Writer:
    return Writer(stream_path(directory, "producer-4", "sends"), "sends")


# -------------------------------------------------------------------------------------- streams


def test_what_is_written_is_read_with_its_metadata(tmp_path: Path) -> None:
    """Batches, an empty batch that only says something, and the orderly end."""
    out = writer(tmp_path)
    out.write(metadata={RESERVED: b"1000"})
    out.write(rows(0, 10), {RESERVED: b"2000"})
    out.write(rows(10, 5))
    out.write(metadata={RESERVED: b"15", FINAL: b"1"})
    out.close()
    found, stream = read(tmp_path)
    assert found == list(range(15))
    assert (stream.producer, stream.reserved, stream.final, stream.torn) == (4, 15, True, False)


def test_every_batch_is_readable_without_a_close(tmp_path: Path) -> None:
    """A `kill -9` after `write` costs nothing of what was written."""
    out = writer(tmp_path)
    for turn in range(4):
        out.write(rows(10 * turn, 10))
        found, stream = read(tmp_path)
        assert found == list(range(10 * turn + 10))
        assert not stream.final


def test_a_stream_is_never_overwritten(tmp_path: Path) -> None:
    """A second writer of the same stream is an error."""
    writer(tmp_path)
    with pytest.raises(HistoryError, match="cannot be written"):
        writer(tmp_path)


def test_a_column_too_few_is_refused(tmp_path: Path) -> None:
    """Columns and schema belong together."""
    with pytest.raises(ValueError):
        writer(tmp_path).write(rows(0, 3)[:-1])


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from chaos.errors import HistoryError
from chaos.history.schema import SENDS
from chaos.history.writer import Writer, stream_path

directory, limit = Path(sys.argv[1]), int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
out = Writer(stream_path(directory, "producer-0", "sends"), "sends")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
accepted = 0
try:
    for turn in range(100):
        numbers = np.arange(10 * turn, 10 * turn + 10)
        out.write([numbers.astype(field.type.to_pandas_dtype()) for field in SENDS])
        accepted += 10
except HistoryError:
    print(accepted)
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        out.write(metadata={b"reserved": b"7"})
    except HistoryError:
        out.close()
"""


@pytest.mark.parametrize("limit", [1_000, 1_477, 1_479, 3_456, 4_001])
def test_a_full_disk_is_told_and_costs_only_what_was_not_accepted(
    tmp_path: Path, limit: int
) -> None:
    """However many bytes still fit: a write that returned is on record in full, the one that did
    not raises HistoryError, and the file reads as torn,
    not as damaged, even when the writer goes on once there is room again."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": _path()},
    )  # fmt: skip
    found, stream = read(tmp_path)
    assert done.stdout.strip() == str(len(found))
    assert found == list(range(len(found)))
    assert not stream.final


def _path() -> str:
    return os.pathsep.join(filter(None, sys.path))


# --------------------------------------------------------------------------------------- events


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "events.jsonl")


def test_events_are_stamped_written_and_returned(log: EventLog, tmp_path: Path) -> None:
    """In order, with the time of now or the one that was given."""
    first = log.add("run", name="x")
    second = log.add("load", what="started", time_ns=42)
    assert list(read_events(tmp_path / "events.jsonl")) == [first, second]
    assert first["kind"] == "run"
    assert first["time_ns"] > 1e18
    assert second == {"time_ns": 42, "kind": "load", "what": "started"}


def test_listeners_are_told_every_later_event(log: EventLog) -> None:
    """All of them, from the moment on which they listen."""
    log.add("before")
    one: list[Json] = []
    two: list[Json] = []
    log.listen(one.append)
    first = log.add("a")
    log.listen(two.append)
    second = log.add("b")
    assert one == [first, second]
    assert two == [second]


def test_a_torn_last_event_is_left_out(log: EventLog, tmp_path: Path) -> None:
    """The writer was killed."""
    path = tmp_path / "events.jsonl"
    kept = [log.add("a"), log.add("b")]
    whole = path.read_bytes()
    log.add("c")
    line = path.read_bytes()[len(whole) : -1]
    for length in range(len(line)):
        path.write_bytes(whole + line[:length])
        assert list(read_events(path)) == kept


def test_a_damaged_event_elsewhere_is_an_error_with_its_line(tmp_path: Path) -> None:
    """A history is never silently shorter."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind": "a"}\n{"kind": \n{"kind": "c"}\n')
    with pytest.raises(HistoryError, match=r"events\.jsonl:2: not an event"):
        list(read_events(path))


def test_no_events_at_all_are_an_error_and_no_directory_too(tmp_path: Path) -> None:
    """Not a run."""
    with pytest.raises(HistoryError, match="cannot be read"):
        list(read_events(tmp_path / "events.jsonl"))
    with pytest.raises(HistoryError, match="cannot be written"):
        EventLog(tmp_path / "none" / "events.jsonl")


@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_full_disk_is_noted_and_keeps_nobody_from_going_on(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """`add` does not raise, as faults have to be healed; listeners hear it all the same; and what
    is written once there is room again can be read, with no half event before it."""
    heard: list[Json] = []
    log.listen(heard.append)
    first = log.add("a")
    write, left = os.write, [room]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(events_module.os, "write", full)
        log.add("b", text="lost")
    assert isinstance(log.error, HistoryError)
    last = log.add("c")
    assert [event["kind"] for event in heard] == ["a", "b", "c"]
    assert list(read_events(tmp_path / "events.jsonl")) == [first, last]


def test_a_limit_of_the_file_size_is_told_like_a_full_disk(tmp_path: Path) -> None:
    """The real thing: the kernel takes part of a line, then nothing."""
    log = EventLog(tmp_path / "events.jsonl")
    kept = [log.add("a") for _ in range(3)]
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "events.jsonl").stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from chaos.history.events import EventLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {hard}))\n"
        "log = EventLog(Path(sys.argv[1])); log.add('b', text='x' * 100); log.add('c')\n"
        "print(type(log.error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "events.jsonl")],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": _path()},
    )  # fmt: skip
    assert done.stdout.strip() == "HistoryError"
    assert list(read_events(tmp_path / "events.jsonl")) == kept


def test_threads_write_whole_lines(log: EventLog, tmp_path: Path) -> None:
    """Faults, workers and the watcher all write."""

    def write(number: int) -> None:
        for turn in range(50):
            log.add("a", number=number, turn=turn, text="x" * 500)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(read_events(tmp_path / "events.jsonl"))
    assert len(found) == 200
    for number in range(4):
        assert [e["turn"] for e in found if e["number"] == number] == list(range(50))
    assert json.dumps(found)
