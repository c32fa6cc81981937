"""The worker's side of the pipes."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from typing import Any

STATS_EVERY_S = 0.25
_END_WITHIN_S = 5.0
"""Whoever heals is done within ten seconds, and then no process should be left."""


class Control:
    """`orders` gets each order; the end of the stream is `stop`. Without any order before it there
    is nothing to write, so the process ends at once, whatever it may be loading just now."""

    def __init__(self) -> None:
        self.orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self.alone = False
        """The engine is gone: what is open now, nobody waits for."""
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        working = False
        for line in sys.stdin:
            working = True
            self.orders.put(json.loads(line))
        if not working:
            os._exit(0)
        self.alone = True
        self.orders.put({"stop": 0})
        # The engine is gone, so nobody would end a worker that a client library holds up.
        timer = threading.Timer(_END_WITHIN_S, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def tell(self, **message: object) -> None:
        """Say something to the engine; nobody listening is no reason to stop recording."""
        with self._lock, suppress(BrokenPipeError):
            os.write(1, json.dumps(message).encode() + b"\n")

    def stopped(self) -> bool:
        """Whether the order to stop came; looks without waiting."""
        try:
            return "stop" in self.orders.get_nowait()
        except queue.Empty:
            return False
