"""Control groups of containers, as the host sees them."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/host/cgroup")


def group_of(controller: str, container: str) -> Path | None:
    """The control group of a container; None when it does not run."""
    top = CGROUP / controller if (CGROUP / controller).is_dir() else CGROUP
    for path, names, _ in os.walk(top):
        for name in names:
            if container in name:
                return Path(path) / name
    return None


def join(controller: str, container: str) -> None:
    group = group_of(controller, container)
    if group is None:
        raise SystemExit("the broker has no control group, as it does not run")
    (group / "cgroup.procs").write_text("0")


def leave(controller: str) -> None:
    """Back to the group of all that has none."""
    top = CGROUP / controller if (CGROUP / controller).is_dir() else CGROUP
    (top / "cgroup.procs").write_text("0")
