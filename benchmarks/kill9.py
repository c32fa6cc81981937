"""`kill -9` of the tool at random instants: everything is healed, and the record can be read.

    python benchmarks/kill9.py --place local --instants 5 --state kill9.jsonl
    python benchmarks/kill9.py --table --state kill9.jsonl

Each instant is a run of `chaos` on a kept Kafka cluster (places `local` and `docker`) or on the
in-memory broker (`memory`), with each fault that the place can do in turn, and others beside it.
At a random moment the victim is killed: the `tool`, the tool and its reaper at once (`both`), or
first the reaper and then the tool (`reaper+tool`). Then, with nothing of the tool's own but its
files,

- everything has to be healed within ten seconds by the reaper or, where that is dead or gives up,
  by `chaos heal`, which is then called; a reaper that is still at it is waited for, which `undone
  s` tells. And nothing may be left: `chaos.residue` says nothing, no process of the run lives, the
  containers, volumes and networks are those of before;
- the record has to be readable, and to hold all that the tool had told by its last `rates` event;
  `gap` is the time from the last record to the kill.

An instant is named by its place and number, which give its seed. What is in the state file is not
done again, so a series can be stopped and taken up at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil

from chaos import clusters
from chaos.errors import ChaosError
from chaos.experiment import load_experiment
from chaos.experiment.place import place_problems
from chaos.history.reader import streams
from chaos.registry import load, names
from chaos.residue import scan
from chaos.spi import Json, Momentary, Outcome, contested
from chaos.timing import clock_environment, now_ns
from chaos.undo import UndoLog

CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]
MARK = "MQCHAOS_KILL9"
HEALED_WITHIN_S, HEAL_WITHIN_S, GAP_NS = 10.0, 120.0, 250_000_000
VICTIMS = ("tool", "tool", "tool", "both", "reaper+tool")
EARLY, LOAD_S, LOAD_WITHIN_S = 0.15, 17.0, 120.0
"""The share of kills that counts from the start of the tool; the others count from that of the
load, as how long a start takes says how busy the machine is. About as long as a run takes then."""

Steps = dict[str, Json]

KAFKA: Steps = {
    "process.kill": {"target": "kafka-1"},
    "process.pause": {"target": "kafka-2"},
    "process.stop": {"target": "kafka-3"},
    "process.restart": {"target": "kafka-1"},
    "node.crash": {"target": "kafka-1"},
    "clock.skew": {"target": "kafka-2", "seconds": 600},
    "cpu.limit": {"target": "kafka-2", "cores": 0.05},
    "disk.corrupt": {"target": "kafka-3"},
    "disk.fill": {"target": "kafka-1"},
    "disk.power_loss": {"target": "kafka-2"},
    "disk.readonly": {"target": "kafka-3"},
    "disk.slow_sync": {"target": "kafka-2"},
    "disk.throttle": {"target": "kafka-1"},
    "memory.alarm": {"target": "kafka-2"},
    "memory.exhaust": {"target": "kafka-3"},
    "memory.squeeze": {"target": "kafka-1", "heap": "72MiB"},
    "network.bandwidth": {"target": "kafka-2", "bytes_per_s": "100kB"},
    "network.flap": {"target": "kafka-3", "times": 5, "down": "500ms", "up": "500ms"},
    "network.latency": {"target": "kafka-1", "delay": "100ms"},
    "network.loss": {"target": "kafka-2", "share": 0.1},
    "network.partition": {"isolate": "kafka-3"},
    "network.reset": {"target": "kafka-1", "times": 3},
    "client.crash": {"target": "producer-0"},
    "client.pause": {"target": "consumer-0"},
    "client.slow": {"by": "20ms"},
    "client.zombie": {"target": "producer-1"},
    "message.poison": {"kind": "malformed", "every": 50},
    "broker.elect": {},
    "broker.reassign": {"from": "kafka-2"},
}
"""How each fault is used, short enough that it overlaps with others. Every registered one is
there, else `steps_of` says which is not."""


def steps_of(place: str) -> Steps:
    """Every registered fault that can be tried at a place."""
    if lacking := set(names("faults")) - set(KAFKA):
        raise SystemExit(f"KAFKA does not say how to use {', '.join(sorted(lacking))}")
    runtime = "docker" if place == "docker" else "local"
    found = {}
    for name, fields in sorted(KAFKA.items()):
        if place == "memory":
            fields = json.loads(json.dumps(fields).replace("kafka-3", "kafka-1"))
            fields = json.loads(json.dumps(fields).replace("kafka", "memory"))
        step = timed(name, fields, 3.0, 2.0)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(experiment(place, [step]), file)
            file.flush()
            try:
                it = load_experiment(Path(file.name))
            except ChaosError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            if not place_problems(it, runtime, load("runtimes", runtime)):
                found[name] = fields
    return found


def timed(name: str, fields: Json, at_s: float, for_s: float) -> Json:
    """One step of a schedule."""
    when = {"at": f"{at_s:.2f}s"}
    if not issubclass(load("faults", name), Momentary):
        when["for"] = f"{for_s:.2f}s"
    return {**when, "fault": name, **fields}


def experiment(place: str, steps: Sequence[Json]) -> Json:
    """A short run with these faults."""
    cluster: Json = {"broker": "kafka", "nodes": 3}
    stream: Json = {"partitions": 3, "replicas": 2, "settings": {"min.insync.replicas": 1}}
    if place == "memory":
        cluster, stream = {"broker": "memory", "nodes": 2}, {"partitions": 2}
    if place == "docker":
        cluster |= {"disk": {"size": "512MiB", "filesystem": "ext4"}, "clock": "own"}
    return {
        "name": "kill9",
        "cluster": cluster,
        "stream": stream,
        "load": {"producers": {"count": 2, "rate": "400/s"}, "consumers": {"count": 2}},
        "phases": {"warm_up": "1s", "settle": "2s", "drain": "10s"},
        "faults": list(steps),
    }


def drawn(steps: Steps, number: int, random: Random) -> list[Json]:
    """One fault after the other has its turn; with it, as many as do not fight with any chosen one,
    at random times, so that they overlap."""
    first = sorted(steps)[number % len(steps)]
    chosen = [first]
    for name in random.sample(sorted(steps), len(steps)):
        claims = load("faults", name).claims
        if not any(contested(claims, load("faults", other).claims) for other in chosen):
            chosen.append(name)
    return [
        timed(name, steps[name], random.uniform(3.0, 6.0), random.uniform(2.0, 6.0))
        for name in chosen
    ]


# ----------------------------------------------------------------------------------- what is seen


def ours(instant: str) -> dict[int, psutil.Process]:
    """The living processes that came of this run, its tool included."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            dead = process.status() == psutil.STATUS_ZOMBIE
            if not dead and process.environ().get(MARK) == instant:
                found[process.pid] = process
    return found


