"""Room on a disk, and what is written to it."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos_adapters.runtimes.work.loops import OWN, await_, is_free, mounted, own

_PIECE = 64 << 10


def space(device: str) -> dict[str, int]:
    """Bytes that a user may still write, and in all."""
    with mounted(device) as top:
        about = os.statvfs(top)
        return {"free": about.f_bavail * about.f_frsize, "size": about.f_blocks * about.f_frsize}


def fill(device: str, free: int) -> None:
    """Leave so many bytes free. Blocks are reserved and not written, so nothing is full outside."""
    with mounted(device) as top, (own(top) / "filler").open("ab") as file:
        step = 0
        while True:
            about = os.statvfs(top)
            excess = about.f_bavail * about.f_frsize - free
            step = min(step or excess, excess) // about.f_frsize * about.f_frsize
            if step <= 0:
                break
            try:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), step)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2  # the last blocks are taken by what describes the first
                if step < about.f_frsize:
                    break
        os.fsync(file.fileno())


def clear(device: str) -> None:
    """Remove all files of ours."""
    with mounted(device) as top:
        own = top / OWN
        if own.exists():
            for each in own.iterdir():
                each.unlink()
            own.rmdir()


def leftovers(device: str) -> list[str]:
    """The files of ours that are there."""
    with mounted(device) as top:
        own = top / OWN
        return sorted(each.name for each in own.iterdir()) if own.exists() else []


def write(device: str, size: int, durable: bool) -> dict[str, Any]:
    """Write as a broker writes, into the page cache, and time it; with `durable` until it is on the
    disk."""
    left, said = size, ""
    with mounted(device) as top:
        started = time.monotonic()
        name = top / OWN / f"probe-{os.getpid()}"
        try:
            name = own(top) / name.name
            with name.open("wb", buffering=0) as file:
                while left > 0:
                    left -= file.write(bytes(min(left, 64 << 10)))
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        seconds = time.monotonic() - started
        with suppress(OSError):
            name.unlink()
        with suppress(OSError):
            name.parent.rmdir()  # unless there is more of ours
    return {"written": size - max(left, 0), "seconds": seconds, "error": said}


def corrupt(device: str, patterns: Sequence[str], share: float, seed: int) -> list[dict[str, Any]]:
    """Flip bytes of the files that match, `share` of them drawn by `seed` in each; a dead node's.

    Tells the SHA-256 of each before and after, read from the disk again.
    """
    await_(f"{device} to be unmounted", lambda: is_free(device))
    chance = random.Random(seed)
    done: list[dict[str, Any]] = []
    with mounted(device) as top:
        for path in sorted({path for pattern in patterns for path in top.glob(pattern)}):
            ours = path.resolve().is_relative_to(top.resolve())  # a link may lead anywhere
            size = path.stat().st_size if ours and path.is_file() and not path.is_symlink() else 0
            if size:
                before = _hash(path)
                count = min(size, max(1, int(size * share)))
                _flip(path, size, count, chance)
                name = str(path.relative_to(top))
                done.append({"file": name, "bytes": count, "before": before})
    with mounted(device) as top:  # anew, so nothing of it comes from memory
        for each in done:
            each["after"] = _hash(top / each["file"])
    return done


def _flip(path: Path, size: int, count: int, chance: random.Random) -> None:
    """By pieces, as two system calls for each byte would take minutes. Each piece gets its share of
    them; where the next one is due after the start of the file is drawn, too."""
    due = chance.randrange(size)
    with path.open("r+b", buffering=0) as file:
        for start in range(0, size, _PIECE):
            length = min(_PIECE, size - start)
            here = (due + count * (start + length)) // size - (due + count * start) // size
            if here:
                places = range(length) if here == length else chance.sample(range(length), here)
                found = bytearray(os.pread(file.fileno(), length, start))
                for place in places:
                    found[place] ^= 0xFF
                os.pwrite(file.fileno(), found, start)
        os.fsync(file.fileno())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
