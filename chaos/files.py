"""Writing files so that a crash leaves the old text or the new one, never half of it."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace the content of `path` atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _keep_name(path)


def append_durably(path: Path, line: str) -> None:
    """Append one line; it is on the disk when this returns.

    A torn line before it, left by a crash or a full disk, is ended first.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        left = b"\n" * torn + line.encode() + b"\n"
        while left:  # a disk that is nearly full takes a part and says so only the next time
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        if not size:
            _keep_name(path)
    finally:
        os.close(descriptor)


def _keep_name(path: Path) -> None:
    """A new file is on the disk with its name only when its directory is, too (fsync(2))."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
