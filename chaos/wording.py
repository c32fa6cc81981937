"""How problems are worded: the value that was met, and the nearest right spelling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 60


def shown(value: object) -> str:
    """A value of an input file as it may stand in a message: short, one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def unknown(what: str, word: str, known: Iterable[str], plural: str) -> str:
    """`unknown key "raet"; did you mean "rate"? (keys: count, rate, size)`."""
    names = sorted(known)
    spelling = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), spelling, n=1)
    guess = f'; did you mean "{spelling[close[0]]}"?' if close else ""
    return f"unknown {what} {shown(word)}{guess} ({plural}: {', '.join(names) or 'none'})"
