"""`chaos plugins`: what there is, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaos import registry
from chaos.errors import ChaosError
from chaos.plugin import Parameter, shape, summary


def plugins() -> None:
    """List brokers, runtimes, faults and verifiers with their parameters."""
    console = Console()
    cards = list(_cards())
    if console.is_terminal:
        for kind, singular in registry.KINDS.items():
            console.print(_table(kind, [card for card in cards if card.kind == singular]))
        return
    for card in cards:
        typer.echo(f"{card.kind} {card.name} ({card.origin}): {card.about}")
        for line in card.parameters:
            typer.echo(f"    {line}")


@dataclass(frozen=True)
class _Card:
    """What is shown of one plug-in."""

    kind: str
    name: str
    origin: str
    about: str
    parameters: tuple[str, ...] = ()


def _cards() -> Iterator[_Card]:
    for kind, singular in registry.KINDS.items():
        for name in registry.names(kind):
            origin = " and ".join(entry.origin for entry in registry.entries(kind, name))
            try:
                cls = registry.load(kind, name)
                lines = [_line(each) for each in shape(cls).parameters()]
                if kind == "brokers":
                    of_stream = shape(cls.stream_type).parameters()
                    lines += [f"stream.{_line(each)}" for each in of_stream]
            except ChaosError as error:  # one broken plug-in hides no other
                yield _Card(singular, name, origin, f"unusable: {error}")
            else:
                yield _Card(singular, name, origin, summary(cls), tuple(lines))


def _line(parameter: Parameter) -> str:
    default = " (required)" if parameter.default is None else f" = {parameter.default}"
    doc = f"  # {parameter.doc}" if parameter.doc else ""
    return f"{parameter.key}: {parameter.type}{default}{doc}"


def _table(title: str, cards: list[_Card]) -> Table:
    table = Table("name", title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("what it does, and its parameters", overflow="fold", ratio=1)
    table.add_column("origin")
    for card in cards:
        what = "\n".join([card.about, *(f"  {line}" for line in card.parameters)])
        table.add_row(Text(card.name), Text(what), Text(card.origin))
    return table
