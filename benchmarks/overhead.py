"""Wall time of `chaos run experiments/broker-down.yaml` beyond its own schedule.

    python benchmarks/overhead.py [--runtime local] [--runs 3] [--kept]

Counts from calling `chaos` to its exit, less the schedule (warm-up, baseline, fault, settling), and
says where it went, by the run's own events. The goals are under 20 s on 2 cores with a warm cache,
and under 5 s on a kept cluster (`--kept`: one run before starts it).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos.data import experiments_dir
from chaos.experiment import load_experiment

FILE = experiments_dir() / "broker-down.yaml"
CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]


def run(runs: Path, runtime: str, kept: bool) -> float:
    """Seconds of one run. Raises CalledProcessError unless it passes."""
    keep = ["--keep"] if kept else []
    started = time.monotonic()
    subprocess.run(
        [*CHAOS, "run", str(FILE), "--runtime", runtime, "--runs", str(runs), *keep],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - started


def phases(directory: Path) -> str:
    """How long each phase took that is no part of the schedule."""
    lines = (directory / "events.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["kind"] == "phase"]
    took: dict[str, float] = {}
    for event, following in itertools.pairwise(events):
        seconds = (following["time_ns"] - event["time_ns"]) / 1e9
        took[event["phase"]] = took.get(event["phase"], 0.0) + seconds
    scheduled = ("warm-up", "baseline", "faults", "settle")
    return ", ".join(f"{name} {s:.1f}" for name, s in took.items() if name not in scheduled)


def main() -> None:
    """Run, subtract, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", default="local")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    experiment = load_experiment(FILE)
    schedule_s = experiment.phases.warm_up_s + experiment.load_end_s
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name) / "runs"
        os.environ["CHAOS_HOME"] = str(Path(name) / "home")
        try:
            if options.kept:
                run(runs, options.runtime, kept=True)
            beyond = []
            for number in range(options.runs):
                beyond.append(run(runs, options.runtime, options.kept) - schedule_s)
                last = max(runs.iterdir())
                print(
                    f"run {number + 1}: {beyond[-1]:.1f} s beyond {schedule_s:g} s: {phases(last)}"
                )
            print(f"median {statistics.median(beyond):.1f} s")
        finally:
            subprocess.run([*CHAOS, "down"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
