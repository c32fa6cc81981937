"""Loopback ports that no other run takes, held for as long as a cluster's directory is there.

The numbers lie below the range from which kernels take ports for outgoing connections, so that
nothing takes one while a killed broker is down. A port is reserved by a file of its own, which
names the directory that holds it; a file whose directory is gone counts for nothing.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos.errors import ClusterError

FIRST, LAST = 20_000, 32_000


def reserve(directory: Path, count: int) -> list[int]:
    """`count` free ports, reserved for `directory`. Raises ClusterError when there are too few."""
    found: list[int] = []
    with _table() as table:
        for port in _candidates():
            if len(found) == count:
                break
            if _free(port) and _claim(table / str(port), directory):
                found.append(port)
    if len(found) == count:
        return found
    raise ClusterError(f"fewer than {count} free ports between {FIRST} and {LAST} on 127.0.0.1")


def _candidates() -> Iterator[int]:
    """All ports once, from a random start, so that runs that begin together rarely meet."""
    start = random.SystemRandom().randrange(FIRST, LAST)
    yield from range(start, LAST)
    yield from range(FIRST, start)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def _table() -> Iterator[Path]:
    """The directory of reservations, shared by all users of the machine, ours alone meanwhile."""
    base = Path(tempfile.gettempdir()) / "mqchaos-ports"
    with suppress(FileExistsError):
        base.mkdir()
        base.chmod(0o1777)
    descriptor = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield base
    finally:
        os.close(descriptor)


def _claim(path: Path, directory: Path) -> bool:
    try:
        # Empty is one whose writer was killed before it could say for whom.
        if path.is_file() and not ((owner := path.read_text()) and Path(owner).is_dir()):
            path.unlink()
        with path.open("x") as file:
            file.write(str(directory))
    except OSError:
        return False
    return True
