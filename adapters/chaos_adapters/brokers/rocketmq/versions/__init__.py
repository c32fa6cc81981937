"""The versions of RocketMQ that plain processes can run; `scripts/lock-rocketmq VERSION` pins one.

5.3.3 is the one that was tried: 5.3.2 and 5.5.1 did not resolve completely.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
_FORM = re.compile(r"5\.[0-9]+\.[0-9]+")


def lock(version: str) -> Path:
    """Where the lock of a version is, or would be."""
    return _HERE / f"rocketmq-{version}.lock"


def proxy_lock(version: str) -> Path:
    """The same of its proxy: more jars, which only those get who use one."""
    return _HERE / f"proxy-{version}.lock"


def locked() -> Sequence[str]:
    """All versions that have a lock, oldest first."""
    found = (path.stem.removeprefix("rocketmq-") for path in _HERE.glob("rocketmq-*.lock"))
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def problem(version: str) -> str:
    """Why this is no version that the adapter can talk to; empty: it may be one."""
    if _FORM.fullmatch(version):
        return ""
    return f"{version!r} should be 5.x.y: plain processes run {', '.join(locked())}"
