"""All that can be typed behind `chaos`: commands, arguments, help and examples.

What a command does stands in the module that it calls. It is imported then and not before, so that
help and completion come at once. Sections and commands stand in the order in which people use them.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from chaos.cli import DEBUG, completing
from chaos.cli.layout import Command, Group
from chaos.cli.options import (
    ExperimentFile,
    Ids,
    JUnit,
    Overrides,
    RunDirectory,
    Runs,
    RuntimeOption,
)

EXPERIMENTS, CLUSTERS, VERDICTS, REFERENCE = "Experiments", "Clusters", "Verdicts", "Reference"

app = typer.Typer(
    name="chaos",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    # Tracebacks that show local variables could show passwords.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    prove that it broke, heal it, and judge whether messages were lost, doubled or invented.

    For example:
      chaos run broker-down            what happens when a broker dies: two minutes
      chaos init                       an experiment of your own
      chaos COMMAND --help             what a command does, with examples
    """
    if debug:
        os.environ[DEBUG] = "1"


# ---------------------------------------------------------------------------------- experiments


@app.command(cls=Command, rich_help_panel=EXPERIMENTS)
def run(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIRECTORY",
            help="Experiments, also by the name of one that comes with mqchaos. Of a directory all "
            "*.yaml, except below a folder named `unsafe`.",
            autocompletion=completing.experiments,
        ),
    ],
    runtime: RuntimeOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the cluster warm for the next run.")
    ] = False,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    junit: JUnit = None,
) -> None:
    """Run experiments and judge them.

    Exit code: 0 PASS, 1 FAIL, 2 wrong input, 3 UNKNOWN, 4 something is not healed, 70 internal
    error, 130 interrupted and healed. Of several runs the worst counts, in the order 4, 70, 130, 1,
    3, 2, 0; after 4 and 130 the rest is not run.

    For example:
      chaos run broker-down                       one that comes with mqchaos
      chaos run broker-down --runtime local       without Docker
      chaos run my.yaml --set load.producers.rate=500/s --set faults.0.for=5s
      chaos run experiments/ --junit report.xml   all of a directory, for a pipeline
      chaos run my.yaml --keep                    the cluster stays for the next run
    """
    from chaos.cli.run import run

    run(paths, runtime, keep, overrides or [], runs, junit)


@app.command(cls=Command, rich_help_panel=EXPERIMENTS)
def validate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Experiment files.", autocompletion=completing.experiments
        ),
    ],
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Also check that this runtime can do all of it.",
            autocompletion=completing.runtimes,
        ),
    ] = "",
    overrides: Overrides = None,
) -> None:
    """Check experiment files, and tell every mistake at its line.

    For example:
      chaos validate my.yaml
      chaos validate experiments/*.yaml --runtime docker   also: can it run there?
    """
    from chaos.cli.validate import validate

    validate(files, runtime, overrides or [])


