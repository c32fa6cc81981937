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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos.errors import ClusterError
from chaos.spi import Member, Port

FIRST, LAST = 20_000, 32_000


def reserve(directory: Path, count: int) -> list[int]:
    """`count` free ports, reserved for `directory`. Raises ClusterError when there are too few."""
    return reserve_sets(directory, [[0]] * count)


def reserve_sets(directory: Path, offsets: Sequence[Sequence[int]]) -> list[int]:
    """A free number for each set of offsets to it, all of which are reserved for `directory`, 0 is
    one of them. Raises ClusterError when there are too few."""
    found: list[int] = []
    with _table() as table:
        for port in _candidates():
            if len(found) == len(offsets):
                break
            wanted = [port + offset for offset in offsets[len(found)]]
            # All are looked at before one is taken: else each set would take what the next one
            # needs, and leave it.
            if (
                all(FIRST <= number < LAST and _free(number) for number in wanted)
                and not any(_held(table / str(number)) for number in wanted)
                and all(_claim(table / str(number), directory) for number in wanted)
            ):
                found.append(port)
    if len(found) == len(offsets):
        return found
    what = f"fewer than {len(offsets)} free ports"
    raise ClusterError(f"{what} between {FIRST} and {LAST} on 127.0.0.1")


def assign(directory: Path, members: Sequence[Member], every: bool) -> dict[str, dict[str, int]]:
    """A number of its own for each port by member: for `every` one, or for those that need the same
    everywhere. Raises ClusterError."""
    wanted = [
        (member.name, port.name, _ties(member, port))
        for member in members
        for port in member.ports
        if (every or port.everywhere) and not port.tied
    ]
    bases = reserve_sets(directory, [[0, *ties.values()] for _, _, ties in wanted])
    found: dict[str, dict[str, int]] = {member.name: {} for member in members}
    for (member_name, name, ties), base in zip(wanted, bases, strict=True):
        found[member_name][name] = base
        found[member_name].update({other: base + offset for other, offset in ties.items()})
    return found


def _ties(member: Member, port: Port) -> Mapping[str, int]:
    """The ports that are tied to this one, each with its distance."""
    return {
        each.name: each.tied[1] for each in member.ports if each.tied and each.tied[0] == port.name
    }


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


def _held(path: Path) -> bool:
    """Whether somebody has it who is there."""
    try:
        owner = path.read_text()
    except OSError:
        return path.exists()
    # Empty is one whose writer was killed before it could say for whom.
    return bool(owner) and Path(owner).is_dir()


def _claim(path: Path, directory: Path) -> bool:
    try:
        if not _held(path):
            path.unlink(missing_ok=True)
        with path.open("x") as file:
            file.write(str(directory))
    except OSError:
        return False
    return True
