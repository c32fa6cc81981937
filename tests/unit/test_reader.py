"""Reading histories back: whole, cut off, damaged."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from chaos.errors import HistoryError
from chaos.history.reader import Stream, Wanted, look_up, streams
from chaos.history.schema import ENDS, FINAL, RESERVED
from chaos.history.writer import Writer, stream_path
from chaos.spi import Batch, PartitionEnd
from tests.histories import Copy, History, Send, right


def only(run: Path, table: str) -> Stream:
    """The one stream of a table."""
    (found,) = [stream for stream in streams(run) if stream.table == table]
    return found


def numbers(stream: Stream, rows: int = 1 << 18) -> list[int]:
    """The sequence numbers in a stream."""
    return [n for batch in stream.batches(rows) for n in batch["sequence"].tolist()]


def test_all_columns_come_back(tmp_path: Path) -> None:
    """What was written is what is read, with its client and producer."""
    history = History(
        sends=[Send(0, 2, 7, 1.0, 2.0, producer=3, key=5)],
        deliveries=[Copy(0, 2, 7, 3.0, 3, client=1, redelivered=True, intact=False)],
    )
    history.write(tmp_path)
    deliveries, sends = (next(iter(stream.batches())) for stream in streams(tmp_path))
    both: list[tuple[Batch, Send | Copy]] = [
        (deliveries, history.deliveries[0]),
        (sends, history.sends[0]),
    ]
    for batch, expected in both:
        assert {n: column[0].item() for n, column in batch.columns.items()} == expected.row()
    assert (sends.client, sends.producer) == ("producer-3", 3)
    assert (deliveries.client, deliveries.producer) == ("consumer-1", -1)


def test_order_of_streams(tmp_path: Path) -> None:
    """Deliveries and stored rows come before sends, so that verifiers remember little."""
    right(3, producers=2).write(tmp_path)
    assert [stream.table for stream in streams(tmp_path)] == [
        "deliveries", "stored", "sends", "sends",
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 4, 7, 100])
def test_small_batches_are_joined(tmp_path: Path, rows: int) -> None:
    """However they were written, batches have about the size that is asked for, in order."""
    right(20).write(tmp_path, rows=3)
    stream = only(tmp_path, "sends")
    assert numbers(stream, rows) == list(range(20))
    sizes = [len(batch) for batch in stream.batches(rows)]
    assert all(rows <= size < rows + 3 for size in sizes[:-1])
    assert stream.rows == 20


def test_metadata(tmp_path: Path) -> None:
    """Reserved numbers, the orderly end and the ends of partitions are known after reading."""
    history = right(5)
    history.handed_out = {0: 9}
    history.write(tmp_path)
    found = streams(tmp_path)
    for stream in found:
        assert list(stream.batches())
    assert all(stream.final and not stream.torn for stream in found)
    assert only_after(found, "sends").reserved == 9
    assert only_after(found, "stored").ends == (PartitionEnd(0, 0, 5, 5),)


def only_after(found: list[Stream], table: str) -> Stream:
    """The stream of a table among those that were read."""
    return next(stream for stream in found if stream.table == table)


def test_every_cut_keeps_what_was_complete(tmp_path: Path) -> None:
    """Cut at any byte, a stream gives its whole batches and never an error."""
    path = stream_path(tmp_path, "producer-0", "sends")
    writer = Writer(path, "sends")
    complete = [0]
    for number in range(3):
        writer.write([[number], [-1], [0], [number], [1], [1], [1], [1]], {RESERVED: b"10"})
        complete.append(path.stat().st_size)
    whole = path.read_bytes()
    complete[0] = 2 * complete[1] - complete[2]  # the schema goes before the first batch
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        stream = only(tmp_path, "sends")
        expected = sum(end <= size for end in complete[1:])
        assert numbers(stream) == list(range(expected)), size
        assert not stream.final
        # Less than the eight bytes that lead in a batch look like a stream that just stops.
        if all(abs(size - end) > 8 for end in complete):
            assert stream.torn, size


def test_killed_writer(tmp_path: Path) -> None:
    """What a writer reported as written before `kill -9` is read."""
    program = f"""
