"""Reads what the brokers logged of themselves: shares no code with mqchaos."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) [A-Z]+ \[[^]]*\] (.*)")


def lines(run_directory: Path, pattern: str, broker: str = "kafka") -> list[tuple[int, str]]:
    """Time in ms and text of all lines of all brokers that match, in the order of their times.
    Others that log as Java programs do are read as well."""
    found = []
    for path in (run_directory / "logs").glob(f"{broker}-*.log"):
        for line in path.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match and re.search(pattern, match[2]):
                found.append((round(datetime.fromisoformat(match[1]).timestamp() * 1e3), match[2]))
    return sorted(found)


def fenced(run_directory: Path, node: int, after_ms: float) -> int:
    """When the active controller decided that a broker is gone."""
    pattern = rf"Fencing broker {node} at epoch"
    return next(at for at, _ in lines(run_directory, pattern) if at > after_ms)


def taken_over(run_directory: Path, after_ms: float) -> int:
    """When the first broker took over other leaders, or other in-sync sets, from the metadata log.

    It tells them from then on, and acts on them next, partition by partition: on a busy machine
    it is hundreds of ms later that it logs "starts at leader epoch" of the last one.
    """
    pattern = r"Transitioning \d+ partition\(s\) to local (leaders|followers)"
    return next(at for at, _ in lines(run_directory, pattern) if at > after_ms)


def in_sync(run_directory: Path, topic: str, partition: int, replicas: int, after_ms: float) -> int:
    """When the first broker took over from the metadata log that the in-sync set is whole; the last
    time.

    Each says so for every change of the set: "Skipped the become-follower state change for ...".
    """
    whole = rf"isr=\[(\d+, ){{{replicas - 1}}}\d+\].*partitionEpoch=(\d+)"
    pattern = rf"become-(leader|follower) state change for {topic}-{partition} .*{whole}"
    first: dict[int, int] = {}
    for at, text in lines(run_directory, pattern):
        if at > after_ms:
            first.setdefault(int(text.split("partitionEpoch=")[1].split(",")[0]), at)
    return first[max(first)]
