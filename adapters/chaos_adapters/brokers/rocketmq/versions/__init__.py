"""The versions of RocketMQ that plain processes can run, and what each of them can be told.

`scripts/lock-rocketmq VERSION` writes both files of a version:

    rocketmq-VERSION.lock        its jars, see `chaos_adapters.runtimes.jars`
    rocketmq-VERSION.settings    every setting that it reads, a line each: whose it is (`broker`,
                                 `namesrv`, `controller`, `topic`), its name, and its kind: a type
                                 of Java, or the words that there are

5.3.3 is the one that was tried: 5.3.2 and 5.5.1 did not resolve completely.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from chaos_adapters.brokers.properties import listed

_HERE = Path(__file__).parent
_FORM = re.compile(r"5\.([0-9]+)\.[0-9]+")
_JRAFT_SINCE = 2
"""The second number of the first version whose controllers know jRaft (class JraftConfig)."""


def lock(version: str) -> Path:
    """Where the lock of a version is, or would be."""
    return _HERE / f"rocketmq-{version}.lock"


def locked() -> Sequence[str]:
    """All versions that have a lock, oldest first."""
    found = (path.stem.removeprefix("rocketmq-") for path in _HERE.glob("rocketmq-*.lock"))
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def problem(version: str) -> str:
    """Why this is no version that the adapter can talk to; empty: it may be one."""
    if _FORM.fullmatch(version):
        return ""
    return f"{version!r} should be 5.x.y: plain processes run {', '.join(locked())}"


def has_jraft(version: str) -> bool:
    """Whether controllers can be of that kind; older ones ignore what says so."""
    found = _FORM.fullmatch(version)
    return found is not None and int(found[1]) >= _JRAFT_SINCE


@cache
def known_settings(version: str) -> Mapping[str, Mapping[str, str]]:
    """Kinds of settings by whom they belong to and by name. Of a version without a list, what any
    other knows: brokers say of every line of their file that it is in force, so that nothing else
    could tell one that is not known."""
    if own := listed(_HERE / f"rocketmq-{version}.settings"):
        return own
    found: dict[str, dict[str, str]] = {}
    for each in locked():
        for owner, kinds in listed(_HERE / f"rocketmq-{each}.settings").items():
            found.setdefault(owner, {}).update(kinds)
    return found
