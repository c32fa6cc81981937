"""`chaos validate` and `chaos plugins`."""

from __future__ import annotations

from pathlib import Path

import fake_plugins
import pytest
from typer.testing import CliRunner, Result

from chaos.cli.commands import app
from chaos.registry import Entry

GOOD = "name: x\ncluster: {broker: fake}\nfaults:\n  - {at: 5s, fault: network.slow, target: one}\n"


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = Entry("faults", "gone", "no_such_module:Fault", "broken-dist 3.0")
    fake_plugins.install(monkeypatch, gone)
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(GOOD.replace("5s", "5").replace("one", "none"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_good_file_is_ok() -> None:
    """One line and exit code 0."""
    ended = run("validate", "good.yaml", "--set", "seed=3", "--runtime", "far")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "good.yaml: ok\n", "")


def test_every_file_is_checked_and_one_bad_one_is_enough() -> None:
    """Problems go to stderr, and the exit code is that of wrong usage."""
    ended = run("validate", "bad.yaml", "good.yaml", "none.yaml")
    assert (ended.exit_code, ended.stdout) == (2, "good.yaml: ok\n")
    assert ended.stderr.splitlines() == [
        "bad.yaml:4:10: faults.0.at: needs a number with a unit (ms, s, m, h), such as 30s, not 5",
        ('bad.yaml:4:42: faults.0.target: unknown target "none"; did you mean "one"? (targets: '
        "all, controller, fake-1, fake-2, fake-3, follower(p), followers(p), leader(p), majority, "
        "minority, one)"),
        "none.yaml: cannot be read: No such file or directory",
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["--runtime", "near"], ["--set", "runtime=near"]])
def test_the_runtime_is_asked_too(arguments: list[str]) -> None:
    """Whether it is named on the command line or in the file."""
    ended = run("validate", "good.yaml", *arguments)
    assert ended.exit_code == 2
    assert ended.stderr == (
        "good.yaml:4:21: faults.0.fault: network.slow acts on links between nodes, which the near "
        "runtime has no hold of: use --runtime far\n"
    )


def test_an_unknown_runtime_is_told() -> None:
    """With the nearest spelling."""
    ended = run("validate", "good.yaml", "--runtime", "near-")
    assert ended.exit_code == 2
    assert 'unknown runtime "near-"; did you mean "near"? (runtimes: far, near)' in ended.stderr


def test_plugins_are_listed_as_plain_lines_without_a_terminal() -> None:
    """Kind, name, origin and all parameters; one that is broken says so and hides no other."""
    ended = run("plugins")
    assert ended.exit_code == 0
    assert "\x1b" not in ended.stdout
    lines = ended.stdout.splitlines()
    start = lines.index("fault network.slow (fakes 1.0): Makes links slow")
    assert lines[start : start + 7] == [
        "fault network.slow (fakes 1.0): Makes links slow",
        "    target: target (required)  # Whose links, both ways.",
        "    delay: duration = 0.1s",
        "    limit: size = 1000000B",
        "    pace: rate | null = null",
        "    from: peers | clients = peers",
        "    beside: target | null = null",
    ]
    assert "    stream.partitions: int = 3" in lines
    assert any(line.startswith("fault gone (broken-dist 3.0): unusable: ") for line in lines)