def line_of(process: psutil.Process) -> str:
    """Its command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def things() -> Counter[str]:
    """The containers, volumes and networks of the clusters of this CHAOS_HOME, by the docker
    client, with what containers do; agents aside, which stay from their first use."""
    found: Counter[str] = Counter()
    for directory in clusters.directories():
        label = ["--filter", f"label=mqchaos.cluster={directory.name}", "--format"]
        for listing in (
            ["ps", "--all", *label, "{{.Names}} {{.State}}"],
            ["volume", "ls", *label, "{{.Name}}"], ["network", "ls", *label, "{{.Name}}"],
        ):  # fmt: skip
            done = subprocess.run(["docker", *listing], capture_output=True, text=True, check=True)
            found.update(line for line in done.stdout.splitlines() if "-agent-" not in line)
    return found


def pending() -> list[str]:
    """What the undo logs still have to undo."""
    return [
        entry.fault
        for directory in clusters.directories()
        for entry in UndoLog(directory / "undo.jsonl").pending()
    ]


def residue() -> list[str]:
    """What `chaos doctor --residue` would tell of this CHAOS_HOME, and of dead tools' workers."""
    known = {"load", *(directory.name for directory in clusters.directories())}
    return [f"{each.cluster}: {what}" for each in scan() if each.cluster in known
            for what in each.things]  # fmt: skip


def until(timeout_s: float, look: Callable[[], object]) -> float | None:
    """Seconds until it was so; None: it was not in time."""
    started = time.monotonic()
    while time.monotonic() < started + timeout_s:
        if look():
            return time.monotonic() - started
        time.sleep(0.05)
    return None


def events(directory: Path) -> list[str]:
    """The events of the run so far."""
    return [path.read_text() for path in directory.glob("runs/*/events.jsonl")]


def record_of(run: Path, killed_ns: int) -> Json:
    """Whether the history can be read, whether it has what the tool told, and its last record."""
    last_ns, ok, torn = 0, 0, 0
    for stream in streams(run):
        for batch in stream.batches():
            column = {"sends": "done_ns", "deliveries": "received_ns"}.get(batch.table)
            if column and len(batch):
                last_ns = max(last_ns, int(batch.columns[column].max()))
            if batch.table == "sends":
                ok += int((batch.columns["outcome"] == int(Outcome.OK)).sum())
        torn += stream.torn
    told, phase = 0, "start"
    for line in (run / "events.jsonl").read_text().splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            told = event["ok"] if event["kind"] == "rates" else told
            phase = event["phase"] if event["kind"] == "phase" else phase
    gap_ns = killed_ns - last_ns if last_ns else None
    return {
        "phase": phase, "torn": torn, "acknowledged": ok, "told": told,
        "gap_ms": gap_ns and round(gap_ns / 1e6),
    }  # fmt: skip


