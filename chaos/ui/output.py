"""Output that outlives its reader.

A run must heal and end in order although nobody reads its output any more: `chaos run ... | head`,
a closed terminal, a full disk under a redirected output.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast


class Tolerant:
    """A text stream whose writes never fail: after the first that does, all go nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or give up writing for good."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            return self.write(text.encode(encoding, "replace").decode(encoding))
        except (OSError, ValueError):
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or give up writing for good."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        # What is still in the buffer has to go somewhere, or the interpreter fails at its exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        except (OSError, ValueError):
            self._stream = open(os.devnull, "w")  # noqa: SIM115, PTH123 - stays open to the end
        finally:
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the stream's
        return getattr(self._stream, name)


def tolerate_lost_readers() -> None:
    """Make standard output and standard error tolerant, for everything in this process."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Tolerant):
            setattr(sys, name, cast(TextIO, Tolerant(stream)))
