"""Rules of the design that hold for every file, read from the source text itself."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from chaos.registry import names

ROOT = Path(__file__).parents[2]
ENGINE = sorted((ROOT / "chaos").rglob("*.py"))
ADAPTERS = sorted((ROOT / "adapters" / "chaos_adapters").rglob("*.py"))
VERIFIERS = sorted((ROOT / "verifiers" / "chaos_verifiers").rglob("*.py"))
PLUGINS = [*ADAPTERS, *VERIFIERS]
EVERYTHING = [*ENGINE, *PLUGINS]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth: `from a import b` as `a.b`."""
    package = path.relative_to(ROOT).parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def docstrings(module: ast.Module) -> set[int]:
    """The nodes that are text for people: the first string of a body, or one below a field."""
    found = set()
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str()) as text):
                    found.add(id(text))
    return found


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string that the program uses."""
    skipped = docstrings(tree(path))
    for node in ast.walk(tree(path)):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in skipped:
                yield node.lineno, text


def within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


# -------------------------------------------------------------------------------------- imports


def test_there_is_something_to_look_at() -> None:
    """Otherwise the tests below hold for nothing."""
    assert len(ENGINE) > 30
    assert len(ADAPTERS) > 15
    assert len(VERIFIERS) > 5


def test_the_engine_imports_no_plugin() -> None:
    """Not even inside a function: plug-ins are found by entry points."""
    assert imports_of(ENGINE, lambda path: ["chaos_adapters", "chaos_verifiers"]) == []


def imports_of(paths: Sequence[Path], forbidden: Callable[[Path], Sequence[str]]) -> list[str]:
    """Every import of a module that its file may not know, for people."""
    return [
        f"{short(path)} imports {name}"
        for path in paths
        for name in imported(path)
        if within(name, *forbidden(path))
    ]


def test_a_plugin_imports_only_the_contracts() -> None:
    """So that a third party's plug-in can do all that a built-in one can. Runtimes may also ask
    where the data files lie, which are the built-in ones' own."""
    found = []
    for path in PLUGINS:
        allowed = ["chaos.spi", "chaos.errors", "chaos.timing"]
        if "runtimes" in path.parts:
            allowed.append("chaos.data")
        ours = [name for name in imported(path) if within(name, "chaos")]
        found += [(short(path), name) for name in ours if not within(name, *allowed)]
    assert found == []


def test_adapters_and_verifiers_do_not_know_each_other() -> None:
    """Each question is asked of every system."""
    assert imports_of(ADAPTERS, lambda path: ["chaos_verifiers"]) == []
    assert imports_of(VERIFIERS, lambda path: ["chaos_adapters"]) == []


def test_brokers_runtimes_and_faults_do_not_know_each_other() -> None:
    """A broker runs in every runtime, a fault hits every broker."""
    kinds = ("brokers", "runtimes", "faults")

    def others(path: Path) -> list[str]:
        return [f"chaos_adapters.{kind}" for kind in kinds if kind not in path.parts]

    assert imports_of(ADAPTERS, others) == []


def test_no_broker_knows_another() -> None:
    """Each is a package on its own."""
    brokers = [path for path in ADAPTERS if path.parent.parent.name == "brokers"]
    assert brokers

    def others(path: Path) -> list[str]:
        own = path.parent.name
        return [f"chaos_adapters.brokers.{name}" for name in names("brokers") if name != own]

    assert imports_of(brokers, others) == []


# ---------------------------------------------------------------------------------------- names

SYSTEMS = ("kafka", "rabbit", "rocketmq", "docker", "toxiproxy", "podman", "kubernetes")


def test_the_engine_knows_no_broker_runtime_or_fault_by_name() -> None:
    """In nothing that it does: no string of the program (texts for people apart), no name."""
    plugins = {name for kind in ("brokers", "runtimes", "faults") for name in names(kind)}

    def telling(text: str) -> bool:
        return text in plugins or any(system in text.lower() for system in SYSTEMS)

    found = [
        (f"{short(path)}:{line}", text)
        for path in ENGINE
        for line, text in [*strings(path), *identifiers(path)]
        if telling(text)
    ]
    assert found == []


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every variable and attribute."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield node.lineno, f".{node.attr}"
        elif isinstance(node, ast.Name):
            yield node.lineno, f"{node.id} "


# ------------------------------------------------------------------------------- catching it all

