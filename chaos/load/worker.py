"""One worker process: `python -m chaos.load.worker RUN_DIRECTORY ROLE NUMBER [PLACE]`.

Exit status: 0 finished in order, 1 it could not go on (said so as `error`).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.errors import ChaosError
from chaos.load.control import Control
from chaos.load.strays import outlive_nobody

if TYPE_CHECKING:
    from chaos.load.assignment import Assignment

Work = Callable[["Assignment", Control], dict[str, Any]]


def main(directory: Path, role: str, number: int, place: int) -> int:
    """Do one role's work until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides when workers end
    outlive_nobody()
    control = Control()
    try:
        done = _prepared(directory, role, number, place, control)
    except ChaosError as error:
        control.tell(error=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - a client library may raise anything
        traceback.print_exc()
        control.tell(error=f"{type(error).__name__}: {error}")
        return 1
    control.tell(done=done)
    return 0


def _prepared(
    directory: Path, role: str, number: int, place: int, control: Control
) -> dict[str, Any]:
    """Load all that the work needs, which takes a second, and then wait for the cluster."""
    from chaos.load.assignment import Assignment, read_experiment

    work, experiment = _work(role), read_experiment(directory)
    if "work" not in control.orders.get():
        return {}
    return work(Assignment.read(directory, role, number, place, experiment), control)


def _work(role: str) -> Work:
    # Imported here: a consumer does not need what a producer needs.
    if role == "producer":
        from chaos.load.producer import produce

        return produce
    from chaos.load.consumer import consume, read_back

    return {"consumer": consume, "reader": read_back}[role]


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[-1]))
    sys.stdout.flush()
    os._exit(status)  # client libraries may hold threads that would keep the process for minutes
