"""What people see before they know anything: help, completion, and how soon it is there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from printed import assert_plain

from chaos.cli import main
from chaos.cli.commands import app
from chaos.cli.paths import find_experiments, shipped_names

GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)
CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]
HEAVY = {
    "chaos_adapters", "chaos_verifiers", "confluent_kafka", "docker", "jinja2", "numpy", "pyarrow",
    "pydantic", "rich", "ruamel",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=str)
def test_help_is_text_in_80_columns(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Whatever the environment wishes, and nothing of it is cut off; the last part are examples."""
    text = shown(capsys, *words)
    assert_plain(text)
    assert max(map(len, text.splitlines())) <= 80
    assert not any(line.endswith("...") for line in text.splitlines() if "Usage" not in line)
    assert "\nExamples:\n" in text
    assert text.endswith("\n")


def test_commands_stand_in_sections_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    """To run something comes first, and every command is there."""
    lines = shown(capsys).splitlines()
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == [
        "Experiments:",
        "Clusters:",
        "Verdicts:",
        "Reference:",
        "Options:",
        "Examples:",
    ]
    assert lines[lines.index("Experiments:") + 1].split()[0] == "run"
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert set(COMMANDS) <= set(listed)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_can_be_typed(name: str) -> None:
    """Commands, options and shipped experiments that they name exist."""
    command = GROUP.commands[name] if name else GROUP
    for line in command.epilog.strip().splitlines():
        example, *_ = line.strip().split("  ")
        called, *words = shlex.split(example.partition("|")[0])
        assert called == "chaos"
        if words[0] == "COMMAND":
            continue
        options = {o for p in GROUP.commands[words[0]].params for o in p.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, example
        for word in words[1:]:
            if word in shipped_names() or word.startswith("broker-"):
                assert find_experiments([word])


# ----------------------------------------------------------------------------------- completion


def offered(line: str, cwd: Path | None = None) -> list[str]:
    """What bash is told at <TAB> behind this line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        CHAOS, env={**os.environ, **asked, "_CHAOS_COMPLETE": "complete_bash"},
        cwd=cwd, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(autouse=True)
def _prog(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMP_WORDS", "COMP_CWORD", "_CHAOS_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


def test_commands_and_options_complete() -> None:
    """In the order of help."""
    assert offered("chaos ")[:2] == ["run", "validate"]
    assert offered("chaos ve") == ["verify"]
    assert "--runtime" in offered("chaos run --")


def test_experiments_complete() -> None:
    """What comes with us, files, and the folders that lead to some; the only way is entered."""
    for name in ("my.yaml", "deep/down/a.yaml", "deep/down/b.yml", "empty/x.txt", ".git/x.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert offered("chaos run ") == [*shipped_names(), "my.yaml", "deep/"]
    assert offered("chaos run brok") == ["broker-down"]
    assert offered("chaos run de") == ["deep/down/a.yaml", "deep/down/b.yml"]
    assert offered("chaos run --keep deep/down/b") == ["deep/down/b.yml"]
    assert offered("chaos validate my") == ["my.yaml"]
    assert offered("chaos init --example kafka/broker") == ["kafka/broker-pause"]
    assert offered("chaos run nothing") == []


def test_runs_complete() -> None:
    """Those in runs/, and those elsewhere once the folder is typed; nothing that is no run."""
    for name in ("runs/1-a", "runs/2-b", "else/3-c"):
        Path(name).mkdir(parents=True)
        Path(name, "experiment.json").touch()
    Path("runs/none").mkdir()
    assert offered("chaos verify ") == ["runs/1-a", "runs/2-b"]
    assert offered("chaos verify ru") == ["runs/1-a", "runs/2-b"]
    assert offered("chaos verify runs/2") == ["runs/2-b"]
    assert offered("chaos verify else/") == ["else/3-c"]
    assert offered("chaos verify ", Path("else")) == ["3-c"]


def test_names_complete() -> None:
    """Runtimes, brokers, and the clusters of this user."""
    (Path("home") / "clusters" / "abc123").mkdir(parents=True)
    assert offered("chaos run x --runtime lo") == ["local"]
    assert offered("chaos init --broker me") == ["memory"]
    assert offered("chaos down a") == ["abc123"]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_it_works_in_a_bash() -> None:
    """The script that bash is given, in a bash."""
    directory = Path("bin")
    directory.mkdir()
    script = directory / "chaos"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom chaos.cli import main\nsys.exit(main())\n"
    )
    script.chmod(0o700)
    source = subprocess.run(
        [*CHAOS, "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    asked = (
        f"{source}\n"
        "COMP_WORDS=(chaos run brok); COMP_CWORD=2\n"
        "$(complete -p chaos | sed 's/.*-F \\([^ ]*\\).*/\\1/') chaos brok run\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{directory.absolute()}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["broker-down"]


# ------------------------------------------------------------------------------------- start-up


def imported(*arguments: str, **environment: str) -> set[str]:
    """The top-level packages that a command loads."""
    code = (
        "import sys\nfrom chaos.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print('LOADED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    *_, loaded = done.stdout.splitlines()
    assert loaded.startswith("LOADED"), done.stderr
    return set(loaded.split())


@pytest.mark.parametrize(
    "environment",
    [
        {},
        *(
            {
                "COMP_WORDS": line,
                "COMP_CWORD": str(line.count(" ")),
                "_CHAOS_COMPLETE": "complete_bash",
            }
            for line in (
                "chaos ",
                "chaos run ",
                "chaos verify ",
                "chaos down ",
                "chaos init --broker ",
            )
        ),
    ],
    ids=lambda environment: environment.get("COMP_WORDS", "--help"),
)
def test_help_and_completion_load_nothing_heavy(environment: dict[str, str]) -> None:
    """No client library, no pydantic, no numpy: a word at <TAB> must not take a second."""
    assert imported("--help", **environment) & HEAVY == set()
