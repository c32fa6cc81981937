"""Settings of servers: how files have them, which there are, and whether they are in force.

Servers pass over a setting that they do not know without a word, so there are lists of all that
the servers of a version know. `scripts/lock-kafka` and `scripts/lock-rocketmq` write them out of
the jars, one setting a line: `owner name`, or `owner name kind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path


def listed(path: Path) -> Mapping[str, Mapping[str, str]]:
    """By whom they belong to, each with its kind, which is empty where none is told; empty: there
    is no such list."""
    found: dict[str, dict[str, str]] = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            owner, name, *kind = line.split()
            found.setdefault(owner, {})[name] = "".join(kind)
    return found


def near_miss(name: str, known: Iterable[str]) -> str:
    """`; did you mean "flushDiskType"?`, or nothing."""
    spelling = {each.lower(): each for each in sorted(known)}
    close = get_close_matches(name.lower(), spelling, n=1)
    return f'; did you mean "{spelling[close[0]]}"?' if close else ""


def as_text(value: object) -> str:
    """As configuration files have it: truth is written in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def property_text(values: Mapping[str, object]) -> str:
    """As a Java properties file."""
    return "".join(f"{key}={as_text(value)}\n" for key, value in values.items())


def same(wanted: object, there: str) -> bool:
    """Whether they mean the same to a server, which writes numbers and lists in its own way."""
    if (text := as_text(wanted)) == there:
        return True
    try:
        return Decimal(text) == Decimal(there)
    except InvalidOperation:
        return [part.strip() for part in text.split(",")] == [
            part.strip() for part in there.split(",")
        ]
