"""Loop devices, and the file systems on them."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SYS = Path("/host/sys")
OWN = ".mqchaos"
"""The directory on each disk in which files of ours are."""
_FREE_WITHIN_S = 15.0


def run(*argv: str, accept: Sequence[int] = (0,)) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode not in accept:
        said = (done.stderr or done.stdout).strip()
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}: {said}")
    return done.stdout.strip()


def await_(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FREE_WITHIN_S
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {_FREE_WITHIN_S:g} s still waiting for {what}")
        time.sleep(0.05)


def attached(prefix: str) -> dict[str, str]:
    """Device -> name of its image, of all loop devices whose images are called so."""
    found = {}
    for backing in SYS.glob("block/loop*/loop/backing_file"):
        with suppress(OSError):  # detached just now
            name = Path(backing.read_text().rstrip("\n").removesuffix(" (deleted)")).name
            if name.startswith(prefix):
                found[f"/dev/{backing.parts[-3]}"] = name
    return found


@contextmanager
def mounted(device: str) -> Iterator[Path]:
    """The top directory of the disk; where it is mounted already, of the same file system."""
    top = tempfile.mkdtemp(prefix="disk-")
    try:
        run("mount", device, top)
        try:
            yield Path(top)
        finally:
            run("umount", top)
    finally:
        Path(top).rmdir()


def own(top: Path) -> Path:
    path = top / OWN
    path.mkdir(exist_ok=True)
    return path


def check(device: str) -> str:
    """Check the file system and mend it; once nobody has it mounted any more."""
    await_(f"{device} to be unmounted", lambda: is_free(device))
    kind = run("blkid", "-o", "value", "-s", "TYPE", device)
    if kind == "xfs":
        with mounted(device):
            pass  # plays the log back, which the check wants empty
        return run("xfs_repair", device)
    said = run("e2fsck", "-p", device, accept=(0, 1, 4))
    return said if "UNEXPECTED" not in said else run("e2fsck", "-y", device, accept=(0, 1))


def is_free(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_EXCL))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
