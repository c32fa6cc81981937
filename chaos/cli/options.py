"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaos.cli import completing

RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="Where nodes run, whatever the file says.",
        autocompletion=completing.runtimes,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of the file; may be repeated."
    ),
]
JUnit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", dir_okay=False, help="Also write it as JUnit XML."),
]
Runs = Annotated[
    Path,
    typer.Option("--runs", metavar="DIRECTORY", help="Where run directories are made."),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Clusters; none named: all of yours.",
        autocompletion=completing.clusters,
    ),
]
ExperimentFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="The experiment whose cluster it is.",
        autocompletion=completing.experiments,
    ),
]
RunDirectory = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The directory of a run.", autocompletion=completing.runs),
]
