"""asyncio, a turn at a time: it runs while somebody waits for a client, and at no other time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

# Lost connections are what this is about; both would tell each of them in many lines.
logging.getLogger("rstream").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)

_STEPS = 4
"""From bytes that are there to what is done about them: socket, rstream's reader, its queue."""

_ENDED_WITHIN_S = 1.0
"""rstream may swallow that a task of its own is to end."""


class Turns:
    """An event loop of its own, and what goes on in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: list[BaseException] = []

    def tell(self) -> None:
        """There are news: a turn is over."""
        self._news.set()

    def start(self, what: Coroutine[Any, Any, Any]) -> None:
        """Begin with the next turn, in the order of the calls; go on in further turns."""
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def turn(self, timeout_s: float) -> None:
        """Let happen what can happen now, or until there are news. Raises what something raised
        that goes on in here."""
        self._loop.run_until_complete(self._wait(timeout_s))
        if self._failed:
            raise self._failed.pop()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Wait for one thing."""
        return self._loop.run_until_complete(what)

    def close(self) -> None:
        """End all that goes on."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_ENDED_WITHIN_S))
        self._loop.close()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failed.append(error)

    async def _wait(self, timeout_s: float) -> None:
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        if timeout_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_s)
        self._news.clear()
