"""The processes of the load, found again after a crash of the tool.

A worker whose engine is gone sees the end of its pipe and ends; one that a fault has frozen cannot.
So the kernel is told to let each one go on when the tool dies (`outlive_nobody`), where it can do
that; and each one is noted in its cluster's directory, so that whoever heals lets all of them go
on. The mark in its environment says whose it is when even that directory is gone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from chaos.errors import ClusterError

MARK = "MQCHAOS_TOOL"
"""In the environment of every worker: the tool's process and when it was started."""

_FILE = "load.jsonl"
_SET_PDEATHSIG = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_GONE_WITHIN_S = 5.0


def mark() -> dict[str, str]:
    """What this process, the tool, puts into the environment of its workers."""
    return {MARK: f"{os.getpid()}:{psutil.Process().create_time()}"}


def outlive_nobody() -> None:
    """Have the kernel send SIGCONT to this process, a worker, when the thread that started it is
    gone: frozen or not, it then sees the end of its pipe and ends. Linux only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGCONT)


def orphans() -> list[str]:
    """Living workers whose tool is dead, for people."""
    return [_called(process) for process in _orphans()]


def put_down() -> list[str]:
    """Let them go on, which ends them in order, and kill who does not; who they were."""
    found = list(_orphans())
    called = [_called(process) for process in found]
    for process in found:
        with suppress(psutil.Error):
            process.resume()
    _, alive = psutil.wait_procs(found, timeout=_GONE_WITHIN_S)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    return called


def _orphans() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            pid, _, started = process.environ().get(MARK, "").partition(":")
            if started and not _lives(int(pid), float(started)):
                yield process


def _lives(pid: int, started: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() == started)
    except psutil.NoSuchProcess:
        return False


def _called(process: psutil.Process) -> str:
    try:
        *_, role, number = process.cmdline()
        return f"{role} {number} (process {process.pid}, {process.status()})"
    except (psutil.Error, ValueError):
        return f"process {process.pid}"


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
    for client, process in _frozen(cluster_directory):
        with suppress(psutil.Error):
            process.resume()
            released.append(client)
    return released


def frozen(cluster_directory: Path) -> list[str]:
    """The workers of this cluster that stand still."""
    return [client for client, _ in _frozen(cluster_directory)]


def _frozen(cluster_directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    for line in _lines(cluster_directory / _FILE):
        with suppress(ValueError, KeyError, psutil.Error):
            about = json.loads(line)
            process = psutil.Process(about["pid"])
            if process.create_time() == about["started"] and is_frozen(process):
                yield about["client"], process


def is_frozen(process: psutil.Process) -> bool:
    """Whether the kernel says that it is stopped. Raises psutil.Error."""
    return bool(process.status() == psutil.STATUS_STOPPED)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
