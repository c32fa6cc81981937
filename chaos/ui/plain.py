"""A run as plain lines: for pipes, files and CI."""

from __future__ import annotations

from typing import TextIO

from chaos.spi import Json
from chaos.ui.progress import Line, Progress, Rates
from chaos.ui.text import clean, number, seconds

RATES_EVERY_S = 5.0


class Plain:
    """Writes each thing that happens as one line, with the time since the run began."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._progress = file, Progress()
        self._rates_due_s = 0.0

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.flush()

    def take(self, event: Json) -> None:
        """Show the next event."""
        for line in self._progress.take(event):
            self._write(line)
        rates, time_s = self._progress.rates, self._progress.time_s(event["time_ns"])
        if event["kind"] == "rates" and rates and time_s >= self._rates_due_s:
            self._rates_due_s = time_s + RATES_EVERY_S
            self._write(Line(time_s, rates_line(rates)))

    def say(self, text: str) -> None:
        """Show something that is no event."""
        self._file.write(f"{clean(text)}\n")
        self._file.flush()

    def tick(self) -> None:
        """Time has passed, which lines do not show."""

    def _write(self, line: Line) -> None:
        self._file.write(f"{seconds(line.time_s):>9}  {line.text}\n")
        self._file.flush()


def rates_line(rates: Rates) -> str:
    """What clients do now, in a line."""
    acknowledged, failed, received = (
        number(round(rate)) for rate in (rates.acknowledged, rates.failed, rates.received)
    )
    return (
        f"acknowledged {acknowledged}/s, failed {failed}/s, received {received}/s, "
        f"waiting {number(rates.waiting)}"
    )