@app.command(cls=Command, rich_help_panel=EXPERIMENTS)
def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write; else experiment.yaml.")
    ] = Path("experiment.yaml"),
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            metavar="NAME",
            help="The system to test; see chaos plugins.",
            autocompletion=completing.brokers,
        ),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            metavar="NAME",
            help="Copy this one of those that come with mqchaos.",
            autocompletion=completing.shipped,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write an experiment to start from, with every key explained.

    What is commented out shows its default. Beside it goes experiment.schema.json, unless it is
    there, by which editors complete and check the file.

    For example:
      chaos init                                  experiment.yaml, for you to change
      chaos init my/leader.yaml --broker kafka
      chaos init my.yaml --example kafka/broker-pause      a copy of that one
    """
    from chaos.cli.init import init

    init(file, broker, example, force)


# ------------------------------------------------------------------------------------- clusters


@app.command(cls=Command, rich_help_panel=CLUSTERS)
def up(file: ExperimentFile, runtime: RuntimeOption = None, overrides: Overrides = None) -> None:
    """Start the cluster of an experiment and keep it for runs.

    Runs whose cluster is the same use it, one at a time; `chaos down` removes it.

    For example:
      chaos up broker-down --runtime local
      chaos run broker-down --runtime local --keep     uses it
      chaos down
    """
    from chaos.cli.lifecycle import up

    up(file, runtime, overrides or [])


@app.command(cls=Command, rich_help_panel=CLUSTERS)
def down(ids: Ids = None) -> None:
    """Remove clusters that were kept or left behind.

    And what faults did outside them. Without an ID: all of yours that no run uses now. What carries
    our mark but has no state in CHAOS_HOME may be somebody else's: it is told, and removed when its
    ID is given.

    For example:
      chaos down                all of yours that no run uses
      chaos down fcbab815       one of them
    """
    from chaos.cli.lifecycle import down

    down(ids or [])


@app.command(cls=Command, rich_help_panel=CLUSTERS)
def heal(ids: Ids = None) -> None:
    """Undo every fault that a crash left in force; clusters stay.

    Exit code 4: something could not be undone. What a living run uses is left to that run.

    For example:
      chaos heal                whatever is still in force, anywhere
    """
    from chaos.cli.lifecycle import heal

    heal(ids or [])


@app.command(cls=Command, rich_help_panel=CLUSTERS)
def doctor(
    runs: Runs = Path("runs"),
    residue: Annotated[
        bool, typer.Option("--residue", help="Tell what runs left on this machine instead.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="And remove it, asking first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Tell what works on this machine, and what would help.

    Exit code 3: no system runs on any runtime. With --residue 4: something is left.

    Residue is what carries our marks, whichever CHAOS_HOME it is of, and belongs to no run that
    goes on: faults in force, frozen or ended brokers of kept clusters, processes, containers,
    volumes, networks, directories. Kept clusters are healed and stay.

    For example:
      chaos doctor              before the first run, and in a report of a bug
      chaos doctor --residue
      chaos doctor --residue --remove --yes     in a pipeline, after the last run
    """
    if residue or remove or yes:
        from chaos.cli.residue import residue_of_runs

        residue_of_runs(remove=remove, ask=not yes)
        return
    from chaos.cli.doctor import doctor

    doctor(runs)


# ------------------------------------------------------------------------------------- verdicts


@app.command(cls=Command, rich_help_panel=VERDICTS)
def verify(run: RunDirectory, junit: JUnit = None) -> None:
    """Judge a run again from its directory alone.

    Exit codes are those of `chaos run`.

    For example:
      chaos verify runs/20261123-030317-broker-down
      chaos verify RUN --junit report.xml
    """
    from chaos.cli.verify import verify

    verify(run, junit)


@app.command(cls=Command, rich_help_panel=VERDICTS)
def report(
    run: RunDirectory,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            metavar="RUN",
            help="Also compare it with this run; may be repeated.",
            autocompletion=completing.runs,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Also show it in a browser.")] = False,
) -> None:
    """Write report.html of a run again, and say where it is.

    `chaos run` wrote it first. A run that was not judged, as the tool was killed, is judged now.
    With --beside the page also has what `chaos compare` shows.
    Exit code: 0 when the page is written, whatever the verdict; 2 when RUN is no run; 3 when its
    record cannot be read.

    For example:
      chaos report runs/20261123-030317-broker-down --open
      chaos report runs/20261123-041200-tuned --beside runs/20261123-030317
    """
    from chaos.cli.report import report

    report(run, beside or [], show)


@app.command(cls=Command, rich_help_panel=VERDICTS)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Directories of runs, two or more.",
            autocompletion=completing.runs,
        ),
    ],
) -> None:
    """Show runs side by side: their figures, and what they were told differently.

    Besides the figures of the verdicts it has throughput and waits before the first fault, so what
    a setting costs stands beside what it buys. A run that was not judged is judged now.
    Exit code: 0 when they are shown, whatever the verdicts; 2 when one is no run, or there is only
    one; 3 when the record of one cannot be read.

    For example:
      chaos compare runs/20261123-030317-broker-down runs/20261123-041200-tuned
    """
    from chaos.cli.compare import compare

    compare(runs)


# ------------------------------------------------------------------------------------ reference


@app.command(cls=Command, rich_help_panel=REFERENCE)
def plugins() -> None:
    """List brokers, runtimes, faults and verifiers, with parameters.

    For example:
      chaos plugins
      chaos plugins | grep ^fault
    """
    from chaos.cli.plugins import plugins

    plugins()


@app.command(cls=Command, rich_help_panel=REFERENCE)
def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", dir_okay=False, help="Write it there."),
    ] = None,
) -> None:
    """Print the JSON Schema of experiment files, for editors.

    It follows from the plug-ins that are installed here. An editor uses it for a file whose first
    line is `# yaml-language-server: $schema=experiment.schema.json`.

    For example:
      chaos schema --output experiment.schema.json
      chaos schema | jq '.["$defs"] | keys'
    """
    from chaos.cli.schema import schema

    schema(output)
