"""The experiments that come with the toolkit, against the plug-ins that are installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos import registry
from chaos.experiment import Experiment, load_experiment, place_problems

ROOT = Path(__file__).parents[2] / "experiments"
SHIPPED = sorted(ROOT.rglob("*.yaml"))


def test_there_are_some() -> None:
    """The tests below look at something, the main one included."""
    assert ROOT / "broker-down.yaml" in SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_can_be_run_and_repeated(path: Path) -> None:
    """Nothing is wrong with it, some runtime can do it, and its resolved form is the same again."""
    experiment = load_experiment(path)
    runtimes = list(registry.names("runtimes"))
    able = [n for n in runtimes if not place_problems(experiment, n, registry.load("runtimes", n))]
    assert able
    again = Experiment.from_resolved(json.loads(json.dumps(experiment.resolved)))
    assert again == experiment


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_says_what_it_teaches(path: Path) -> None:
    """It is named like its file, begins with comments for people, and has an about text."""
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert experiment.about
    _schema, told, _ = path.read_text().split("\n\n", 2)
    assert told.startswith("# ")
    assert len(told.splitlines()) <= 10


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_unsafe_ones_have_unsafe_settings(path: Path) -> None:
    """The caveats about loss and duplication tell the two kinds apart. Some have one that
    they cannot do without, and explain it; one is unsafe by a bug of the broker's."""
    caveats = load_experiment(path).caveats()
    unsafe = any(caveat.question in ("loss", "duplication") for caveat in caveats)
    if path.stem == "corrupt-slave":
        assert not unsafe
    else:
        explained = path.stem in ("drill-broker-2", "delayed", "transaction-check")
        assert unsafe is ("unsafe" in path.parts or explained)
