"""A heal is only believed when the cluster serves again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chaos.clusters import home
from chaos.experiment import Experiment
from chaos.run import engine
from chaos.run.engine import Options, execute
from chaos.spi import Json, Verdict


def experiment() -> Experiment:
    """A short kill on the in-memory broker."""
    return Experiment.from_resolved({
        "name": "whole",
        "cluster": {"broker": "memory"},
        "load": {"producers": {"rate": "300/s"}},
        "phases": {"warm_up": "100ms", "settle": "1s", "drain": "5s"},
        "faults": [{"at": "3s", "for": "500ms", "fault": "process.kill", "target": "leader(0)"}],
    })  # fmt: skip


def test_a_node_that_does_not_come_back_for_good_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again at heal, it ends at once: the process was there, the broker never was."""
    monkeypatch.setattr(engine, "_WHOLE_WITHIN_S", 2.0)

    def spoil(event: Json) -> None:
        if event["kind"] == "fault" and event["what"] == "effect":
            for config in home().glob("clusters/*/runtime/memory-1/config/*"):
                config.write_text("spoiled")

    options = Options(runtime="local", runs=tmp_path, listeners=[spoil])
    result = execute(experiment(), options)
    assert result.verdict
    assert result.verdict.verdict is not Verdict.PASS
    assert result.exit_code in (1, 3, 4)
    assert any("memory-1" in error for error in result.errors)


def test_a_stop_while_the_cluster_starts_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching an image may take minutes: the stop takes away what is being started."""
    from chaos_adapters.runtimes.local import Local

    removed = threading.Event()
    options = Options(runtime="local", runs=tmp_path)

    def start(*arguments: object) -> None:
        options.stop.set()
        assert removed.wait(20), "nobody took away what is being started"

    monkeypatch.setattr(Local, "start", start)
    monkeypatch.setattr(Local, "remove", lambda *arguments: removed.set())
    assert execute(experiment(), options).exit_code == engine.INTERRUPTED


def test_faults_and_clients_that_left_no_record_are_missed(tmp_path: Path) -> None:
    """What the run expected and is not there makes the verdict UNKNOWN, whoever judges."""
    from chaos.judge import judge

    options = Options(runtime="local", runs=tmp_path)
    result = execute(experiment(), options)
    assert result.exit_code == 0, result.errors
    events = result.directory / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(line for line in lines if '"kind":"fault"' not in line))
    (result.directory / "history" / "reader-0.stored.arrow").unlink()
    document = judge(result.directory, experiment().verifiers, [])
    assert document.verdict is Verdict.UNKNOWN
    told = " ".join(document.preconditions)
    assert "1-process.kill" in told
    assert "Partition 0 was not read back" in told
