"""The command line's entry: runs a command and turns whatever comes of it into an exit code."""

from __future__ import annotations

import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence

from chaos.ui.output import tolerate_lost_readers

DEBUG = "CHAOS_DEBUG"
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: the console script `chaos`."""
    tolerate_lost_readers()
    try:
        # Not before: it takes a while, in which Ctrl-C must not end in a traceback.
        from chaos.cli.commands import app

        app(arguments, prog_name="chaos")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 70
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the program: nothing above explains it
        return _explained(error)
    return 0


def _explained(error: Exception) -> int:
    from chaos.errors import ChaosError

    if isinstance(error, ChaosError):
        _complain(f"{_traceback(error) if _debugging() else ''}{error}")
        return error.exit_code
    _complain(f"internal error: {type(error).__name__}: {error}\n{_where(error)}")
    return ChaosError.exit_code


def _complain(text: str) -> None:
    from chaos.ui.screen import complain

    complain(text)


def _debugging() -> bool:
    return os.environ.get(DEBUG, "0") not in ("", "0")


def _traceback(error: Exception) -> str:
    """Without local variables, which could hold passwords."""
    return "".join(traceback.format_exception(error))


def _where(error: Exception) -> str:
    """Where its traceback is; the traceback itself when it is wanted or cannot be saved."""
    from chaos.home import home

    told = _traceback(error)
    if _debugging():
        return told
    path = home() / "errors" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(f"{shlex.join(sys.argv)}\n{told}")
    except OSError:
        return told
    return (
        f"The traceback is in {path}: please report it.\n"
        "If something is still in force: chaos heal, chaos down"
    )
