"""Numbers, lists and times as people read them, in characters that cannot steer a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], "�") | {
    ord("\n"): "\n", ord("\r"): "", ord("\t"): "    ",
}  # fmt: skip

_MOST_LISTED = 6


def clean(text: str) -> str:
    """The text without escape sequences and control characters; lines stay lines.

    Broker logs and error messages of others reach the screen through this.
    """
    return _ESCAPES.sub("", text).translate(_CONTROLS)


def number(value: float, unit: str = "") -> str:
    """`1,234 messages`, `9.21 s`, `99.98%`."""
    if unit == "share":
        return f"{_share(value)}%"
    figure = f"{value:,.0f}" if float(value).is_integer() else _fraction(value)
    return f"{figure} {unit}" if unit and unit != "rows" else figure


def _fraction(value: float) -> str:
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def _share(value: float) -> str:
    # Rounding up to 100 would hide the very thing that is asked for.
    percent = f"{100 * value:.2f}"
    if percent == "100.00":
        return "100" if value == 1 else "99.99+"
    return percent.rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """A duration or point of the run, always with one decimal: `12.3 s`."""
    return f"{value:,.1f} s"


def clock(value: float) -> str:
    """How long something has been going on or will be: `0:07`, `12:40`, `1:02:03`."""
    minutes, rest = divmod(max(0, int(value)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def listed(items: Iterable[object], most: int = _MOST_LISTED) -> str:
    """`a, b, c`; of many only the first and how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def ranges(numbers: Iterable[int], most: int = _MOST_LISTED) -> str:
    """`0-2, 5, 7`."""
    runs: list[tuple[int, int]] = []
    for value in sorted(set(numbers)):
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return listed((f"{a}-{b}" if b > a else str(a) for a, b in runs), most)


def partitions(numbers: Sequence[int]) -> str:
    """`partition 3`, `partitions 0-2, 5`."""
    return f"partition{'s' if len(numbers) > 1 else ''} {ranges(numbers)}"


def figures(values: Mapping[str, object]) -> str:
    """The measured figures of a fault: `kafka-2 dead`, `unanswered links 4`."""
    return listed(f"{name} {_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Mapping):
        return f"({figures(value)})"
    if isinstance(value, list | tuple):
        return listed(value)
    return "none" if value is None else str(value)