# ------------------------------------------------------------------------------------ one instant


class Instant:
    """One run and one kill."""

    def __init__(self, place: str, number: int, seed: str, steps: Steps) -> None:
        self.place, self.number, self.name = place, number, f"{place}-{number}"
        self.random = Random(f"{seed} {self.name}")
        self.steps = drawn(steps, number, self.random)
        self.victim = self.random.choice(VICTIMS)
        self.early = self.random.random() < EARLY
        self.delay_s = self.random.uniform(0.0, LOAD_S)

    def played(self, work: Path) -> Json:
        """Run, kill, look; what was seen."""
        directory = work / self.name
        shutil.rmtree(directory, ignore_errors=True)  # of an instant that was cut off
        directory.mkdir(parents=True)
        file = directory / "kill9.yaml"
        file.write_text(json.dumps(experiment(self.place, self.steps)))
        runtime = "docker" if self.place == "docker" else "local"
        keep = [] if self.place == "memory" else ["--keep"]
        self._have_cluster(file, runtime)
        before = things() if self.place == "docker" else Counter[str]()
        with (directory / "output").open("wb") as output:
            tool = subprocess.Popen(
                [*CHAOS, "run", str(file), "--runtime", runtime, "--runs", str(directory / "runs"),
                 *keep],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **clock_environment(), MARK: self.name},
            )  # fmt: skip
        if not self.early:
            begun = '"phase":"warm-up"'
            until(LOAD_WITHIN_S, lambda: any(begun in text for text in events(directory)))
        time.sleep(self.delay_s)
        over = tool.poll()
        killed_ns = self._kill(tool)
        seen: Json = {
            "place": self.place, "number": self.number, "victim": self.victim, "early": self.early,
            "delay_s": round(self.delay_s, 2), "faults": [step["fault"] for step in self.steps],
            "over": over, "open": pending(),
        }  # fmt: skip
        seen |= self._healed(before)
        seen |= self._recorded(directory, killed_ns)
        seen["right"] = (
            seen["undone_s"] is not None and not seen["residue"] and not seen.get("wrong")
        )
        return seen

    def _have_cluster(self, file: Path, runtime: str) -> None:
        """One that is kept, so that a run does not begin with minutes of waiting for it."""
        if self.place == "memory" or any(
            (state := clusters.read_state(each))
            and state.keep
            and state.ready
            and state.runtime == runtime
            for each in clusters.directories()
        ):
            return
        up = [*CHAOS, "up", str(file), "--runtime", runtime]
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL)

    def _reapers(self) -> list[psutil.Process]:
        return [p for p in ours(self.name).values() if "chaos.reaper" in line_of(p)]

    def _kill(self, tool: subprocess.Popen[bytes]) -> int:
        reapers = self._reapers()
        if self.victim == "reaper+tool":
            for reaper in reapers:
                reaper.kill()
            time.sleep(self.random.uniform(0.0, 2.0))
        killed_ns = now_ns()
        tool.kill()  # one that is over already is left alone
        if self.victim == "both":
            for reaper in reapers:
                with suppress(psutil.NoSuchProcess):
                    reaper.kill()
        tool.wait(10)
        return killed_ns

    def _healed(self, before: Counter[str]) -> Json:
        """How long it took until every fault was undone, and until nothing was left at all."""

        def left() -> list[str]:
            kept = {pid: line_of(p) for pid, p in ours(self.name).items()}
            broker = ("kafka.Kafka", "chaos_adapters.brokers.memory.server")
            stray = [
                f"process {pid}: {line[:100]}" for pid, line in kept.items()
                if line and not (self.place != "memory" and any(b in line for b in broker))
            ]  # fmt: skip
            missing = []
            if self.place == "docker" and (now := things()) != before:
                missing = [f"{dict(before)} became {dict(now)}"]
            return stray + missing + residue()

        started = time.monotonic()
        undone_s = until(HEALED_WITHIN_S, lambda: not pending())
        clean = until(HEALED_WITHIN_S - (time.monotonic() - started), lambda: not left())
        by = "reaper" if self.victim != "both" else "nobody"
        late = until(HEAL_WITHIN_S, lambda: not self._reapers()) if self._reapers() else 0.0
        if late:
            undone_s = undone_s or (None if pending() else time.monotonic() - started)
            clean = None if left() else late
        if undone_s is None or clean is None:
            by, at = "chaos heal", time.monotonic()
            healed = subprocess.run([*CHAOS, "heal"], capture_output=True, text=True, check=False)
            undone_s = time.monotonic() - at if healed.returncode == 0 and not pending() else None
            # A cluster that was not kept is removed by the next run's sweep, or by the doctor.
            if left():
                by = "chaos doctor"
                doctor = ["doctor", "--residue", "--remove", "--yes"]
                subprocess.run([*CHAOS, *doctor], capture_output=True, check=False)
        clean_s = until(HEAL_WITHIN_S, lambda: not left())
        return {
            "by": by,
            "undone_s": undone_s and round(undone_s, 2),
            "clean_s": None if clean_s is None else round(time.monotonic() - started, 2),
            "residue": [] if clean_s is not None else left(),
        }

    def _recorded(self, directory: Path, killed_ns: int) -> Json:
        runs = sorted((directory / "runs").glob("*/events.jsonl"))
        if not runs:
            return {"phase": "before the run"}
        run = runs[0].parent
        verified = subprocess.run(
            [*CHAOS, "verify", str(run)], capture_output=True, text=True, check=False
        )
        wrong = []
        try:
            seen = record_of(run, killed_ns)
        except ChaosError as error:
            return {"phase": "?", "wrong": [f"history: {error}"]}
        if seen["acknowledged"] < seen["told"]:
            wrong.append("fewer acknowledged sends on record than were told")
        # A run that was killed before its experiment was on record is no run.
        if verified.returncode not in (0, 1, 3) and seen["phase"] != "start":
            wrong.append(f"verify: {verified.returncode} {verified.stderr[-300:]}")
        return {**seen, "verdict": verified.returncode, "wrong": wrong}


