"""A process that outlives the tool by a moment, to heal and to clean up if the tool dies.

    python -m chaos.reaper CLUSTER_DIRECTORY

The tool holds the other end of this process's standard input: its end means that the tool is dead.
When all is healed and cleaned up, the tool ends this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from chaos.clusters import open_store, read_state
from chaos.errors import ChaosError, ClusterError
from chaos.heal import clean_up
from chaos.registry import load, names
from chaos.timing import clock_environment

_LOCK_WITHIN_S = 30.0
HEAL_WITHIN_S = 300.0
"""Nobody waits for it and nobody comes after it. Replicas move back to a broker that runs, and on a
machine that is busy one was seen to take a minute from its start until it served."""


class Reaper:
    """The tool's side: started before the cluster, dismissed when all is cleaned up."""

    def __init__(self, directory: Path) -> None:
        path = directory / "reaper.log"
        try:
            log = path.open("ab")
        except OSError as error:
            raise ClusterError(f"{path}: cannot be written: {error}") from error
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.reaper", str(directory)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **clock_environment()},
        )
        log.close()

    @property
    def alive(self) -> bool:
        """Whether it is there; one that was killed has to be replaced."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def dismiss(self) -> None:
        """All is cleaned up: end it. It only waits, or may still be starting on a busy machine, so
        nothing is cut short."""
        self._process.kill()
        self._process.wait(10)
        if self._process.stdin:
            self._process.stdin.close()


def is_one(pid: int) -> bool:
    """Whether this process is somebody's reaper."""
    try:
        return "chaos.reaper" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def stay() -> None:
    """Go on whatever ends the tool. Ignored signals would be ignored by the brokers that a heal
    starts, too, and a Java machine that is told to end (SIGTERM) would not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


def main(directory: Path) -> int:
    """Wait for the tool's end, then heal and clean up."""
    stay()
    threading.Thread(target=prepare, args=[directory], daemon=True).start()
    sys.stdin.read()
    sys.stderr.write("the tool is gone: healing\n")
    store = open_store(directory, _LOCK_WITHIN_S)
    if store is None:
        sys.stderr.write("somebody else uses the cluster, or it is gone\n")
        return 0
    try:
        clean_up(store, _tell, HEAL_WITHIN_S)
    except ChaosError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - its log


def prepare(directory: Path) -> None:
    """Import what heals need: on a busy machine that takes seconds, in which a fault would last."""
    if state := read_state(directory):
        wanted = [("runtimes", state.runtime), ("brokers", state.broker["broker"])]
        wanted += [("faults", name) for name in names("faults")]
        for kind, name in wanted:
            with suppress(ChaosError):  # it is told when it is needed
                load(kind, name)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
