"""Exit codes of commands that do several things."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.errors import ChaosError

BADNESS = (4, 70, 130, 1, 3, 2, 0)
"""From the worst to the best."""


def worst(codes: Iterable[int]) -> int:
    """The exit code that counts; one that nobody knows is an internal error."""
    known = [code if code in BADNESS else ChaosError.exit_code for code in codes]
    return min(known, key=BADNESS.index, default=0)
