"""The processes of the load, found again after a crash of the tool.

A worker whose engine is gone sees the end of its pipe and ends; one that a fault has frozen cannot.
So each one is noted in its cluster's directory, and whoever heals lets all of them go on.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import psutil

from chaos.errors import ClusterError

_FILE = "load.jsonl"


def note(cluster_directory: Path, name: str, pid: int) -> None:
    """Put a worker on record, so that it may be frozen. Raises ClusterError."""
    path = cluster_directory / _FILE
    with suppress(psutil.NoSuchProcess):  # ended already, so there is nothing to find again
        line = {"client": name, "pid": pid, "started": psutil.Process(pid).create_time()}
        try:
            # One write to the kernel, which keeps it whatever becomes of this process.
            with path.open("ab", buffering=0) as file:
                os.write(file.fileno(), json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise ClusterError(f"{path}: cannot be written: {error}") from error


def release(cluster_directory: Path) -> list[str]:
    """Let every frozen worker of this cluster go on; their names. A process that has the number of
    one of them by now is none of them."""
    released = []
    for line in _lines(cluster_directory / _FILE):
        with suppress(ValueError, KeyError, psutil.Error):
            about = json.loads(line)
            process = psutil.Process(about["pid"])
            if process.create_time() == about["started"] and is_frozen(process):
                process.resume()
                released.append(about["client"])
    return released


def is_frozen(process: psutil.Process) -> bool:
    """Whether the kernel says that it is stopped. Raises psutil.Error."""
    return bool(process.status() == psutil.STATUS_STOPPED)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
