"""Runs `chaos` with something that happens at an exact moment of it.

    python drive.py PLAN ARGUMENT...       PLAN is a Plan as JSON; the rest is for `chaos`

What happens, happens on the thread that reached the moment, before that thread goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from chaos import cli
from chaos.history.events import EventLog
from chaos.timing import now_ns


@dataclass(frozen=True)
class Plan:
    """What is to happen, and when.

    `at` is `before MODULE:NAME` or `after MODULE:NAME` for a call, or `event FIELD=VALUE ...` for
    an event; `turn` says which of them counts. `do` lists `WHO:SIGNAL`, where WHO is `tool`,
    `reaper`, a worker (`producer 0`) or a node; and `disk:FILL`, `disk:BLINK` (there is room again
    after half a second) for the file system at ./disk. `values` replaces constants, by MODULE:NAME.
    """

    at: str = ""
    turn: int = 1
    do: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)
    note: str = "moment"
    """The file that gets the time of the moment, on the run's clock."""

    def text(self) -> str:
        """As the driver takes it."""
        return json.dumps(asdict(self))


def main(plan: Plan, arguments: list[str]) -> int:
    """Prepare, then be `chaos`."""
    for place, value in plan.values.items():
        owner, name = _find(place)
        setattr(owner, name, value)
    if plan.at:
        _arm(plan)
    return cli.main(arguments)


def _find(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *parents, name = path.split(".")
    owner: Any = import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def _arm(plan: Plan) -> None:
    turns = count(1)

    def reached() -> None:
        if next(turns) == plan.turn:
            Path(plan.note).write_text(str(now_ns()))
            for deed in plan.do:
                _do(*deed.split(":"))

    when, _, what = plan.at.partition(" ")
    if when == "event":
        _listen(dict(part.split("=") for part in what.split()), reached)
        return
    owner, name = _find(what)
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            reached()
        result = original(*args, **kwargs)
        if when == "after":
            reached()
        return result

    setattr(owner, name, wrapped)


def _listen(wanted: dict[str, str], reached: Callable[[], None]) -> None:
    add = EventLog.add

    def adding(log: EventLog, kind: str, **fields: Any) -> Any:
        event = add(log, kind, **fields)
        if all(str(event.get(key)) == value for key, value in wanted.items()):
            reached()
        return event

    EventLog.add = adding  # type: ignore[method-assign, assignment]


def _fill(disk: Path) -> Path:
    """Leave no free byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return ballast


def _do(who: str, what: str) -> None:
    if who != "disk":
        _signal(who, what)
        return
    ballast = _fill(Path("disk"))
    if what == "BLINK":
        threading.Timer(0.5, ballast.unlink).start()


def _signal(who: str, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    if who == "tool":
        os.kill(os.getpid(), number)
        # It is heard within 0.2 s, whichever thread gets it: by then this is still the moment.
        time.sleep(0.25)
        return
    found = [child for child in psutil.Process().children() if _is(child, who)]
    assert len(found) == 1, f"{who}: {found}"
    found[0].send_signal(number)


def _is(process: psutil.Process, who: str) -> bool:
    """Whether its command line tells that it is meant: `... chaos.load.worker RUN producer 0`."""
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return f"chaos.{who}" in line or line.endswith(f" {who}") or f"/{who}/" in line


if __name__ == "__main__":
    sys.exit(main(Plan(**json.loads(sys.argv[1])), sys.argv[2:]))
