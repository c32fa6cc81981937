"""Writes the parts of the documentation that follow from the code: `scripts/docs [--check]`.

A generated part of a Markdown file stands between two comments, the first of which names it:

    <!-- generated: commands -->
    <!-- end -->

`PARTS` says what belongs there, `WHOLE` which files are generated as a whole. `--check` writes
nothing, names what is stale and ends with 1.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from chaos import registry
from chaos.cli.commands import app
from chaos.cli.layout import called
from chaos.cli.paths import shipped_names
from chaos.data import UNSAFE
from chaos.errors import UsageError
from chaos.experiment import load_experiment, place_problems
from chaos.experiment.records import Consumers, Head, Phases, Producers, When
from chaos.experiment.schema import schema_text
from chaos.history import events, schema
from chaos.machine import Machine
from chaos.plugin import shape, summary
from chaos.verdict import schema as verdict_schema

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md", "docs/README.md", "docs/cli.md", "docs/experiment.md", "docs/healing.md",
    "docs/history.md", "docs/verdict.md",
)  # fmt: skip
_MARKED = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
_COLUMN = re.compile(r'\("(\w+)", pa\.\w+\(\)\), *(?:# (.*))?')


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def parameters(cls: type[Any]) -> str:
    """What `chaos plugins` tells of a dataclass, as a table."""
    rows = list(_rows(cls))
    if not rows:
        return "No parameters.\n"
    width = 4 if any(row[3] for row in rows) else 3
    return table(("key", "type", "default", "meaning")[:width], (row[:width] for row in rows))


def _rows(cls: type[Any], before: str = "") -> Iterator[tuple[str, str, str, str]]:
    own = shape(cls)
    for each in own.parameters():
        key = f"{before}{each.key}"
        yield f"`{key}`", each.type, _default(each.default), each.doc
        if each.key in own.records:
            yield from _rows(own.records[each.key], f"{key}.")


def _default(default: str | None) -> str:
    if default is None:
        return "required"
    return f"`{default}`" if default else "empty"


def plugins(kind: str) -> Iterator[str]:
    """A section for each plug-in of a kind: its docstring and its parameters."""
    for name in registry.names(kind):
        cls = registry.load(kind, name)
        yield f"### `{name}`\n\n{inspect.getdoc(cls)}\n\n{parameters(cls)}\n"
        if kind == "brokers":
            roles = (f"`{role}(p)`" if takes else f"`{role}`" for role, takes in cls.roles.items())
            yield f"Roles for targets: {', '.join(roles)}.\n\n"
            yield f"`stream:` of `{name}`\n\n{parameters(cls.stream_type)}\n"
            for whose, settings in getattr(cls, "client_settings", {}).items():
                role, _, condition = whose.partition(" ")
                where = f"`load.{role}.settings:` of `{name}` {condition}".rstrip()
                yield f"{where}\n\n{inspect.getdoc(settings)}\n\n{parameters(settings)}\n"


def questions() -> Iterator[str]:
    """A section for each verifier: its question and what it proves."""
    for name in registry.names("verifiers"):
        cls = registry.load("verifiers", name)
        yield f"### `{name}`: {cls.question}\n\n{inspect.getdoc(cls)}\n\n"


def thresholds() -> Iterator[str]:
    """The parameters of each verifier."""
    for name in registry.names("verifiers"):
        cls = registry.load("verifiers", name)
        yield f"### `{name}`: {cls.question}\n\n{parameters(cls)}\n"


def commands() -> str:
    """The command line."""
    group: Any = typer.main.get_command(app)
    rows = [
        (f"`chaos {_usage(name, command)}`", _about(command))
        for name, command in group.commands.items()
    ]
    return table(("command", "what it does"), rows)


def reference() -> Iterator[str]:
    """What `--help` says of each command."""
    group: Any = typer.main.get_command(app)
    width = {"terminal_width": 78, "resilient_parsing": True}
    top = group.make_context("chaos", [], **width)
    yield f"```text\n{group.get_help(top)}\n```\n\n"
    for name, command in group.commands.items():
        context = command.make_context(name, [], parent=top, **width)
        yield f"## `chaos {name}`\n\n```text\n{command.get_help(context)}\n```\n\n"


def experiments() -> str:
    """What comes with mqchaos: where it can be run, and what it does in its own words."""
    rows = []
    for name in shipped_names():
        path = f"experiments/{name}.yaml"
        it = load_experiment(ROOT / path)
        on_purpose = "Ends with FAIL, on purpose. " if UNSAFE in Path(path).parts else ""
        runtimes = {n: registry.load("runtimes", n) for n in registry.names("runtimes")}
        able = [n for n, runtime in runtimes.items() if not place_problems(it, n, runtime)]
        where = "any" if len(able) == len(runtimes) else ", ".join(able)
        rows.append((f"[`{name}`]({path})", where, on_purpose + it.about))
    return table(("experiment", "runtime", "what it does"), rows)


def index() -> str:
    """All plug-ins in one table, with links to where they are explained."""
    rows = [
        (singular, f"[`{name}`]({_page(kind, name)})", _in_short(kind, name))
        for kind, singular in registry.KINDS.items()
        for name in registry.names(kind)
    ]
    return table(("kind", "name", "what it does"), rows)


def _in_short(kind: str, name: str) -> str:
    cls = registry.load(kind, name)
    return str(cls.question) if kind == "verifiers" else summary(cls)


def _page(kind: str, name: str) -> str:
    if kind != "verifiers":
        return f"experiment.md#{slug(name)}"
    question = registry.load(kind, name).question
    return f"verdict.md#{slug(f'{name}: {question}')}"


def slug(heading: str) -> str:
    """The anchor that is made from a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _usage(name: str, command: Any) -> str:  # noqa: ANN401 - of a click that Typer may bring along
    return " ".join([name, *(_word(parameter) for parameter in command.params)])


