"""All commands of `chaos`, as one Typer application."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

import typer

from chaos.cli import DEBUG, doctor, inspect, lifecycle, report, run, verify

app = typer.Typer(
    name="chaos",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks that show local variables could show passwords.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (run, lifecycle, verify, report, inspect, doctor):
    app.add_typer(part.app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mqchaos {version('mqchaos')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show tracebacks of errors; {DEBUG}=1 does so too.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Chaos engineering for real Kafka, RabbitMQ and RocketMQ clusters: start a cluster, break it,
    prove that it broke, heal it, and judge whether messages were lost, doubled or invented."""
    if debug:
        os.environ[DEBUG] = "1"
