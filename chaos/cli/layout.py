"""How `--help` looks, and what makes it and the shell's completion quick.

Help is plain text in sections, with examples, the same in a terminal and in a pipe. Typer's own
panels need Rich and its Markdown reader, which take longer to load than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

# Typer may bring a click of its own along, so its contexts and formatters have no one type.
_Context = Any
_Formatter = Any


class Command(TyperCommand):
    """A command whose docstring ends with examples, which are shown as they are written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.help, self.epilog = _parts(self.help)

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """See _unconverted."""
        _unconverted(self, ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: _Context) -> list[str]:
        """`[OPTIONS] FILE [ID]...`."""
        return ["[OPTIONS]", *(called(each) for each in _arguments(self, ctx))]

    def format_options(self, ctx: _Context, formatter: _Formatter) -> None:
        """The arguments that need a word, and the options."""
        rows = [(called(each), each.help) for each in _arguments(self, ctx) if each.help]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: _Context, formatter: _Formatter) -> None:  # noqa: ARG002
        """The examples."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """Shows its commands by section (Typer's `rich_help_panel`), in the order of declaration."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.help, self.epilog = _parts(self.help)

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """See _unconverted."""
        _unconverted(self, ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: _Context, formatter: _Formatter) -> None:
        """The commands first: they are what people look for."""
        width = max(map(len, self.commands))
        for panel, commands in groupby(self.commands.values(), _panel):
            rows = [(f"{each.name:{width}}", each.get_short_help_str(80)) for each in commands]
            with formatter.section(panel):
                formatter.write_dl(rows)
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: _Context, formatter: _Formatter) -> None:  # noqa: ARG002
        """The examples."""
        _write_examples(self.epilog, formatter)


def _parts(docstring: str | None) -> tuple[str, str]:
    help_text, _, examples = (docstring or "").partition("\n\nFor example:\n")
    return help_text, examples


def _unconverted(command: Any, ctx: _Context) -> None:  # noqa: ANN401
    """While the shell asks for completions no value is used, so none is converted: that would load
    pydantic, at each <TAB>."""
    if ctx.resilient_parsing:
        for parameter in command.get_params(ctx):
            parameter.process_value = lambda _ctx, value: value


def _panel(command: Any) -> str:  # noqa: ANN401
    return str(command.rich_help_panel)


def _write_options(command: Any, ctx: _Context, formatter: _Formatter) -> None:  # noqa: ANN401
    rows = [each.get_help_record(ctx) for each in _parameters(command, ctx, "option")]
    with formatter.section("Options"):
        formatter.write_dl([row for row in rows if row])


def _write_examples(text: str | None, formatter: _Formatter) -> None:
    if text:
        with formatter.section("Examples"):
            for line in text.strip().splitlines():
                formatter.write(f"  {line.strip()}\n")


def _arguments(command: Any, ctx: _Context) -> Iterator[Any]:  # noqa: ANN401
    return _parameters(command, ctx, "argument")


def _parameters(command: Any, ctx: _Context, kind: str) -> Iterator[Any]:  # noqa: ANN401
    return (each for each in command.get_params(ctx) if each.param_type_name == kind)


def called(argument: Any) -> str:  # noqa: ANN401
    """`FILE`, `FILE...`, `[ID]...`."""
    name = str(argument.metavar or argument.name.upper())
    name = name if argument.required else f"[{name}]"
    return f"{name}..." if argument.nargs == -1 else name
