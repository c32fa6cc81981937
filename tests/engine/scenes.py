"""Whole runs of the tool in processes of their own, and all that can be seen of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from drive import Plan

from chaos import verdict
from chaos.facts import FaultStory, Story, read_story
from chaos.history.events import read_events
from chaos.history.reader import streams
from chaos.judge import judge
from chaos.run.directory import read_experiment
from chaos.spi import Json, Verdict
from chaos.verdict import Answer, Document, Evidence
from chaos_adapters.brokers.memory.wire import Frames, split

HERE = Path(__file__).parent
_OUTSIDE = dict(os.environ)
"""As it was at first: scenes are played in threads, while pytest changes what it keeps there."""
MARK = "MQCHAOS_TEST"
"""In the environment of the tool, and so of every process that comes of it."""

ENDS_WITHIN_S = 120.0
GONE_WITHIN_S = 20.0


def experiment(*faults: Json, **sections: Any) -> Json:
    """A short experiment on the memory broker; `sections` are merged into it, one level deep."""
    whole: Json = {
        "name": "test",
        "runtime": "local",
        # A machine under load must not make a node look dead.
        "cluster": {"broker": "memory", "nodes": 2, "session_timeout": "5s"},
        "stream": {"partitions": 2},
        "load": {"producers": {"rate": "200/s"}},
        "phases": {"warm_up": "100ms", "settle": "300ms", "drain": "10s"},
        "faults": list(faults),
    }
    for name, section in sections.items():
        whole[name] = {**whole[name], **section} if name in whole else section
    return whole


def step(fault: str, target: str = "memory-1", at_s: float = 3.0, for_s: float = 0.5) -> Json:
    """One fault of an experiment."""
    return {"at": f"{at_s}s", "for": f"{for_s}s", "fault": fault, "target": target}


@dataclass(frozen=True)
class Scene:
    """One run: an experiment, what happens during it (`drive.Plan`), options of `chaos run`; or
    another `command`."""

    name: str
    experiment: Json = field(default_factory=experiment)
    plan: Plan = field(default_factory=Plan)
    options: tuple[str, ...] = ()
    home: str = "home"
    runs: str = "runs"
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def play(self, directory: Path) -> Seen:
        """Run it to its end, and look until all that came of it is gone."""
        with self.begun(directory) as begun:
            return begun.ended()

    def begun(self, directory: Path) -> Playing:
        """Begin it."""
        return Playing(self, directory)


class Playing:
    """A run that goes on; its processes are killed at the end of the `with`, if any are left."""

    def __init__(self, scene: Scene, directory: Path) -> None:
        self.scene, self.directory = scene, directory
        file = directory / f"{scene.name}.yaml"
        file.write_text(json.dumps(scene.experiment))
        self.home, self.runs = directory / scene.home, directory / scene.runs
        self._before = set(self.runs.glob("*/"))
        self._output = directory / f"{scene.name}.output"
        run = ("run", str(file), "--runs", str(self.runs), *scene.options)
        drive = [sys.executable, str(HERE / "drive.py"), scene.plan.text()]
        with self._output.open("wb") as output:
            self.tool = subprocess.Popen(
                [*drive, *(scene.command or run)],
                cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self._environment(), start_new_session=True,
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        paths = [str(HERE), os.environ["ENGINE_PLUGINS"], os.environ.get("PYTHONPATH", "")]
        return {
            **_OUTSIDE,
            "CHAOS_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            MARK: self.scene.name + str(self.directory),
        }

    def __enter__(self) -> Playing:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            process.kill()
        self.tool.kill()
        self.tool.wait(10)

    def processes(self) -> list[psutil.Process]:
        """The tool and all that came of it and lives."""
        return marked(self.scene.name + str(self.directory))

    def _lines(self) -> list[str]:
        lines = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                lines.append(" ".join(process.cmdline()))
        return lines

    def ended(self) -> Seen:
        """Wait for its end and, for a while, for the end of all that came of it."""
        status = self.tool.wait(ENDS_WITHIN_S)
        started = time.monotonic()
        keeps = "--keep" in self.scene.options
        while not (clean := self._clean(keeps)) and time.monotonic() < started + GONE_WITHIN_S:
            time.sleep(0.05)
        gone_after_s = time.monotonic() - started
        made = sorted(set(self.runs.glob("*/")) - self._before)
        note = self.directory / self.scene.plan.note
        return Seen(
            status=status,
            output=self._output.read_text(),
            run=made[-1] if made else None,
            home=self.home,
            moment_ns=int(note.read_text()) if note.exists() else None,
            gone_after_s=gone_after_s if clean else None,
            left=self._lines(),
        )

    def _clean(self, keeps: bool) -> bool:
        if keeps:
            # What stays is the cluster: its nodes and nothing else.
            return all("memory.server" in line for line in self._lines())
        return not self.processes() and not clusters(self.home)


@dataclass(frozen=True)
class Seen:
    """What there was to see. `gone_after_s` is how long after the end of the tool everything that
    came of it was gone (None: it never was, see `left`)."""

    status: int
    output: str
    run: Path | None
    home: Path
    moment_ns: int | None
    gone_after_s: float | None
    left: Sequence[str]

    @property
    def directory(self) -> Path:
        """The run's directory, which must be there."""
        assert self.run, self.output
        return self.run

    @property
    def events(self) -> list[Json]:
        """All events."""
        return list(read_events(self.directory / "events.jsonl"))

    @property
    def story(self) -> Story:
        """The same, told."""
        return read_story(self.directory)

    @property
    def document(self) -> Document:
        """The verdict that the tool wrote."""
        return verdict.read(self.directory)

    @property
    def evidence(self) -> list[Evidence]:
        """All of it."""
        lines = (self.directory / verdict.EVIDENCE).read_text().splitlines()
        return [Evidence.model_validate_json(line) for line in lines]

    def rejudged(self) -> Document:
        """The verdict from the record alone, as `chaos verify` gives it."""
        experiment = read_experiment(self.directory)
        return judge(self.directory, experiment.verifiers, ())

    def rows(self, table: str) -> list[Json]:
        """Every record of a table, each with its producer."""
        return [
            {
                "producer": batch.producer,
                **{name: column[index].item() for name, column in batch.columns.items()},
            }
            for stream in streams(self.directory)
            if stream.table == table
            for batch in stream.batches()
            for index in range(len(batch))
        ]

    def phases(self) -> list[str]:
        """The phases in their order."""
        return [event["phase"] for event in self.events if event["kind"] == "phase"]


