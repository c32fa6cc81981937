"""A process that outlives the tool by a moment, to heal and to clean up if the tool dies.

    python -m chaos.reaper CLUSTER_DIRECTORY

The tool holds the other end of this process's standard input. The line `done` means that all is
healed and cleaned up; the end of the stream without it means that the tool is dead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from chaos.clusters import open_store
from chaos.errors import ChaosError, ClusterError
from chaos.heal import clean_up
from chaos.timing import clock_environment

_LOCK_WITHIN_S = 30.0


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
        """All is cleaned up: let it end."""
        if self._process.stdin and not self._process.stdin.closed:
            try:
                self._process.stdin.write(b"done\n")
                self._process.stdin.close()
            except BrokenPipeError:
                pass  # it was killed; there is nothing left for it to do either
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


def main(directory: Path) -> int:
    """Wait for the tool's end; heal and clean up when it did not say that this is done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if "done" in sys.stdin.read():
        return 0
    sys.stderr.write("the tool is gone: healing\n")
    store = open_store(directory, _LOCK_WITHIN_S)
    if store is None:
        sys.stderr.write("somebody else uses the cluster, or it is gone\n")
        return 0
    try:
        clean_up(store, lambda line: print(line, file=sys.stderr))  # noqa: T201 - its log
    except ChaosError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
