"""What `chaos init` writes can be run, as the first thing that a new user does."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.cli import main

SHORT = [
    "load.producers.rate=200/s", "phases.warm_up=100ms", "phases.settle=1s", "faults.0.at=3s",
    "faults.0.for=500ms", "cluster.session_timeout=5s",
]  # fmt: skip


def test_it_runs_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the memory broker, in less time than it has by default."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "first.yaml", "--broker", "memory"]) == 0
    overrides = [word for override in SHORT for word in ("--set", override)]
    assert main(["run", "first.yaml", "--runtime", "local", *overrides]) == 0
    assert "PASS first" in capsys.readouterr().out
    (run,) = Path("runs").iterdir()
    assert main(["verify", str(run)]) == 0
