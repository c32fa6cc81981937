"""Every error that mqchaos raises on purpose, in one tree.

    ChaosError                     exit code
    ├── UsageError                     2    the input is wrong; lists every problem at once
    ├── Unavailable                    2    this place cannot do what was asked, and what would help
    ├── ClusterError                   3    the cluster did not get or stay usable
    │   ├── DeadlineExceeded           3    something waited for did not happen in time
    │   └── Fenced                     3    a client was shut out, as another one took its place
    ├── FaultError                     3    a fault could not be planned or injected
    ├── HealError                      4    a fault could not be undone
    └── HistoryError                   3    a run directory cannot be read or written

A message shows the value that was met and what to do about it. Foreign exceptions are turned into
one of these in the adapter that talks to the foreign library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class ChaosError(Exception):
    """The root: something that mqchaos can explain."""

    exit_code = 70


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input. `where` is `file:line:column`, or an option."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class UsageError(ChaosError):
    """The input is wrong. Carries every problem that was found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = [Problem("", problems)]
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Unavailable(ChaosError):
    """This place cannot do what was asked; the message says what would make it possible."""

    exit_code = 2


class ClusterError(ChaosError):
    """The cluster did not start, did not get ready or is gone."""

    exit_code = 3


class DeadlineExceeded(ClusterError):
    """Something that was waited for did not happen in time."""

    def __init__(self, what: str, timeout_s: float, last: str = "") -> None:
        self.what, self.timeout_s, self.last = what, timeout_s, last
        super().__init__(f"{what}: not within {timeout_s:g} s" + (f" ({last})" if last else ""))


class Fenced(ClusterError):
    """A client was shut out for good, because another one took over its identity."""


class FaultError(ChaosError):
    """A fault could not be planned or injected."""

    exit_code = 3


class HealError(ChaosError):
    """A fault could not be undone: something of it may still be in force."""

    exit_code = 4


class HistoryError(ChaosError):
    """A run directory cannot be read or written."""

    exit_code = 3


def attempt_all(act: Callable[[T], object], things: Iterable[T]) -> None:
    """Do it to each of them, one after the other, whatever becomes of those before. Raises what the
    first of them raised, when all have been tried: a node that cannot be started must not keep the
    others down."""
    failed: Exception | None = None
    for thing in things:
        try:
            act(thing)
        except Exception as error:  # noqa: BLE001 - raised below
            failed = failed or error
    if failed:
        raise failed