# ------------------------------------------------------------------------------------- the series


def done(state: Path) -> list[Json]:
    """What was seen so far."""
    try:
        return [json.loads(line) for line in state.read_text().splitlines()]
    except FileNotFoundError:
        return []


def table(seen: Sequence[Json]) -> Iterator[str]:
    """For people, in Markdown."""
    yield "| place | victim | instants | right | reaper | heal | doctor | undone s | all clean s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for place in sorted({each["place"] for each in seen}):
        for victim in sorted(set(VICTIMS)):
            of = [e for e in seen if (e["place"], e["victim"]) == (place, victim)]
            if not of:
                continue
            by = Counter(each["by"] for each in of)
            cells = [
                place, victim, len(of), sum(each["right"] for each in of),
                by["reaper"] + by["nobody"], by["chaos heal"], by["chaos doctor"],
                spread(each["undone_s"] for each in of if each["open"]),
                spread(each["clean_s"] for each in of),
            ]  # fmt: skip
            yield f"| {' | '.join(map(str, cells))} |"
    open_at = Counter(name for each in seen for name in each["open"])
    in_run = Counter(name for each in seen for name in each["faults"])
    yield ""
    yield "| fault | runs with it | open at the kill |"
    yield "| --- | --- | --- |"
    for name in names("faults"):
        yield f"| {name} | {in_run[name]} | {open_at[name]} |"
    gaps = [each["gap_ms"] for each in seen if each.get("gap_ms") is not None and not each["open"]
            and each["phase"] in ("warm-up", "baseline", "settle")]  # fmt: skip
    yield ""
    yield f"gap to the last record, undisturbed load: {spread(gaps)} ms in {len(gaps)} runs"
    for each in seen:
        if not each["right"]:
            yield json.dumps(each)


def spread(values: Any) -> str:  # noqa: ANN401 - any numbers
    """Median and maximum."""
    found = sorted(value for value in values if value is not None)
    return f"{found[len(found) // 2]:g} / {found[-1]:g}" if found else "-"


def main() -> int:
    """Do some instants, or tell of those that were done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--place", choices=("local", "docker", "memory"), default="local")
    parser.add_argument("--instants", type=int, default=5, help="how many to do now")
    parser.add_argument("--state", type=Path, default=Path("kill9.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("kill9.runs"))
    parser.add_argument("--within-s", type=float, default=3600.0, help="none begins after that")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        steps = steps_of(options.place)
        numbers = {each["number"] for each in done(options.state) if each["place"] == options.place}
        first = max(numbers, default=0) + 1
        deadline = time.monotonic() + options.within_s
        for number in range(first, first + options.instants):
            if time.monotonic() > deadline:
                break
            seen = Instant(options.place, number, options.seed, steps).played(options.work)
            with options.state.open("a") as state:
                state.write(json.dumps(seen) + "\n")
            print(json.dumps(seen), flush=True)
    print("\n".join(table(done(options.state))))
    return int(any(not each["right"] for each in done(options.state)))


if __name__ == "__main__":
    sys.exit(main())
