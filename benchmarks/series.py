"""The same experiments many times in a row: a verdict that changes is a bug, ours or the broker's.

    python benchmarks/series.py FILE... [--times 10] [--runtime local] [--to series] [--until 02:30]

Each experiment runs on a kept cluster of its own, which is removed after its last run. Every run is
one line of `DIRECTORY/series.jsonl`, and what is on record there is not run again, so a series that
was cut off goes on where it was. Prints, for each experiment, how often which verdict came, the
longest time without acknowledgements, and the directory of every run that did not end as it should:
with FAIL below `unsafe/`, with PASS elsewhere. Exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaos.experiment import load_experiment

CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]
VERDICTS = {0: "PASS", 1: "FAIL", 3: "UNKNOWN"}


def run(file: Path, runtime: str, runs: Path) -> dict[str, Any]:
    """One run: its verdict (or "exit N"), its directory and its longest gap in seconds."""
    done = subprocess.run(
        [*CHAOS, "run", str(file), "--runtime", runtime, "--runs", str(runs), "--keep"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    before = {"experiment": str(file), "runtime": runtime}
    verdict = VERDICTS.get(done.returncode, f"exit {done.returncode}")
    found = sorted(runs.glob(f"*-{load_experiment(file).name}*"))
    if not found:
        return {**before, "verdict": verdict, "why": (done.stdout + done.stderr)[-2000:]}
    return {**before, "verdict": verdict, "run": str(found[-1]), "gap_s": gap(found[-1])}


def gap(directory: Path) -> float | None:
    """The longest time without an acknowledgement, as the verdict says; None: it does not."""
    try:
        document = json.loads((directory / "verdict.json").read_text())
    except (OSError, ValueError):
        return None
    figures = [f for q in document["questions"] if q["name"] == "failover" for f in q["figures"]]
    return next(
        (f["value"] for f in figures if f["name"].startswith("longest without acknowledgement")),
        None,
    )


def recorded(path: Path) -> list[dict[str, Any]]:
    """All that was run so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line an experiment and runtime, then what went wrong."""
    for file, runtime in sorted({(row["experiment"], row["runtime"]) for row in rows}):
        mine = [r for r in rows if (r["experiment"], r["runtime"]) == (file, runtime)]
        counts = Counter(row["verdict"] for row in mine)
        gaps = [row["gap_s"] for row in mine if row.get("gap_s") is not None]
        longest = f", longest gap {max(gaps):.1f} s" if gaps else ""
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        yield f"{file} ({runtime}): {told}{longest}"
        for row in mine:
            if not as_it_should(row):
                yield f"    {row['verdict']}: {row.get('run') or row['why']}"


def as_it_should(row: dict[str, Any]) -> bool:
    """Whether a run ended as the place of its experiment says."""
    wanted = "FAIL" if Path(row["experiment"]).parent.name == "unsafe" else "PASS"
    return bool(row["verdict"] == wanted)


def main() -> int:
    """Run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--runtime", default="local")
    parser.add_argument("--to", type=Path, default=Path("series"))
    parser.add_argument("--until", default="", help="start no run after this time of day, HH:MM")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    state = options.to / "series.jsonl"
    os.environ["CHAOS_HOME"] = str((options.to / "home").resolve())
    for file in options.files:
        done = sum((r["experiment"], r["runtime"]) == (str(file), options.runtime)
                   for r in recorded(state))  # fmt: skip
        for _ in range(done, options.times):
            if options.until and time.strftime("%H:%M") >= options.until:
                break
            row = run(file, options.runtime, options.to / "runs")
            with state.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{time.strftime('%H:%M:%S')} {file.stem}: {row['verdict']}", flush=True)
        subprocess.run([*CHAOS, "down"], check=False, stdout=subprocess.DEVNULL)
    rows = recorded(state)
    print("\n".join(table(rows)))
    return 0 if all(map(as_it_should, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
