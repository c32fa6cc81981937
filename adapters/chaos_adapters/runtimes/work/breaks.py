"""The ends of a disk: its power is lost, or its file system meets an error."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import struct
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from chaos_adapters.runtimes.work.loops import OWN, SYS, await_, is_free, mounted, own, run
from chaos_adapters.runtimes.work.orphans import end_acts

RUN = Path("/run")
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)  # FS_IOC_SHUTDOWN, XFS and ext4


def lose_power(devices: Sequence[str], mark: str) -> dict[str, float]:
    """What is not on the disks now is gone, on all of them at once: within so many seconds.

    Right before, two lines are written to each: one is forced to the disk, the other is not.
    """
    tops = [tempfile.mkdtemp(prefix="disk-") for _ in devices]
    for device, top in zip(devices, tops, strict=True):
        run("mount", device, top)
    try:
        for top in tops:
            _sentinels(own(Path(top)), mark)
        files = [os.open(top, os.O_RDONLY) for top in tops]
        moments = []
        for file in files:
            fcntl.ioctl(file, _SHUTDOWN, _NO_LOG_FLUSH)
            moments.append(time.monotonic())
        for file in files:
            os.close(file)
    finally:
        for top in tops:
            run("umount", top)
    return {"within": moments[-1] - moments[0]}


def _sentinels(own: Path, mark: str) -> None:
    for name, durable in (("durable", True), ("volatile", False)):
        with (own / f"{name}-{mark}").open("wb", buffering=0) as file:
            file.write(mark.encode())
            if durable:
                os.fsync(file.fileno())
                directory = os.open(own, os.O_RDONLY)
                os.fsync(directory)
                os.close(directory)


def survived(device: str, mark: str) -> dict[str, bool]:
    """Which of the two lines are there, on a disk that nobody else has mounted."""
    await_(f"{device} to be unmounted", lambda: is_free(device))
    with mounted(device) as top:
        files = {name: top / OWN / f"{name}-{mark}" for name in ("durable", "volatile")}
        return {
            name: file.is_file() and file.read_bytes() == mark.encode()
            for name, file in files.items()
        }


def _told(device: str) -> Path:
    return RUN / f"holder{device.replace('/', '-')}"


def fail(device: str) -> None:
    """Open a file, let the file system (ext4) meet an error, so that it turns read-only, and stay
    behind to go on writing to that file."""
    _let_go(device)
    top = tempfile.mkdtemp(prefix="disk-")
    run("mount", device, top)
    file = os.open(own(Path(top)) / "open", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(file, b".")
    (SYS / "fs" / "ext4" / device.removeprefix("/dev/") / "trigger_fs_error").write_text("1")
    if os.fork():
        return
    os.setsid()
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    _hold(_told(device), file)


def _hold(told: Path, file: int) -> None:
    """Write for ever, and tell how it went."""
    while True:
        try:
            os.write(file, b".")
            said = ""
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        fresh = told.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": os.getpid(), "error": said, "at": time.monotonic()}))
        fresh.replace(told)
        time.sleep(0.1)


def failed(device: str) -> str:
    """What a write to the file that was open gets now; empty: nothing is wrong, or no file is."""
    try:
        about = json.loads(_told(device).read_text())
    except (OSError, ValueError):
        return ""
    fresh = time.monotonic() - about["at"] < 2 and Path(f"/proc/{about['pid']}").exists()
    return str(about["error"]) if fresh else ""


def release(device: str) -> None:
    """End who stayed behind, and so the mount that it kept."""
    end_acts(device)
    _let_go(device)


def _let_go(device: str) -> None:
    told = _told(device)
    with suppress(OSError, ValueError):
        pid = json.loads(told.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        await_("the holder to end", lambda: not Path(f"/proc/{pid}/fd/0").exists())
    told.unlink(missing_ok=True)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, place = line.split()[:2]
        if source == device:
            run("umount", place)
