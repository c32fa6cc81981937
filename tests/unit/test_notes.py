"""What is told of an experiment that is right, and may not do what people expect."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Never

import pytest
from typer.testing import CliRunner

from chaos.cli.commands import app
from chaos.errors import ClusterError
from chaos.experiment import load_experiment
from chaos.run import provision
from chaos_adapters.faults.network_flap import Flap
from chaos_adapters.faults.network_partition import Partition
from chaos_adapters.faults.process_pause import Pause

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").rglob("*.yaml"))
EXPERIMENT = """\
name: x
cluster: {broker: BROKER, nodes: 3}
faults:
  - {at: 5s, for: 10s, fault: process.kill, target: one}
  - {at: 20s, for: FOR, fault: network.partition, isolate: one, how: drop}
"""


@pytest.mark.parametrize(("fault", "silence_s"), [
    (Partition(isolate="one"), 9.0), (Partition(isolate="one", how="drop"), 9.0),
    (Partition(isolate="one", how="reset"), 0.0),
    (Partition(isolate="one", parted_from="peers"), 9.0),
    (Partition(isolate="one", parted_from="clients"), 0.0),
    (Partition(shape="halves", parted_from="clients"), 0.0),
    (Partition(shape="bridge", parted_from="clients"), 9.0),
    (Partition(groups=(("a", "clients"), ("b",))), 9.0),
    (Partition(groups=(("clients",), ("a", "b"))), 0.0), (Pause("one"), 9.0),
    (Flap("one", 3, 2.0, 1.0), 2.0), (Flap("one", 3, 2.0, 1.0, how="reset"), 0.0),
    (Flap("one", 3, 2.0, 1.0, parted_from="clients"), 0.0),
])  # fmt: skip
def test_a_fault_tells_for_how_long_nodes_hear_nothing_of_each_other(
    fault: Any, silence_s: float
) -> None:
    """Not where a closed connection tells them, nor where only clients are parted from nodes."""
    assert fault.silence_s(9.0) == silence_s


def _write(directory: Path, broker: str = "rabbitmq", lasting: str = "20s") -> Path:
    path = directory / "x.yaml"
    path.write_text(EXPERIMENT.replace("BROKER", broker).replace("FOR", lasting))
    return path


def _start_nothing(*_: object) -> Never:
    raise ClusterError("no cluster here")


def test_a_cut_that_may_pass_unnoticed_is_told_at_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `chaos validate`, for which it is right all the same, and at the start of a run."""
    path, told = _write(tmp_path), []
    ended = CliRunner().invoke(app, ["validate", str(path)])
    ok, note = ended.stdout.splitlines()
    assert (ended.exit_code, ok) == (0, f"{path}: ok")
    assert note.startswith(f"note: {path}:5:")
    assert "faults.1: is over after 20 s" in note
    monkeypatch.setattr(provision, "find_kept", lambda *_: None)
    monkeypatch.setattr(provision, "create", _start_nothing)
    run = provision.Provision(load_experiment(path), "docker", False, told.append)
    with pytest.raises(ClusterError):
        run.start(threading.Event())
    assert told == [note]


def test_nothing_is_told_of_a_cut_that_is_noticed(tmp_path: Path) -> None:
    """It lasts long enough, also to the end of the load, or nodes do not go by such a time."""
    assert not load_experiment(_write(tmp_path, lasting="80s")).notes()
    settled = EXPERIMENT.replace("BROKER", "rabbitmq").replace(" for: FOR,", "")
    (tmp_path / "y.yaml").write_text(f"{settled}phases: {{settle: 90s}}\n")
    assert not load_experiment(tmp_path / "y.yaml").notes()
    assert not load_experiment(_write(tmp_path, broker="kafka")).notes()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_does_what_people_expect(path: Path) -> None:
    """Each cut is as long as it takes to be noticed."""
    assert not load_experiment(path).notes()
