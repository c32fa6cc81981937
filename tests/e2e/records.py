"""What the records of a run's own clients say, whatever its broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.tools import Ran


def came_out(run_directory: Path) -> set[tuple[int, int]]:
    """(producer, sequence) of all that consumers got, was stored at the end, or was
    dead-lettered."""
    found: set[tuple[int, int]] = set()
    for table in ("deliveries", "stored", "dead"):
        for path in (run_directory / "history").glob(f"*.{table}.arrow"):
            rows: Any = pa.ipc.open_stream(path).read_all()
            names = ("producer", "sequence", "intact")
            for *identity, intact in zip(*(rows[name].to_pylist() for name in names), strict=True):
                if intact:
                    found.add((identity[0], identity[1]))
    return found


def received(run_directory: Path) -> list[tuple[int, int, str]]:
    """(time in ns, partition, consumer) of all that consumers got, in the order of time."""
    found: list[tuple[int, int, str]] = []
    for path in (run_directory / "history").glob("*.deliveries.arrow"):
        rows: Any = pa.ipc.open_stream(path).read_all()
        consumer, _, _ = path.name.partition(".")
        times, partitions = (rows[name].to_pylist() for name in ("received_ns", "partition"))
        found += [(at, number, consumer) for at, number in zip(times, partitions, strict=True)]
    return sorted(found)


def lost_as_named(ran: Ran) -> set[tuple[int, int]]:
    """(producer, sequence) of all that was acknowledged and came out nowhere: some, and exactly
    those that the verdict calls lost."""
    missing = acknowledged(ran.directory) - came_out(ran.directory)
    assert missing, "nothing was lost: the experiment shows nothing"
    assert ran.evidence("lost") == missing
    return missing
