"""The documentation, held to the code: what is generated is current, what is named exists."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from chaos import registry
from chaos.cli.codes import BADNESS
from chaos.cli.commands import app
from chaos.errors import UsageError
from chaos.plugin import shape
from chaos.spi import ANOMALY_LIMIT, Kind
from tests.histories import Fault, answer, drop, right

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?:scripts|benchmarks|experiments|compose|docs|tests|chaos|adapters)/[\w./-]+")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _generate() -> ModuleType:
    """`docs/generate.py`, which is no package's: others install one that is called docs."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return [text for known, text in _BLOCK.findall(page.read_text()) if known == language]


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line that a page shows, as words, without comments."""
    prose = _BLOCK.sub("", page.read_text()).replace("\\|", "|")
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for line in [*lines, *_SPAN.findall(prose)]:
        with contextlib.suppress(ValueError):  # an apostrophe: no command
            yield shlex.split(line.replace("[", " ").replace("]", " "), comments=True)


def options_of_chaos() -> dict[str, set[str]]:
    """Command -> its options; those of `chaos` itself under no name."""
    group: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for name, command in [("", group), *group.commands.items()]
    }


def slugs(page: Path) -> set[str]:
    """The anchors of a page, as they are made from its headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_generated_parts_are_what_the_code_gives_now() -> None:
    """Else scripts/docs was not run after a change."""
    assert [str(path.relative_to(ROOT)) for path in generate.stale()] == []


@pytest.mark.parametrize("name", sorted(generate.PARTS))
def test_every_generated_part_stands_somewhere(name: str) -> None:
    """A part that no page asks for is a part that nobody reads, or a page that lost its mark."""
    marks = [page for page in PAGES if f"<!-- generated: {name} -->" in page.read_text()]
    assert len(marks) == 1


@pytest.mark.parametrize("name", generate.PAGES)
def test_an_old_part_is_noticed(name: str) -> None:
    """Whatever stands between the marks is replaced, and what stands around them stays."""
    text = (ROOT / name).read_text()
    old = re.sub(
        r"(<!-- generated: [\w-]+ -->\n).*?(<!-- end -->)", r"\1old\n\2", text, flags=re.DOTALL
    )
    assert old != text
    assert generate.renewed(old) == text


def test_an_unknown_part_is_told() -> None:
    """A mark that is misspelled must not stay empty without a word."""
    with pytest.raises(UsageError, match="comands"):
        generate.renewed("<!-- generated: comands -->\n<!-- end -->")


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is a file of ours, and its anchor a heading."""
    for link in _LINK.findall(page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


@each_page
def test_commands_that_are_shown_exist(page: Path) -> None:
    """Scripts can be executed, chaos has the command, and the command has the options."""
    known = options_of_chaos()
    for words in commands(page):
        for word in words:
            if word.startswith("scripts/") and "." not in word:
                assert os.access(ROOT / word, os.X_OK), words
        at = next((n for n, word in enumerate(words) if word in ("chaos", "scripts/chaos")), None)
        if at is None or at + 1 == len(words) or words[at + 1] == "COMMAND":
            continue
        name, *rest = words[at + 1 :]
        if name.startswith("--"):
            assert name in known[""], words
            continue
        assert name in known, words
        options = {word for word in rest if word.startswith("--")}
        assert options <= known[name], words


@each_page
def test_paths_that_are_named_exist(page: Path) -> None:
    """In commands and in prose; experiments, scripts, modules."""
    for words in commands(page):
        for word in words:
            if _PATH.fullmatch(word):
                assert (ROOT / word).exists(), words


def test_readme_tells_the_first_commands_first() -> None:
    """A stranger finds the run, the tests and the run in containers, in this order."""
    local, tests, docker = blocks(ROOT / "README.md", "sh")[:3]
    assert local == "scripts/chaos run experiments/broker-down.yaml --runtime local\n"
    assert tests == "scripts/test\n"
    assert docker == "scripts/chaos run experiments/broker-down.yaml --runtime docker\n"


def test_readme_has_every_experiment() -> None:
    """Each one that is shipped has a row that says what it teaches."""
    shipped = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("experiments/**/*.yaml")}
    rows = re.findall(
        r"^\| \[`.*?`\]\((experiments/.*?)\)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(rows) == sorted(shipped)


@pytest.mark.parametrize("name", ["README.md", "docs/verdict.md"])
def test_exit_codes_are_all_told(name: str) -> None:
    """Both pages have a row for each."""
    _, _, part = (ROOT / name).read_text().partition("code | means |\n")
    rows = re.findall(r"^\| (\d+) \|", part.partition("\n\n")[0], re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(BADNESS)


@pytest.mark.parametrize("name", registry.names("verifiers"))
def test_every_figure_is_explained(name: str) -> None:
    """The page about verdicts has a row for each figure of each verifier, and no row too many."""
    history = right(400)
    history.faults = [Fault("1-process.kill", 2.5, 3.0)]
    history.stored[9].kind = Kind.THROWS
    finding = answer(registry.load("verifiers", name)(), history)
    text = (ROOT / "docs" / "verdict.md").read_text()
    rows = re.findall(rf"^\| {name} \| `(.*?)` \|", text, re.MULTILINE)
    assert rows == [figure.name for figure in finding.figures]


def test_the_limit_of_evidence_is_told() -> None:
    """People who count lines of evidence know where they end."""
    assert f"more than {ANOMALY_LIMIT:,} of one kind" in (ROOT / "docs" / "verdict.md").read_text()


def test_the_thresholds_shown_are_thresholds() -> None:
    """The example of `expect:` can be pasted into an experiment."""
    (shown,) = blocks(ROOT / "docs" / "experiment.md", "yaml")
    for name, values in YAML(typ="safe").load(shown)["expect"].items():
        built = shape(registry.load("verifiers", name)).build(values)
        assert not isinstance(built, list), built


def test_the_five_lines_find_what_is_lost(tmp_path: Path) -> None:
    """The example that reads a history with pyarrow works on one, and is as short as it says."""
    history = right(4)
    drop(history.stored, 2)
    run = history.write(tmp_path / "run")
    (code,) = blocks(ROOT / "docs" / "history.md", "python")
    assert len([line for line in code.splitlines() if line]) == 5
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.replace("RUN/", f"{run}/"), {})
    assert printed.getvalue() == "{2}\n"
