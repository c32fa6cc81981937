"""A run as plain lines: for pipes, files and CI."""

from __future__ import annotations

import threading
from typing import TextIO

from chaos.spi import Json
from chaos.ui.progress import Line, Progress
from chaos.ui.text import number, seconds

RATES_EVERY_S = 5.0


class Plain:
    """Writes each thing that happens as one line, with the time since the run began."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._lock = file, threading.Lock()
        self._progress = Progress()
        self._rates_due_s = 0.0

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.flush()

    def listen(self, event: Json) -> None:
        """Take in the next event; called from any thread."""
        with self._lock:
            for line in self._progress.take(event):
                self._write(line)
            if event["kind"] == "rates":
                self._rates(event["time_ns"])

    def say(self, text: str) -> None:
        """Show something that is no event."""
        with self._lock:
            self._file.write(f"{text}\n")
            self._file.flush()

    def _rates(self, time_ns: int) -> None:
        time_s = (time_ns - self._progress.started_ns) / 1e9
        rates = self._progress.rates
        if rates is None or time_s < self._rates_due_s:
            return
        self._rates_due_s = time_s + RATES_EVERY_S
        self._write(Line(
            time_s,
            f"acknowledged {number(round(rates.acknowledged))}/s, "
            f"failed {number(round(rates.failed))}/s, "
            f"received {number(round(rates.received))}/s, waiting {number(rates.waiting)}",
        ))  # fmt: skip

    def _write(self, line: Line) -> None:
        self._file.write(f"{seconds(line.time_s):>9}  {line.text}\n")
        self._file.flush()
