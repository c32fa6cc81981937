"""The versions of Kafka that plain processes can run, and what each of them can be told.

`scripts/lock-kafka VERSION` writes both files of a version:

    kafka-VERSION.lock        its jars, see `chaos_adapters.runtimes.jars`
    kafka-VERSION.settings    every setting that it knows, `broker NAME` or `topic NAME` a line

Kafka passes over a setting of a broker that it does not know without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from chaos_adapters.brokers.properties import listed

_HERE = Path(__file__).parent
_FORM = re.compile(r"4\.[0-9]+\.[0-9]+")


def lock(version: str) -> Path:
    """Where the lock of a version is, or would be."""
    return _HERE / f"kafka-{version}.lock"


def locked() -> Sequence[str]:
    """All versions that have a lock, oldest first."""
    found = (path.stem.removeprefix("kafka-") for path in _HERE.glob("kafka-*.lock"))
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def problem(version: str) -> str:
    """Why this is no version that the adapter can talk to; empty: it may be one."""
    if _FORM.fullmatch(version):
        return ""
    return f"{version!r} should be 4.x.y: plain processes run {', '.join(locked())}"


@cache
def known_settings(version: str) -> Mapping[str, frozenset[str]]:
    """The settings by whom they belong to, "broker" and "topic"; empty: not known here."""
    found = listed(_HERE / f"kafka-{version}.settings")
    return {owner: frozenset(names) for owner, names in found.items()}


@cache
def all_known_settings() -> Mapping[str, frozenset[str]]:
    """Those of all versions that are known here together."""
    each = [known_settings(version) for version in locked()]
    return {
        owner: frozenset().union(*(known[owner] for known in each)) for owner in ("broker", "topic")
    }
