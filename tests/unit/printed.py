"""What is printed, looked at as text."""

from __future__ import annotations

import unicodedata
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, RenderableType

from chaos.ui.terminal import plain_console


def text(renderable: RenderableType) -> str:
    """As it is printed without a terminal, 80 columns wide."""
    file = StringIO()
    plain_console(file).print(renderable)
    return file.getvalue()


def words(renderable: RenderableType) -> str:
    """As one line, so that tests do not depend on where it is broken."""
    return " ".join(text(renderable).split())


def assert_plain(written: str) -> None:
    assert {sign for sign in written if unicodedata.category(sign) == "Cc"} <= {"\n"}


def widest(renderable: RenderableType, width: int = 80) -> int:
    file = StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(renderable)
    return max(cell_len(line) for line in file.getvalue().splitlines())
