"""A run on a terminal: what happens scrolls by, what is the case now stays below."""

from __future__ import annotations

import threading

from rich.console import Console, Group, RenderableType
from rich.live import Live as Region
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from chaos.spi import Json
from chaos.timing import now_ns
from chaos.ui.progress import LOADED, PHASES, Line, Progress, Rates, Tone
from chaos.ui.text import clean, clock, number, seconds

FRAMES_PER_S = 4
_STALE_NS = 3_000_000_000
_MOST_FAULTS = 6
STYLES = {
    Tone.PLAIN: "", Tone.QUIET: "dim", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "bold red",
}  # fmt: skip


class Live:
    """Shows one run until it is left; then only the lines of what happened remain."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, clean(title)
        self._lock = threading.Lock()
        self._progress = Progress()
        self._region = Region(
            console=console,
            get_renderable=self._frame,
            refresh_per_second=FRAMES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Live:
        self._region.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._region.stop()

    def listen(self, event: Json) -> None:
        """Take in the next event; called from any thread."""
        with self._lock:
            lines = self._progress.take(event)
        # The console has a lock of its own, which a frame holds when it asks for ours.
        for line in lines:
            self._console.print(_scrolled(line))

    def say(self, text: str) -> None:
        """Show something that is no event."""
        self._console.print(Text(clean(text), style="bold"))

    def _frame(self) -> RenderableType:
        with self._lock:
            return frame(self._progress, self._title, now_ns())


def _scrolled(line: Line) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(justify="right", width=9, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(seconds(line.time_s), "dim"), Text(line.text, STYLES[line.tone]))
    return row


def frame(progress: Progress, title: str, time_ns: int) -> RenderableType:
    """What is the case at a moment: phase, rates, faults. Fits into 80 columns."""
    parts: list[RenderableType] = [
        Rule(Text(f" {title} · {progress.about} ", "bold"), style="dim", align="left"),
        _phase_row(progress, time_ns),
    ]
    if progress.phase in LOADED:
        parts.append(_rates_row(progress.rates, time_ns))
    active = list(progress.faults.values())
    for now in active[:_MOST_FAULTS]:
        lasted = clock((time_ns - now.since_ns) / 1e9)
        row = Table.grid(expand=True, padding=(0, 1, 0, 0))
        row.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        row.add_column(justify="right", no_wrap=True)
        row.add_row(Text(f"▲ {now}: {clean(now.state)}", STYLES[now.tone]), Text(lasted))
        parts.append(row)
    if len(active) > _MOST_FAULTS:
        parts.append(Text(f"▲ and {len(active) - _MOST_FAULTS} more faults", "yellow"))
    return Group(*parts)


def _phase_row(progress: Progress, time_ns: int) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(no_wrap=True, width=16)
    row.add_column(no_wrap=True, justify="right")
    bar: RenderableType = Text("")
    left = Text(clock((time_ns - progress.phase_ns) / 1e9) if progress.phase_ns else "")
    if progress.until_ns is not None:
        total = max(1, progress.until_ns - progress.phase_ns)
        bar = ProgressBar(total=total, completed=min(total, time_ns - progress.phase_ns), width=16)
        left = Text(f"{clock((progress.until_ns - time_ns) / 1e9 + 0.999)} left")
    words = PHASES.get(progress.phase, progress.phase)
    row.add_row(Text(words or "looking around", "bold cyan"), bar, left)
    return row


def _rates_row(rates: Rates | None, time_ns: int) -> RenderableType:
    if rates is None or time_ns - rates.time_ns > _STALE_NS:
        return Text("no rates yet" if rates is None else "no rates now", "dim")
    failed = "bold red" if rates.failed >= 0.5 else ""
    return Text.assemble(
        f"acknowledged {number(round(rates.acknowledged))}/s  ",
        (f"failed {number(round(rates.failed))}/s", failed),
        f"  received {number(round(rates.received))}/s  waiting {number(rates.waiting)}",
        no_wrap=True,
        overflow="ellipsis",
    )