def faults(seen: Seen) -> list[FaultStory]:
    """The faults of a run, as its events tell them."""
    return list(seen.story.faults.values())


def is_unknown(seen: Seen, why: str) -> None:
    """Neither PASS nor FAIL, for this reason, and everything is healed and gone."""
    assert seen.status == 3, seen.output
    assert seen.document.verdict is Verdict.UNKNOWN
    assert any(why in reason for reason in seen.document.preconditions), seen.document.reasons
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.healed


def answer(document: Document, name: str) -> Answer:
    """The answer to one question."""
    return next(each for each in document.questions if each.name == name)


def figure(document: Document, question: str, name: str) -> float | None:
    """One figure of one answer."""
    return next(f.value for f in answer(document, question).figures if f.name == name)


def clusters(home: Path) -> list[Path]:
    """The directories of all clusters."""
    return sorted((home / "clusters").glob("*"))


def marked(mark: str) -> list[psutil.Process]:
    """All living processes with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def journals(home: Path) -> dict[int, list[bytes]]:
    """What the nodes of the one kept cluster have stored, by partition, read from their disks."""
    found: dict[int, list[bytes]] = {}
    for journal in home.glob("clusters/*/runtime/*/data/journal"):
        for head, blob in Frames().feed(journal.read_bytes()):
            if head["op"] == "append":
                found.setdefault(head["partition"], []).extend(split(blob, head["lengths"]))
    return found


def nodes(home: Path) -> Iterator[psutil.Process]:
    """The living processes of all nodes on record below a CHAOS_HOME, in the order of names."""
    for file in sorted(home.glob("clusters/*/runtime/*/process.json")):
        try:
            process = psutil.Process(json.loads(file.read_text())["pid"])
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, KeyError):
            continue


def streams_of(home: Path) -> set[str]:
    """The names of all streams in the journals of all nodes."""
    return {
        head["stream"]
        for journal in home.glob("clusters/*/runtime/*/data/journal")
        for head, _ in Frames().feed(journal.read_bytes())
        if "stream" in head
    }
