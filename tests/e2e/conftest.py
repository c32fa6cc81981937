"""Real brokers, on clusters that are kept between the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.tools import RUN_WITHIN_S, Labelled, Ran, Run, chaos, labelled, why_no_docker


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`chaos run EXPERIMENT ...` in a runs directory of the test's own."""

    def run_it(experiment: str, *options: str, within_s: float = RUN_WITHIN_S) -> Ran:
        runs, file = tmp_path / "runs", str(Path("experiments") / experiment)
        done = chaos("run", file, "--runs", str(runs), *options, timeout_s=within_s)
        directories = sorted(runs.iterdir()) if runs.is_dir() else []
        output = done.stdout + done.stderr
        assert directories, output
        return Ran(done.returncode, output, directories[-1])

    return run_it


@pytest.fixture(scope="session", autouse=True)
def others() -> Labelled:
    """What of others was there before the first test: a cluster that somebody keeps, or what a
    daemon that ended in the middle left."""
    return {} if why_no_docker() else labelled()


@pytest.fixture(scope="session", autouse=True)
def no_cluster_left(chaos_home: str) -> Iterator[None]:
    """Clusters are kept between tests, and gone after the last."""
    yield
    done = chaos("down")
    assert done.returncode == 0, done.stdout + done.stderr
    left = Path(chaos_home) / "clusters"
    assert not left.is_dir() or not list(left.iterdir())
