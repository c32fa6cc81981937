"""A wall clock that drifts: its file is written anew, ten times a second."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from chaos_adapters.runtimes.work.loops import await_
from chaos_adapters.runtimes.work.orphans import end_acts

RUN = Path("/run")
_EVERY_S = 0.1


def offset_text(offset_s: float) -> str:
    """As libfaketime reads it."""
    return f"{offset_s:+.6f}\n"


def write_offset(path: Path, offset_s: float) -> None:
    """In one piece, as it may be read at any moment; in place, as the file is what is mounted."""
    with path.open("r+b", buffering=0) as file:
        file.write(offset_text(offset_s).encode().ljust(32))


def set_clock(directory: str, node: str, offset_s: float, drift: float) -> None:
    """What is asked for now takes the place of what was before."""
    path, holder = Path(directory) / node, _holder(node)
    _end(holder)
    write_offset(path, offset_s)
    if not drift or os.fork():
        return
    os.setsid()
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    holder.write_text(str(os.getpid()))
    started = time.monotonic()
    while True:
        time.sleep(_EVERY_S)
        write_offset(path, offset_s + drift * (time.monotonic() - started))


def right_clock(directory: str, node: str) -> None:
    """No drift, and as this machine's: also after a `set_clock` that nobody waits for any more."""
    end_acts(node)
    _holder(node).unlink(missing_ok=True)
    write_offset(Path(directory) / node, 0.0)


def _holder(node: str) -> Path:
    return RUN / f"clock-{node}"


def _end(holder: Path) -> None:
    with suppress(OSError, ValueError):
        pid = int(holder.read_text())
        os.kill(pid, signal.SIGKILL)
        await_("the clock's holder to end", lambda: not Path(f"/proc/{pid}/fd/0").exists())
    holder.unlink(missing_ok=True)
