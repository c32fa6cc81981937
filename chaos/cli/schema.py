"""`chaos schema`: what editors have to know of experiment files."""

from __future__ import annotations

from pathlib import Path

import typer

from chaos.errors import UsageError
from chaos.experiment.schema import schema_text


def schema(output: Path | None) -> None:
    """Print the schema, or write it to a file."""
    if output is None:
        typer.echo(schema_text(), nl=False)
        return
    write(output, schema_text())


def write(path: Path, text: str) -> None:
    """Write a file. Raises UsageError where that cannot be done."""
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
