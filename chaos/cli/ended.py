"""How runs ended, for the overview, for JUnit and as an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos import verdict as report
from chaos.cli import INTERRUPTED
from chaos.errors import ClusterError, HealError, HistoryError
from chaos.junit import write_junit
from chaos.spi import Verdict
from chaos.ui.screen import complain
from chaos.verdict import Document

_WHAT = {HealError.exit_code: "NOT HEALED", INTERRUPTED: "interrupted"}


@dataclass(frozen=True)
class Ended:
    """One run. `errors` are what went wrong with it; one without a directory was not started."""

    code: int
    name: str
    directory: Path | None = None
    verdict: Document | None = None
    errors: tuple[str, ...] = ()

    @classmethod
    def not_started(cls, name: str) -> Ended:
        """Left out, as an earlier one was interrupted or is not healed."""
        return cls(ClusterError.exit_code, name, errors=("not run, because of the run before it",))

    @property
    def final(self) -> bool:
        """Nothing more may be started after it."""
        return self.code in _WHAT

    @property
    def row(self) -> tuple[str, str, str]:
        """What the overview says of it: verdict, name, directory."""
        if self.directory is None:
            return "not run", self.name, "-"
        judged = self.verdict.verdict.value if self.verdict else Verdict.UNKNOWN.value
        return _WHAT.get(self.code, judged), self.name, str(self.directory)

    @property
    def document(self) -> Document:
        """The verdict with all that went wrong; UNKNOWN for a run that was not judged, as
        pipelines take a suite that is missing for a good one."""
        judged = self.verdict or _unjudged(self.name)
        told = "\n".join(judged.preconditions)
        lacking = (*judged.preconditions, *(text for text in self.errors if text not in told))
        verdict = report.worst([judged.verdict, *[Verdict.UNKNOWN] * bool(lacking)])
        return judged.model_copy(update={"preconditions": lacking, "verdict": verdict})


def _unjudged(name: str) -> Document:
    return Document(
        run="", name=name, verdict=Verdict.UNKNOWN, reasons=(), questions=(), preconditions=(),
        faults=(), healed=True, interrupted=False, started_ns=0, load_started_ns=0, load_ended_ns=0,
        records={},
    )  # fmt: skip


def report_to(junit: Path | None, documents: Iterable[Document]) -> int:
    """Write the JUnit file, if there is to be one; the exit code of that alone."""
    try:
        if junit:
            write_junit(junit, documents)
    except HistoryError as error:
        complain(str(error))
        return error.exit_code
    return 0
