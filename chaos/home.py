"""Where this user's state lies on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def home() -> Path:
    """Where the state of this user's clusters lies: CHAOS_HOME, or the XDG state directory."""
    if chosen := os.environ.get("CHAOS_HOME"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mqchaos"


def directories() -> Iterator[Path]:
    """The directories of all clusters of this user, oldest first; see chaos.clusters."""
    with suppress(OSError):
        yield from sorted(
            (home() / "clusters").iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)
        )
