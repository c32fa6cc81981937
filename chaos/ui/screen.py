"""Where commands put what they have to show, and how a run is shown while it goes on."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from queue import Empty, SimpleQueue

from rich.console import Console, RenderableType

from chaos.history.events import Listener
from chaos.spi import Json
from chaos.ui.live import Live
from chaos.ui.plain import Plain
from chaos.ui.terminal import interactive, plain_console
from chaos.ui.text import clean

FRAME_S = 0.25
"""How long a drawn picture stays."""


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()


class Screen:
    """Standard output: a terminal that is drawn on, or plain lines."""

    def __init__(self) -> None:
        self.live = interactive()
        self._feed: _Feed | None = None

    def say(self, text: str) -> None:
        """Show a line now, also while a run is shown; never waits for a slow terminal then."""
        if feed := self._feed:
            feed.put(text)
        else:
            Plain(sys.stdout).say(text)

    def show(self, renderable: RenderableType) -> None:
        """Show a table or a text."""
        if self.live:
            _terminal().print(renderable)
            return
        text = StringIO()
        plain_console(text).print(renderable)
        for line in text.getvalue().splitlines():
            sys.stdout.write(f"{line.rstrip()}\n")
        sys.stdout.flush()

    @contextmanager
    def run(self, title: str) -> Iterator[Listener]:
        """Show a run from its events, which the yielded listener takes."""
        self._feed = feed = _Feed(Live(_terminal(), title) if self.live else Plain(sys.stdout))
        try:
            yield feed.put
        finally:
            self._feed = None
            feed.close()


class _Feed:
    """Shows events on a thread of its own.

    A terminal that stands still (Ctrl-S, a pipe that nobody reads) and a mistake in a display hold
    up this thread, and not the one that has a fault to heal.
    """

    def __init__(self, display: Live | Plain) -> None:
        self._display, self._queue = display, SimpleQueue[Json | str | None]()
        self._thread = threading.Thread(target=self._work, daemon=True, name="display")
        self._thread.start()

    def put(self, item: Json | str) -> None:
        """Show an event, or a line that is none; returns at once."""
        self._queue.put(item)

    def close(self) -> None:
        """Return when all is shown."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        with self._display as display:
            due_s = 0.0
            while True:
                try:
                    item = self._queue.get(timeout=max(0.0, due_s - time.monotonic()))
                except Empty:
                    display.tick()
                    due_s = time.monotonic() + FRAME_S
                    continue
                if item is None:
                    return
                if isinstance(item, str):
                    display.say(item)
                else:
                    display.take(item)


def _terminal() -> Console:
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