import os, signal
from pathlib import Path
from chaos.history.writer import Writer, stream_path
writer = Writer(stream_path(Path({str(tmp_path)!r}), "producer-0", "sends"), "sends")
writer.write([[0, 1], [-1, -1], [0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [1, 1]])
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert numbers(only(tmp_path, "sends")) == [0, 1]


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (0, b"\0" * 8),
        (0, b"\xff\xff\xff\xff" + b"\0" * 4),
        (0, b"\x55" * 64),
        (8, b"\xff" * 32),
    ],
)
def test_damage_in_the_middle_is_an_error(tmp_path: Path, place: int, damage: bytes) -> None:
    """Only the end may be missing: damage before it never makes a history shorter in silence, not
    even where it looks like an end (a length of zero)."""
    path = stream_path(tmp_path, "producer-0", "sends")
    writer = Writer(path, "sends")
    writer.write([[0], [-1], [0], [0], [1], [1], [1], [1]])
    start = path.stat().st_size + place
    writer.write([[1], [-1], [0], [1], [1], [1], [1], [1]])
    writer.write([[2], [-1], [0], [2], [1], [1], [1], [1]])
    raw = bytearray(path.read_bytes())
    raw[start : start + len(damage)] = damage
    path.write_bytes(raw)
    with pytest.raises(HistoryError, match=r"producer-0\.sends\.arrow: damaged"):
        numbers(only(tmp_path, "sends"))


def test_no_history(tmp_path: Path) -> None:
    """A directory without a history is told, with its name."""
    with pytest.raises(HistoryError, match=str(tmp_path)):
        streams(tmp_path)


def test_file_that_does_not_belong(tmp_path: Path) -> None:
    """A file that cannot be judged is an error, not passed over."""
    right(1).write(tmp_path)
    (tmp_path / "history" / "notes.txt").write_text("?")
    with pytest.raises(HistoryError, match=r"notes\.txt"):
        streams(tmp_path)


def test_other_schema(tmp_path: Path) -> None:
    """A table of another version is told apart from a damaged one."""
    path = stream_path(tmp_path, "producer-0", "sends")
    path.parent.mkdir()
    table = pa.table({"sequence": [1]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(HistoryError, match="version"):
        numbers(only(tmp_path, "sends"))


def test_look_up(tmp_path: Path) -> None:
    """Exactly the wanted messages are found, in all tables, by identity or by place."""
    history = right(50, producers=2)
    history.stored.append(Copy(7, offset=500, producer=1))
    history.stored.append(Copy(-1, offset=501, producer=-1, intact=False))
    history.stored.append(Copy(-1, offset=502, producer=-1, intact=False))
    history.write(tmp_path)
    wanted = Wanted(frozenset({(1, 7), (0, 9), (5, 1)}), frozenset({(0, 501)}))
    with ThreadPoolExecutor(2) as pool:
        rows = look_up(tmp_path, wanted, pool)
    found = [(row.client, row.values["producer"], row.values["sequence"]) for row in rows]
    assert sorted(found) == [
        ("consumer-0", 0, 9), ("consumer-0", 1, 7), ("producer-0", 0, 9), ("producer-1", 1, 7),
        ("reader-0", -1, -1), ("reader-0", 0, 9), ("reader-0", 1, 7), ("reader-0", 1, 7),
    ]  # fmt: skip
    foreign = next(row for row in rows if row.values["producer"] == -1)
    assert foreign.values["offset"] == 501


def test_final_in_an_empty_batch(tmp_path: Path) -> None:
    """Metadata counts although its batch has no rows."""
    path = stream_path(tmp_path, "reader-0", "stored")
    writer = Writer(path, "stored")
    writer.write(metadata={FINAL: b"1", ENDS: b"[[3, 1, 9, 5]]"})
    writer.close()
    stream = only(tmp_path, "stored")
    assert list(stream.batches()) == []
    assert stream.final
    assert stream.ends == (PartitionEnd(3, 1, 9, 5),)
