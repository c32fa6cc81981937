"""One clock for a whole run, and waits that always end.

All processes of a run stamp their records with `now_ns`: nanoseconds since the epoch that advance
with the machine's monotonic clock, so that a step of the wall clock (NTP, or a fault of ours)
cannot reorder a history. The offset between the two clocks is fixed once by the first process and
handed to its children in the environment.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from chaos.errors import DeadlineExceeded

T = TypeVar("T")

CLOCK_VARIABLE = "CHAOS_CLOCK_OFFSET_NS"

_offset_ns = int(os.environ.get(CLOCK_VARIABLE) or time.time_ns() - time.monotonic_ns())


def now_ns() -> int:
    """Nanoseconds since the epoch on the run's clock."""
    return time.monotonic_ns() + _offset_ns


def clock_environment() -> dict[str, str]:
    """What a child process needs in its environment to share this clock."""
    return {CLOCK_VARIABLE: str(_offset_ns)}


class Interrupted(Exception):
    """A wait ended because the run was asked to stop."""


def wait_until(
    look: Callable[[], T | None],
    what: str,
    timeout_s: float,
    *,
    every_s: float = 0.1,
    stop: threading.Event | None = None,
) -> T:
    """Call `look` until it returns something true, and return that.

    Raises DeadlineExceeded with the name `what` after `timeout_s`, and Interrupted at once when
    `stop` is set. `look` is called at least once.
    """
    deadline = time.monotonic() + timeout_s
    pause = stop if stop is not None else threading.Event()
    while True:
        found = look()
        if found:
            return found
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineExceeded(what, timeout_s)
        if pause.wait(min(every_s, remaining_s)):
            raise Interrupted(what)
