"""Processes that carry a cluster's id in their environment, so that a crash cannot hide them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from chaos.errors import ClusterError

MARK = "MQCHAOS_CLUSTER"
"""The variable; its value is the id of the cluster."""
_GONE_WITHIN_S = 10.0


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
