"""What standard output is, and a console that writes nothing but text."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

NARROW = 80


def interactive() -> bool:
    """Whether people look at standard output on a terminal that can be steered."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def plain_console(file: TextIO) -> Console:
    """A console that writes nothing but text, as wide as COLUMNS says, else 80 columns."""
    columns = os.environ.get("COLUMNS", "")
    return Console(
        file=file,
        force_terminal=False,
        color_system=None,
        no_color=True,
        legacy_windows=False,
        width=max(40, int(columns)) if columns.isdecimal() else NARROW,
        highlight=False,
        emoji=False,
        markup=False,
    )
