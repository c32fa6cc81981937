"""How much memory a broker may have, with version 1 and 2 of control groups."""

from __future__ import annotations

import errno
import mmap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos_adapters.runtimes.work.groups import CGROUP, group_of, join, leave
from chaos_adapters.runtimes.work.orphans import end_acts

_NO_LIMIT = 1 << 62
"""Version 1 tells that there is none by the greatest number of pages."""
_WHATS, _WISH = ("limit", "kills", "use", "swap"), "memory.swappiness"
_ROOM = 16 << 20
_PIECE = 4 << 20
_LIMIT_WITHIN_S, _KILL_WITHIN_S = 20.0, 20.0


def _files(container: str) -> dict[str, Path] | None:
    """Where the group of a container tells what; None: it does not run. A kernel without swap may
    have no file of it."""
    group = group_of("memory", container)
    if group is None:
        return None
    if (CGROUP / "memory").is_dir():
        names = ("memory.limit_in_bytes", "memory.oom_control", "memory.stat", "memory.swappiness")
    else:
        names = ("memory.max", "memory.events", "memory.stat", "memory.swap.max")
    return {what: group / name for what, name in zip(_WHATS, names, strict=True)}


def _swap(file: Path, *, allowed: bool) -> None:
    """Whether the group may swap its memory out; a kernel that may do so kills nobody. Version 1 is
    told by how much it would like to, which is as in the group above at first."""
    if not file.exists():
        return
    usual = (file.parent.parent / file.name).read_text() if file.name == _WISH else "max"
    wanted = usual.strip() if allowed else "0"
    if file.read_text().strip() != wanted:
        file.write_text(wanted)


def _told(file: Path, *keys: str) -> int:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key in keys:
            return int(value)
    raise SystemExit(f"{file} does not tell {' or '.join(keys)}")


def memory_limit(container: str) -> int:
    """In bytes; 0 when there is none, or no group as nothing runs."""
    files = _files(container)
    text = files["limit"].read_text().strip() if files else "max"
    return 0 if text == "max" or int(text) > _NO_LIMIT else int(text)


def lift_memory_limit(container: str) -> None:
    """As a container is started."""
    end_acts(container)
    if files := _files(container):
        if memory_limit(container):
            files["limit"].write_text("-1" if (CGROUP / "memory").is_dir() else "max")
        _swap(files["swap"], allowed=True)


def use_up_memory(container: str) -> dict[str, Any]:
    """Leave the group little more than what its processes need, and use that up from within, until
    the kernel kills one of them: the largest one, which is never this one."""
    files = _files(container)
    if files is None:
        raise SystemExit("the broker has no control group, as it does not run")
    before = _told(files["kills"], "oom_kill")
    _swap(files["swap"], allowed=False)
    used, limit = _squeeze(files)
    join("memory", container)
    try:
        kills, taken = _take(files["kills"], before, used // 4)
    finally:
        leave("memory")  # a group with somebody in it could not be removed
    return {"used": used, "limit": limit, "taken": taken, "before": before, "after": kills}


def _squeeze(files: Mapping[str, Path]) -> tuple[int, int]:
    """What the processes use, and the limit that leaves them little more. Version 1 refuses what it
    cannot make true, as they use more by now, or the group holds what is not told as theirs and
    cannot be freed: pages that are being written, and the kernel's own for it. How much that is
    shows when the limit is accepted."""
    deadline, room = time.monotonic() + _LIMIT_WITHIN_S, _ROOM
    while True:
        # Shared memory, in which Erlang keeps the code that it compiled, can go nowhere either.
        used = _told(files["use"], "rss", "anon") + _told(files["use"], "shmem")
        limit = used + room
        try:
            files["limit"].write_text(str(limit))
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise SystemExit(f"memory cannot be limited to {limit} bytes: {error}") from error
            room += _PIECE
            time.sleep(0.1)
        else:
            return used, limit


def _take(kills: Path, before: int, most: int) -> tuple[int, int]:
    """Touch memory until somebody was killed, at most so many bytes; kills by now, and bytes."""
    held: list[mmap.mmap] = []
    deadline = time.monotonic() + _KILL_WITHIN_S
    while (now := _told(kills, "oom_kill")) == before and time.monotonic() < deadline:
        if len(held) * _PIECE < most:
            held.append(mmap.mmap(-1, _PIECE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            held[-1].write(b"\1" * _PIECE)
        else:
            time.sleep(0.02)
    return now, len(held) * _PIECE
