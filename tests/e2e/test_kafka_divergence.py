"""A replica that is no copy: a bit of a follower's log is flipped on its disk, beside the tool."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.tools import CHAOS, ROOT, RUN_WITHIN_S, Ran, within

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

EXPERIMENT = """
name: flipped
cluster: {broker: kafka, nodes: 3}
stream: {partitions: 2, replicas: 3, settings: {min.insync.replicas: 2}}
load: {producers: {settings: {acks: all, enable.idempotence: true}}}
phases: {warm_up: 1s, settle: 15s}
faults: []
expect: {loss: {max: 0}}
"""
PARTITION = 1
_BASE = struct.Struct(">qi")
"""Of a record batch: the offset of its first record, and how many bytes follow."""
_HEADER = 61


@dataclass(frozen=True)
class Flip:
    """One bit of the batch that begins at `offset`, in the log of a follower."""

    node: str
    offset: int


def log(home: Path, node: str, topic: str) -> Path:
    """The first, and here only, segment that a node has of the partition."""
    name = f"{topic}-{PARTITION}/00000000000000000000.log"
    (path,) = (home / "clusters").glob(f"*/runtime/{node}/**/{name}")
    return path


def whole_batches(raw: bytes) -> list[tuple[int, int, int]]:
    """First offset, start and end in the file of each; decoded by hand."""
    found, start = [], 0
    while start + _BASE.size <= len(raw):
        offset, length = _BASE.unpack_from(raw, start)
        end = start + _BASE.size + length
        if end > len(raw):
            break
        found.append((offset, start, end))
        start = end
    return found


def flip(home: Path, ran: Ran) -> Flip:
    """Change one bit in the middle of what a follower stored; until then, all stored the same."""
    topic = ran.events("run")[0]["stream"]
    view = ran.events("view")[-1]
    node, *_ = (name for name in view["in_sync"][str(PARTITION)]
                if name != view["leaders"][str(PARTITION)])  # fmt: skip
    copies = [log(home, name, topic).read_bytes() for name in view["replicas"][str(PARTITION)]]
    shortest = min(map(len, copies))
    assert len(copies) == 3
    assert len({copy[:shortest] for copy in copies}) == 1
    batches = whole_batches(copies[0][:shortest])
    assert len(batches) > 2
    offset, start, end = batches[len(batches) // 2]
    place = (start + _HEADER + end) // 2
    with log(home, node, topic).open("r+b") as file:
        file.seek(place)
        file.write(bytes([copies[0][place] ^ 1]))
    return Flip(node, offset)


def test_one_flipped_bit_is_named_by_position_and_node(tmp_path: Path, chaos_home: str) -> None:
    """FAIL for divergence and for nothing else: the one position, and the one node of three whose
    content is another one. Nobody who asks the leader gets a wrong message."""
    (tmp_path / "flipped.yaml").write_text(EXPERIMENT)
    runs = tmp_path / "runs"
    tool = subprocess.Popen(
        [*CHAOS, "run", str(tmp_path / "flipped.yaml"), "--runtime", "local", "--runs", str(runs)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        within(150, "some messages to be stored", lambda: _acknowledged(runs) > 2000)
        (directory,) = runs.iterdir()
        flipped = flip(Path(chaos_home), Ran(-1, "", directory))
        output, _ = tool.communicate(timeout=RUN_WITHIN_S)
    finally:
        if tool.poll() is None:
            os.kill(tool.pid, signal.SIGINT)  # it takes its cluster down
            tool.communicate(timeout=60)
    ran = Ran(tool.returncode, output, directory)
    assert ran.code == 1, output
    verdicts = {answer["name"]: answer["verdict"] for answer in ran.verdict["questions"]}
    assert {name for name, verdict in verdicts.items() if verdict != "PASS"} == {"divergence"}
    (row,) = map(json.loads, (directory / "evidence.jsonl").read_text().splitlines())
    assert (row["kind"], row["partition"], row["offset"]) == (
        "differing", PARTITION, flipped.offset,
    )  # fmt: skip
    digests = {piece["node"]: piece["digest"] for piece in row["held"]}
    other = digests.pop(flipped.node)
    assert len(digests) == 2
    assert len(set(digests.values()) - {other}) == 1
    assert ran.figure("divergence", "differing") == 1
    assert ran.figure("divergence", "compared") == ran.verdict["records"]["stored"]


def _acknowledged(runs: Path) -> int:
    lines = [line for path in runs.glob("*/events.jsonl") for line in path.read_text().splitlines()]
    return max((event["ok"] for event in map(json.loads, lines) if event["kind"] == "rates"),
               default=0)  # fmt: skip
