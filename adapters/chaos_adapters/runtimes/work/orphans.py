"""Acts that outlived whoever asked for them: a `kill -9` of the tool ends no program in an agent,
and what it does after the heal nobody would undo."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from chaos_adapters.runtimes import work
from chaos_adapters.runtimes.work.loops import await_

PROC = Path("/proc")
_ACTS = ("corrupt", "fail", "fill", "limit", "lose_power", "set_clock", "use_up_memory")


def end_acts(thing: str) -> None:
    """Whoever still acts on this device or container, and whoever is about to."""
    while acts := list(_acts(thing)):  # again, as one may have forked since
        for process in acts:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
            await_(f"process {process.name} to end", partial(_ended, process))


def _acts(thing: str) -> Iterator[Path]:
    """As their arguments tell, also of what starts them: `... -m WORK COMMAND JSON`."""
    for process in PROC.glob("[0-9]*"):
        *_, module, command, about = ["", "", "", *_argv(process)]
        if module == work.__name__ and command in _ACTS and json.dumps(thing) in about:
            yield process


def _ended(process: Path) -> bool:
    return not _argv(process)


def _argv(process: Path) -> list[str]:
    """Empty when it has ended."""
    try:
        return (process / "cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []
