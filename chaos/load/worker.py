"""One worker process: `python -m chaos.load.worker RUN_DIRECTORY ROLE NUMBER`.

Exit status: 0 finished in order, 1 it could not go on (said so as `error`).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.errors import ChaosError
from chaos.experiment import Experiment
from chaos.spi import Address, Json

STATS_EVERY_S = 0.25
_END_WITHIN_S = 20.0


@dataclass(frozen=True)
class Assignment:
    """What a worker works on. `run` is the number that marks the run's messages."""

    directory: Path
    number: int
    run: int
    experiment: Experiment
    clients: dict[str, Address]

    @staticmethod
    def read(directory: Path, number: int, experiment: Experiment) -> Assignment:
        """From the run directory, where the engine wrote it."""
        about = json.loads((directory / "workers.json").read_text())
        clients = {name: Address(host, port) for name, (host, port) in about["clients"].items()}
        experiment = replace(experiment, stream=replace(experiment.stream, name=about["stream"]))
        return Assignment(directory, number, about["run"], experiment, clients)


class Control:
    """The worker's side of the pipes. `orders` gets each order; the end of the stream is `stop`."""

    def __init__(self) -> None:
        self.orders: queue.Queue[Json] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self.orders.put(json.loads(line))
        self.orders.put({"stop": 0})
        # The engine is gone, so nobody would end a worker that a client library holds up.
        timer = threading.Timer(_END_WITHIN_S, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def tell(self, **message: object) -> None:
        """Say something to the engine; nobody listening is no reason to stop recording."""
        with self._lock, suppress(BrokenPipeError):
            os.write(1, json.dumps(message).encode() + b"\n")

    def stopped(self) -> bool:
        """Whether the order to stop came; looks without waiting."""
        try:
            return "stop" in self.orders.get_nowait()
        except queue.Empty:
            return False


def main(directory: Path, role: str, number: int) -> int:
    """Do one role's work until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides when workers end
    control = Control()
    try:
        done = _prepared(directory, role, number, control)
    except ChaosError as error:
        control.tell(error=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - a client library may raise anything
        traceback.print_exc()
        control.tell(error=f"{type(error).__name__}: {error}")
        return 1
    control.tell(done=done)
    return 0


def _prepared(directory: Path, role: str, number: int, control: Control) -> Json:
    """Load all that the work needs, which takes a second, and then wait for the cluster."""
    work = _work(role)
    experiment = Experiment.from_resolved(json.loads((directory / "experiment.json").read_text()))
    if "work" not in control.orders.get():
        return {}
    return work(Assignment.read(directory, number, experiment), control)


def _work(role: str) -> Callable[[Assignment, Control], Json]:
    # Imported here: a consumer does not need what a producer needs.
    if role == "producer":
        from chaos.load.producer import produce

        return produce
    from chaos.load.consumer import consume, read_back

    return {"consumer": consume, "reader": read_back}[role]


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(status)  # client libraries may hold threads that would keep the process for minutes