def _word(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument":
        return called(parameter)
    metavar = parameter.metavar or parameter.name.upper()
    return f"[{parameter.opts[0]}]" if parameter.is_flag else f"[{parameter.opts[0]} {metavar}]"


def _about(command: Any) -> str:  # noqa: ANN401
    first, _, _ = command.help.partition("\n\n")
    return str(first)


def alone() -> str:
    """What becomes of each fault whose tool and reaper are both dead."""
    rows = [
        (f"[`{name}`]({_page('faults', name)})", _alone(registry.load("faults", name)))
        for name in registry.names("faults")
    ]
    return table(("fault", "ends by itself"), rows)


def _alone(cls: type[Any]) -> str:
    return getattr(cls, "ends_alone", "no: it stays until somebody heals")


def columns(name: str) -> str:
    """The columns of a table of the history; what they mean stands beside them in its source."""
    _, _, source = inspect.getsource(schema).partition(f"\n{name.upper()} = ")
    told = dict(_COLUMN.findall(source.partition("\n])")[0]))
    rows = [
        (f"`{column.name}`", str(column.type), told[column.name]) for column in schema.TABLES[name]
    ]
    return table(("column", "type", "meaning"), rows)


def kinds_of_events() -> str:
    """The kinds of events, as the module that writes them tells them."""
    _, _, drawing = (inspect.getdoc(events) or "").partition(":\n\n")
    return f"```text\n{inspect.cleandoc(drawing)}\n```\n"


PARTS: Mapping[str, Callable[[], str]] = {
    "cli": lambda: "".join(reference()),
    "commands": commands,
    "experiments": experiments,
    "plugins": index,
    "head": lambda: parameters(Head),
    "machine": lambda: parameters(Machine),
    "producers": lambda: parameters(Producers),
    "consumers": lambda: parameters(Consumers),
    "phases": lambda: parameters(Phases),
    "when": lambda: parameters(When),
    "brokers": lambda: "".join(plugins("brokers")),
    "runtimes": lambda: "".join(plugins("runtimes")),
    "faults": lambda: "".join(plugins("faults")),
    "thresholds": lambda: "".join(thresholds()),
    "questions": lambda: "".join(questions()),
    "sends": lambda: columns("sends"),
    "deliveries": lambda: columns("deliveries"),
    "replicas": lambda: columns("replicas"),
    "handlings": lambda: columns("handlings"),
    "events": kinds_of_events,
    "alone": alone,
}
WHOLE: Mapping[str, Callable[[], str]] = {
    "docs/verdict.schema.json": lambda: json.dumps(verdict_schema(), indent=2) + "\n",
    "experiments/experiment.schema.json": schema_text,
}


def renewed(text: str) -> str:
    """A page with its generated parts made anew. Raises UsageError for a part nobody knows."""

    def part(found: re.Match[str]) -> str:
        if found["name"] not in PARTS:
            raise UsageError(f"no generated part is called {found['name']!r}")
        return f"{found['begin']}\n{PARTS[found['name']]().strip()}\n\n{found['end']}"

    return _MARKED.sub(part, text)


def with_schema(path: Path, experiments: Path) -> str:
    """An experiment, with the line in front that tells editors where its schema is."""
    schema = "../" * len(path.relative_to(experiments).parents[1:]) + "experiment.schema.json"
    text = re.sub(r"\A# yaml-language-server:.*\n\n?", "", path.read_text())
    return f"# yaml-language-server: $schema={schema}\n\n{text}"


def stale() -> dict[Path, str]:
    """The files that are not what the code gives now, and what they should be."""
    wanted = {ROOT / name: renewed((ROOT / name).read_text()) for name in PAGES}
    wanted |= {ROOT / name: make() for name, make in WHOLE.items()}
    experiments = ROOT / "experiments"
    wanted |= {path: with_schema(path, experiments) for path in experiments.rglob("*.yaml")}
    return {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text
    }


def main(arguments: Sequence[str]) -> int:
    """Write what is stale, or only tell it."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return UsageError.exit_code
    for path, text in (found := stale()).items():
        if arguments:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run scripts/docs\n")
        else:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)} written\n")
    return 1 if arguments and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
