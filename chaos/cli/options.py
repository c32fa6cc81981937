"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RuntimeOption = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help="Where nodes run, whatever the file says."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Such as load.producers.rate=500/s."),
]
JUnit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", dir_okay=False, help="Also write it as JUnit XML."),
]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Clusters; none named: all of yours.")
]
