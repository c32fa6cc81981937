"""Processes that carry a cluster's id in their environment, so that a crash cannot hide them; and
where the directory of a cluster is, in words that can stand in a mark."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from chaos.errors import ClusterError

MARK = "MQCHAOS_CLUSTER"
"""The variable; its value is the id of the cluster."""
PLACE = "MQCHAOS_DIRECTORY"
"""The variable beside it; its value is `place_of` the cluster's directory."""
_GONE_WITHIN_S = 10.0


def place_of(directory: Path) -> str:
    """A directory as a mark tells it: a daemon's containers may be those of several machines."""
    return f"{socket.gethostname()}:{directory}"


def directory_at(place: str) -> Path | None:
    """The directory that a mark tells; None when it is one of another machine."""
    host, _, path = place.partition(":")
    return Path(path) if path and host == socket.gethostname() else None


def of(cluster_id: str, directory: Path) -> dict[str, str]:
    """The marks of a cluster's processes, to be put into their environment."""
    return {MARK: cluster_id, PLACE: place_of(directory)}


def leftovers() -> Mapping[str, list[str]]:
    """The marked processes by their clusters' ids, for people."""
    found: dict[str, list[str]] = {}
    for process, mark in marked():
        with suppress(psutil.NoSuchProcess):
            found.setdefault(mark, []).append(f"process {process.pid} ({process.name()})")
    return found


def directories() -> Mapping[str, Path]:
    """The directories of all clusters that have a process, by their ids."""
    found = {}
    for process, mark in marked():
        with suppress(psutil.Error, OSError):
            if directory := directory_at(process.environ().get(PLACE, "")):
                found[mark] = directory
    return found


def marked() -> Iterator[tuple[psutil.Process, str]]:
    """This user's living processes that carry the mark, each with the cluster's id."""
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            mark = process.environ().get(MARK)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
        if mark:
            yield process, mark


def kill_marked(cluster_id: str) -> None:
    """SIGKILL to all of a cluster's processes, until none is left. Raises ClusterError."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while processes := [process for process, mark in marked() if mark == cluster_id]:
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {[p.pid for p in processes]} do not end")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=1)
