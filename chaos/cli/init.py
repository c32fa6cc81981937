"""`chaos init`: an experiment file to start from."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from chaos.cli.paths import shipped_file
from chaos.cli.schema import write
from chaos.errors import UsageError
from chaos.experiment.schema import schema_text
from chaos.experiment.starter import starter

SCHEMA = "experiment.schema.json"
_SCHEMA_LINE = "# yaml-language-server: $schema="


def init(file: Path, broker: str | None, example: str | None, force: bool) -> None:
    """Write the file, and the schema beside it unless one is there."""
    if broker and example:
        raise UsageError("--broker and --example exclude each other: an example has its system")
    if file.exists() and not force:
        raise UsageError(f"{file} is there already: give another name, or --force to overwrite it")
    text = _copied(example) if example else starter(_name(file), broker)
    write(file, f"{_SCHEMA_LINE}{SCHEMA}\n\n{text}")
    schema = file.with_name(SCHEMA)
    if force or not schema.exists():
        write(schema, schema_text())
        typer.echo(f"wrote {schema}, by which editors complete and check")
    typer.echo(f"wrote {file}; next:")
    typer.echo(f"  chaos validate {file}")
    typer.echo(f"  chaos run {file}")


def _copied(example: str) -> str:
    text = shipped_file(example).read_text()
    return re.sub(rf"\A{re.escape(_SCHEMA_LINE)}.*\n+", "", text)


def _name(file: Path) -> str:
    """A name for the experiment, made from that of its file."""
    return re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:60] or "experiment"
