"""`chaos doctor --residue`: what runs left on this machine, and away with it."""

from __future__ import annotations

import sys

import typer

from chaos import registry
from chaos.cli.codes import worst
from chaos.cli.doctor import described
from chaos.errors import ChaosError, HealError, UsageError
from chaos.residue import Residue, remove, scan
from chaos.ui.screen import Screen, complain
from chaos.ui.text import clean


def residue_of_runs(*, remove: bool, ask: bool) -> None:
    """Tell what is left, and remove it when that is wanted. Ends with 4 when something stays."""
    if remove and ask and not sys.stdin.isatty():
        raise UsageError("there is nobody to ask: say --yes to remove what is left")
    if not remove and not ask:
        raise UsageError("--yes is for --remove")
    for name in registry.names("runtimes"):
        typer.echo(clean(f"runtime {name}: {'; '.join(described(name)) or 'looked at'}"))
    found = scan(complain)
    for each in found:
        _tell(each)
    if not found:
        typer.echo("nothing is left")
        return
    if not remove or (ask and not typer.confirm("Remove what can be removed?")):
        raise typer.Exit(HealError.exit_code)
    code = worst([_attempt(each) for each in found])
    stays = scan(complain)
    for each in stays:
        typer.echo(f"{each.cluster} is still there")
    raise typer.Exit(code or (HealError.exit_code if stays else 0))


def _tell(residue: Residue) -> None:
    typer.echo(clean(f"{residue.cluster}{f' in {residue.directory}' if residue.directory else ''}"))
    for thing in residue.things:
        typer.echo(clean(f"  {thing}"))
    if residue.untouchable:
        typer.echo(clean(f"  left alone: {residue.untouchable}; chaos down {residue.cluster}"))


def _attempt(residue: Residue) -> int:
    try:
        remove(residue, Screen().say)
    except ChaosError as error:
        complain(f"cluster {residue.cluster}: {error}")
        return error.exit_code
    return 0
