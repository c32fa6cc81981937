"""Which files the words on a command line mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.cli import main
from chaos.cli.paths import find_experiment, find_experiments
from chaos.data import compose_dir, experiments_dir


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def write(*names: str) -> None:
    """Files; what is in them does not matter here."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_a_directory_means_all_its_experiments_but_the_unsafe_ones() -> None:
    """Those below `unsafe` run when they are named: as a file, or as that directory itself."""
    write("x/b.yaml", "x/deep/a.yaml", "x/unsafe/c.yaml", "x/unsafe/deep/d.yaml", "x/e.txt")
    assert find_experiments(["x"]) == [Path("x/b.yaml"), Path("x/deep/a.yaml")]
    assert find_experiments(["x/unsafe/c.yaml", "x/b.yaml"]) == [
        Path("x/unsafe/c.yaml"),
        Path("x/b.yaml"),
    ]
    assert len(find_experiments(["x/unsafe"])) == 2


@pytest.mark.parametrize(
    "word", ["broker-down", "broker-down.yaml", "experiments/broker-down.yaml"]
)
def test_an_experiment_that_comes_with_us_is_found_by_name(word: str) -> None:
    """So that the documentation's commands work wherever one stands."""
    assert find_experiment(word) == experiments_dir() / "broker-down.yaml"


def test_shipped_experiments_are_found_in_folders_too() -> None:
    """With the folder; and the folder itself."""
    assert find_experiment("kafka/unsafe/acks-1").is_file()
    assert experiments_dir() / "kafka/broker-pause.yaml" in find_experiments(["kafka"])
    assert (compose_dir() / "kafka.yaml").is_file()


def test_a_file_of_ones_own_goes_before_a_shipped_one() -> None:
    """What is there is meant."""
    write("broker-down.yaml")
    assert find_experiment("broker-down.yaml") == Path("broker-down.yaml")


def test_every_word_that_means_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest right spelling; a path cannot leave what is shipped."""
    Path("empty").mkdir()
    assert main(["run", "broker-dwon", "empty", "../pyproject.toml", "/nowhere.yaml"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == [
        "broker-dwon", "empty", "../pyproject.toml", "/nowhere.yaml",
    ]  # fmt: skip
    assert 'did you mean "broker-down"?' in told[0]
