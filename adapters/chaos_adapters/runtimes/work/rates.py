"""How fast a disk may be read and written, with version 1 and 2 of control groups."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from chaos_adapters.runtimes.work.groups import CGROUP, group_of, join
from chaos_adapters.runtimes.work.loops import SYS, mounted, own, run
from chaos_adapters.runtimes.work.orphans import end_acts

WHATS = ("read_bps", "write_bps", "read_iops", "write_iops")
_V2 = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
_MAJOR = 7  # of loop devices
_LEAST_DIRTY = 1 << 20
_BLOCK, _PIECE = 4 << 10, 64 << 10
_PACE_S, _MOST_S = 2, 4.0
_COUNT = struct.Struct("Q")


def _number(device: str) -> str:
    return f"{_MAJOR}:{device.removeprefix('/dev/loop')}"


def _rules(container: str) -> dict[str, Any]:
    """Where rates are set: with version 1 for the broker and for the root, in whose name the kernel
    writes back; version 2 knows who made a page dirty."""
    broker = group_of("blkio", container) if container else None
    if not (CGROUP / "blkio").is_dir():
        return {"v2": [broker / "io.max"] if broker else []}
    groups = [CGROUP / "blkio", *([broker] if broker else [])]
    return {what: [g / f"blkio.throttle.{what}_device" for g in groups] for what in WHATS}


def limit(device: str, container: str, rates: Mapping[str, int]) -> None:
    """Rates in bytes or operations a second; and how much may wait to be written back, else a
    broker that writes into the page cache would feel nothing for minutes."""
    rules = _rules(container)
    for what, rate in rates.items():
        for file in rules.get(what, ()):
            file.write_text(f"{_number(device)} {rate}")
        for file in rules.get("v2", ()):
            file.write_text(f"{_number(device)} {_V2[what]}={rate}")
    if "write_bps" in rates:
        bdi = SYS / "class" / "bdi" / _number(device)
        (bdi / "strict_limit").write_text("1")  # first, as by it `unlimit` knows of the other
        (bdi / "max_bytes").write_text(str(max(rates["write_bps"], _LEAST_DIRTY)))


def flush(device: str) -> None:
    """Write back all that waits for it: a rate would begin with a minute of old data."""
    with mounted(device) as top:
        run("sync", "-f", str(top))


def limits(device: str, container: str) -> dict[str, list[int]]:
    """What holds now: of each rate the value in every place where it should stand, 0 for none."""
    found = {}
    for what, files in _rules(container).items():
        if what == "v2":
            told = [dict(part.split("=") for part in _rule(f, device).split()) for f in files]
            for name, key in _V2.items():
                values = [t.get(key, "max") for t in told]
                found[name] = [0 if value == "max" else int(value) for value in values]
        else:
            found[what] = [int(_rule(file, device) or 0) for file in files]
    strict = int((SYS / "class" / "bdi" / _number(device) / "strict_limit").read_text())
    return {what: values for what, values in found.items() if any(values)} | (
        {"strict": [strict]} if strict else {}
    )


def _rule(file: Path, device: str) -> str:
    for line in file.read_text().splitlines():
        which, _, value = line.partition(" ")
        if which == _number(device):
            return value
    return ""


def unlimit(device: str, container: str = "") -> None:
    """As a loop device is at first: no rates, and its share of the page cache."""
    end_acts(device)
    for what, files in _rules(container).items():
        for file in files:
            if _rule(file, device):
                value = " ".join(f"{key}=max" for key in _V2.values()) if what == "v2" else "0"
                file.write_text(f"{_number(device)} {value}")
    bdi = SYS / "class" / "bdi" / _number(device)
    if int((bdi / "strict_limit").read_text()):
        (bdi / "max_ratio").write_text("100")
        (bdi / "strict_limit").write_text("0")


def pace(device: str, container: str, what: str, rate: int) -> float:
    """How fast one goes who is in the broker's control group, measured on two seconds' worth of the
    rate: bytes a second, or operations of 4 KiB. Reads and single operations go past the page
    cache; bytes are written into it, and what may wait there does not count."""
    join("blkio", container)
    if what == "write_bps":
        return _paced_in_cache(device, rate)
    if what == "write_iops":
        with mounted(device) as top:
            path = own(top) / f"probe-{os.getpid()}"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
            path.unlink()
            return _paced(file, os.pwritev, _BLOCK, _PACE_S * rate, 1)
    file = os.open(device, os.O_RDONLY | os.O_DIRECT)
    if what == "read_iops":
        return _paced(file, os.preadv, _BLOCK, _PACE_S * rate, 1)
    return _paced(file, os.preadv, _PIECE, _PACE_S * rate // _PIECE + 1, _PIECE)


def _paced(file: int, act: Callable[..., int], size: int, count: int, worth: int) -> float:
    """Single operations, one after the other, for a few seconds at most."""
    with mmap.mmap(-1, size) as piece:  # aligned, as O_DIRECT wants it
        span, done, started = max(size, os.lseek(file, 0, os.SEEK_END)), 0, time.monotonic()
        while done < count and time.monotonic() - started < _MOST_S:
            act(file, [piece], done * size % (span - span % size))
            done += 1
        seconds = time.monotonic() - started
    os.close(file)
    return done * worth / seconds


def _paced_in_cache(device: str, rate: int) -> float:
    """By a child, as nothing but its death gets it out of a write that the page cache holds up; a
    broker that writes, too, may leave it hardly anything."""
    waiting = max(rate, _LEAST_DIRTY)
    with mounted(device) as top, mmap.mmap(-1, mmap.PAGESIZE) as shared:
        path = own(top) / f"probe-{os.getpid()}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        path.unlink()
        started = time.monotonic()
        if not (child := os.fork()):
            _write_on(file, waiting + _PACE_S * rate, shared)
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() - started > _MOST_S:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.002)
        seconds = time.monotonic() - started
        os.close(file)
        if ended[1]:
            why = os.strerror(os.waitstatus_to_exitcode(ended[1]))
            raise SystemExit(f"cannot write to {device}: {why}")
        written: int = _COUNT.unpack_from(shared)[0]
    return max(written - waiting, 1) / seconds


def _write_on(file: int, size: int, shared: mmap.mmap) -> NoReturn:
    """Write so much, noting how much it was so far, and end, with the error if there is one: what
    is mounted is its parent's to take off."""
    done = 0
    try:
        while done < size:
            done += os.write(file, bytes(_BLOCK))
            _COUNT.pack_into(shared, 0, done)
    except OSError as error:
        os._exit(error.errno or 1)
    os._exit(0)


def sync(device: str, container: str) -> dict[str, float]:
    """Seconds that one waits who is in the broker's control group: for fsync of a small file, and
    for 1 MiB to be in the page cache, which is forgotten again."""
    join("blkio", container)
    with mounted(device) as top:
        path = own(top) / f"probe-{os.getpid()}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        started = time.monotonic()
        os.write(file, bytes(1 << 20))
        written = time.monotonic()
        os.ftruncate(file, 0)
        os.write(file, bytes(_BLOCK))
        before = time.monotonic()
        os.fsync(file)
        synced = time.monotonic()
        path.unlink()
        os.close(file)
    return {"sync": synced - before, "write": written - started}
