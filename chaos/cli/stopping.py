"""Ctrl-C, SIGTERM and SIGHUP end a command in order, never in the middle of something."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def supervised(work: Callable[[threading.Event], T], say: Callable[[str], None], promise: str) -> T:
    """Call `work(stop)`; a signal sets `stop` and says `promise`, and nothing is ever raised there.

    The work is done on a second thread, as a handler that runs on the same one could meet a lock
    that its own thread holds.
    """
    heard: SimpleQueue[int | None] = SimpleQueue()  # its `put` may be called in a handler
    stop = threading.Event()
    with _listening(heard), ThreadPoolExecutor(1, "work") as pool:
        done: Future[T] = pool.submit(work, stop)
        done.add_done_callback(lambda _: heard.put(None))
        while (number := _next(heard)) is not None:
            if stop.is_set():
                say(
                    f"still {promise}; please be patient "
                    f"(kill -9 {os.getpid()} leaves the rest to the reaper, which heals as well)"
                )
            else:
                stop.set()
                say(f"{signal.Signals(number).name}: {promise}")
        return done.result()


def _next(heard: SimpleQueue[int | None]) -> int | None:
    while True:
        # A signal that comes just before this thread falls asleep is handled when it wakes up.
        with suppress(Empty):
            return heard.get(timeout=0.2)


@contextmanager
def _listening(heard: SimpleQueue[int | None]) -> Iterator[None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        heard.put(number)

    # A signal that is ignored from the start (nohup, a job in the background) stays ignored.
    wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