MAY_CATCH_ALL = {
    # A worker's operation: a client library may raise anything.
    ("chaos/load/worker.py", "main"),
    # The heal loop: whatever it is, try again.
    ("chaos/guard.py", "try_heal"),
    # A heal of several: what one raises waits until all have been tried.
    ("chaos/errors.py", "attempt_all"),
    # A verifier: whatever it raises is its answer.
    ("chaos/judge.py", "_attempt"),
    # The edge of the program: Python's own exit status of a traceback, 1, would say FAIL.
    ("chaos/cli/__init__.py", "main"),
}


def catches_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        isinstance(each, ast.Name) and each.id in {"Exception", "BaseException"} for each in caught
    )


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def handlers(path: Path) -> Iterator[tuple[str, int]]:
    """Innermost function and line of every handler that catches everything."""
    owners: dict[int, str] = {}
    for function in functions(path):  # outer ones first, so that inner ones overwrite
        for node in ast.walk(function):
            owners[id(node)] = function.name
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler) and catches_all(node):
            # Ctrl-C and exits are caught nowhere: `except BaseException` has no named place.
            worse = "" if node.type and "Base" not in ast.unparse(node.type) else " even exits"
            yield owners.get(id(node), "<module>") + worse, node.lineno


def test_only_the_named_places_catch_everything() -> None:
    """Everywhere else an unexpected error is one."""
    found = [
        f"{short(path)}:{line} in {name}"
        for path in EVERYTHING
        for name, line in handlers(path)
        if (short(path), name) not in MAY_CATCH_ALL
    ]
    assert found == []


def test_the_named_places_are_there() -> None:
    """A list that nobody needs any more is shortened."""
    found = {(short(path), name) for path in EVERYTHING for name, _ in handlers(path)}
    assert found == MAY_CATCH_ALL


# ------------------------------------------------------------------------------ other bad habits


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def through_a_shell(call: ast.Call) -> bool:
    asked = [word.value for word in call.keywords if word.arg == "shell"]
    shell = any(not (isinstance(each, ast.Constant) and each.value is False) for each in asked)
    return shell or ast.unparse(call.func) in {"os.system", "os.popen", "subprocess.getoutput"}


def test_nothing_goes_through_a_shell() -> None:
    """Programs get argument lists."""
    found = [
        f"{short(path)}:{call.lineno}"
        for path in EVERYTHING for call in calls(path) if through_a_shell(call)
    ]  # fmt: skip
    assert found == []


def test_no_heal_flushes_all_rules() -> None:
    """Only what this run marked is removed: no `-F`, no `flush ruleset`."""
    found = [
        f"{short(path)}:{line}"
        for path in EVERYTHING
        for line, text in strings(path)
        if text in {"-F", "--flush"} or "flush rule" in text
    ]
    assert found == []


def test_files_and_functions_stay_small() -> None:
    """At most 400 lines a file and 70 a function."""
    files = [short(path) for path in EVERYTHING if len(path.read_text().splitlines()) > 400]
    assert files == []
    long = [
        f"{short(path)}: {function.name}"
        for path in EVERYTHING
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > 70
    ]
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    """In its first lines."""
    assert [short(path) for path in EVERYTHING if not ast.get_docstring(tree(path))] == []


# --------------------------------------------------------------------------------- tracked files

# Put together here, so that this file does not name them either.
REGISTRIES = tuple(".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("repo", "maven", "apache", "org"),
    ("repo1", "maven", "org"), ("registry-1", "docker", "io"), ("index", "docker", "io"),
    ("hub", "docker", "com"), ("ghcr", "io"), ("quay", "io"), ("gcr", "io"),
    ("mcr", "microsoft", "com"), ("registry", "npmjs", "org"), ("crates", "io"),
    ("proxy", "golang", "org"), ("sum", "golang", "org"), ("deb", "debian", "org"),
    ("archive", "ubuntu", "com"), ("rubygems", "org"),
    ("packages", "confluent", "io"), ("packagecloud", "io"), ("dl-cdn", "alpinelinux", "org"),
))  # fmt: skip


def tracked() -> list[Path]:
    """What git has or would take up, so that a new file is found before it is committed."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    found = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in found if path.is_file()]


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's business: a mirror must be enough everywhere."""
    host = re.compile("|".join(map(re.escape, REGISTRIES)))
    found = [
        f"{short(path)}:{number}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if host.search(line)
    ]
    assert found == []


def test_the_source_roots_hold_one_package_each() -> None:
    """A wheel adds only uniquely named packages."""
    for root, package in (("adapters", "chaos_adapters"), ("verifiers", "chaos_verifiers")):
        found = [path.name for path in (ROOT / root).iterdir() if path.name != "__pycache__"]
        assert found == [package]
    for package in ("chaos", "adapters/chaos_adapters", "verifiers/chaos_verifiers"):
        assert (ROOT / package / "py.typed").is_file()
