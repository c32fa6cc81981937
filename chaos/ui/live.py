"""A run on a terminal: what happens scrolls by, what is the case now stays below."""

from __future__ import annotations

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

_STALE_NS = 3_000_000_000
_MOST_FAULTS = 6
STYLES = {
    Tone.PLAIN: "",
    Tone.QUIET: "dim",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "bold red",
}


class Live:
    """Shows one run until it is left; then only the lines of what happened remain.

    Used by one thread only: with frames drawn by a second one (Rich's own refresh), what is printed
    meanwhile would land in the middle of a frame.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title, self._progress = console, clean(title), Progress()
        self._region = Region(
            console=console,
            get_renderable=lambda: frame(self._progress, self._title, now_ns()),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Live:
        self._region.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._region.stop()

    def take(self, event: Json) -> None:
        """Show the next event."""
        for line in self._progress.take(event):
            self._console.print(_scrolled(line))

    def say(self, text: str) -> None:
        """Show something that is no event."""
        self._console.print(Text(clean(text), "bold"))

    def tick(self) -> None:
        """Time has passed: draw what is the case now."""
        self._region.refresh()


def _scrolled(line: Line) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(justify="right", width=9, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(seconds(line.time_s), "dim"), Text(line.text, STYLES[line.tone]))
    return row


def frame(progress: Progress, title: str, time_ns: int) -> RenderableType:
    """What is the case at a moment: phase, rates, faults. Fits into 80 columns."""
    parts: list[RenderableType] = [
        Rule(Text(_heading(progress, title, time_ns), "bold"), style="dim", align="left"),
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


def _heading(progress: Progress, title: str, time_ns: int) -> str:
    elapsed = clock(progress.time_s(time_ns)) if progress.started_ns else "0:00"
    return " · ".join(part for part in (title, progress.about, elapsed) if part)


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
    acknowledged, failed, received = (
        f"{number(round(rate)):>7}/s" for rate in (rates.acknowledged, rates.failed, rates.received)
    )
    return Text.assemble(
        f"acknowledged{acknowledged}  failed",
        (failed, "bold red" if rates.failed >= 0.5 else ""),
        f"  received{received}  waiting {number(rates.waiting):>7}",
        no_wrap=True,
        overflow="ellipsis",
    )
