"""Calling `chaos` as a user does, and reading what a run left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]
RUN_WITHIN_S = 280


@dataclass(frozen=True)
class Ran:
    """One `chaos run` that ended."""

    code: int
    output: str
    directory: Path

    @property
    def verdict(self) -> dict[str, Any]:
        """verdict.json."""
        return json.loads((self.directory / "verdict.json").read_text())

    def figure(self, question: str, name: str) -> float:
        """One figure of one question."""
        answer = next(q for q in self.verdict["questions"] if q["name"] == question)
        return next(figure["value"] for figure in answer["figures"] if figure["name"] == name)

    def evidence(self, kind: str) -> set[tuple[int, int]]:
        """(producer, sequence) of every anomaly of a kind."""
        return {(row["producer"], row["sequence"]) for row in self._evidence(kind)}

    def places(self, kind: str) -> set[tuple[int, int]]:
        """(partition, offset) of every anomaly of a kind."""
        return {(row["partition"], row["offset"]) for row in self._evidence(kind)}

    def _evidence(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.directory / "evidence.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["kind"] == kind]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        lines = (self.directory / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


Run = Callable[..., Ran]


def chaos(*arguments: str, timeout_s: float = RUN_WITHIN_S) -> subprocess.CompletedProcess[str]:
    """Call `chaos` and wait for it."""
    return subprocess.run(
        [*CHAOS, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False,
        cwd=ROOT,
    )  # fmt: skip


def within(timeout_s: float, what: str, look: Callable[[], object]) -> None:
    """Look until it is there; a test fails when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.1)  # bounded by the deadline above


def docker(*arguments: str) -> str:
    """Standard output of the docker client."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout


Labelled = Mapping[str, set[str]]


def labelled() -> Labelled:
    """Containers, networks and volumes with our label, of whoever uses this machine."""
    listings = {"container": ("ps", "--all"), "network": ("network", "ls"),
                "volume": ("volume", "ls")}  # fmt: skip
    mark = ("--quiet", "--filter", "label=mqchaos.cluster")
    return {kind: set(docker(*listing, *mark).split()) for kind, listing in listings.items()}


def why_no_docker() -> str:
    """Why the Docker tests cannot run here; empty: they can."""
    try:
        subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no Docker daemon answers"
    for system in ("KAFKA", "RABBITMQ", "ROCKETMQ", "TOXIPROXY"):
        if (name := f"CHAOS_{system}_IMAGE") not in os.environ:
            return f"{name} is not set; scripts/docker-here builds and names images"
    return ""


needs_docker = pytest.mark.skipif(bool(why_no_docker()), reason=why_no_docker() or "there is one")
