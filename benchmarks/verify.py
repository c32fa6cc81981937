"""How fast `chaos verify` judges a run of 10 million messages, and in how much memory.

    python benchmarks/verify.py [MESSAGES]

Writes a history of so many sends, deliveries and stored rows with planted anomalies (kept in the
temporary directory for the next time), judges it in a process of its own and checks that exactly
the planted ones are named. Beside it, in the same run and also in a process of its own, stands the
plain reading of the same files, column by column: what any tool has to do at least.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaos.history.events import EventLog
from chaos.history.schema import ENDS, FINAL, RESERVED
from chaos.history.writer import Writer, stream_path
from chaos.spi import Outcome
from chaos.verdict import Document, read

PRODUCERS, PARTITIONS, CONSUMERS = 4, 12, 2
RATE = 50_000
"""Messages a second, of all producers."""
ROWS = 10_000
"""In a batch; a worker writes about so many at this rate."""
PIECE = 50
"""Messages in a piece of what replicas hold, as Kafka batches some at this rate."""
NODES = ("kafka-1", "kafka-2", "kafka-3")
PLANTED = 10
"""Messages of each kind of anomaly, in producer 0 unless said otherwise."""
ORIGIN_NS = 1_700_000_000_000_000_000
OUTAGE_S = 3.0
"""Partition 0 acknowledges nothing for so long, from half of the run on."""

Numbers = NDArray[np.int64]


def plant(each: int) -> dict[str, Numbers]:
    """Which messages of producer 0 are wrong, by kind; all different, all before the outage."""
    kinds = (
        "lost", "skipped", "stored twice", "delivered twice", "refused", "damaged", "out of order",
    )  # fmt: skip
    spread = np.linspace(each // 100, each // 3, PLANTED * len(kinds)).astype(np.int64)
    return {kind: spread[index :: len(kinds)] for index, kind in enumerate(kinds)}


def generate(run: Path, messages: int) -> None:
    """Write the history."""
    each = messages // PRODUCERS
    seconds = messages / RATE
    log = EventLog(run / "events.jsonl")
    half_ns = ORIGIN_NS + int(seconds / 2 * 1e9)
    log.add("run", time_ns=ORIGIN_NS, run="1", name="benchmark")
    log.add("load", time_ns=ORIGIN_NS, what="started")
    steps = {"planned": -1.0, "attempt": 0.0, "injected": 0.1, "effect": 0.2, "heal": 4, "gone": 5}
    for what, after_s in steps.items():
        time_ns = half_ns + int(after_s * 1e9)
        log.add("fault", time_ns=time_ns, id="1", fault="none", nodes=["kafka-1"], what=what)
    due = {str(number): each for number in range(PRODUCERS)}
    end_ns = ORIGIN_NS + int(seconds * 1e9)
    log.add("load", time_ns=end_ns, what="ended", due=due)
    log.close()
    for producer in range(PRODUCERS):
        _write_sends(run, producer, each, half_ns)
    for reader in range(CONSUMERS):
        _write_copies(run, f"consumer-{reader}", "deliveries", each, reader)
    _write_copies(run, "reader-0", "stored", each, None)
    for node in NODES:
        _write_replicas(run, node, each)


def _due_ns(producer: int, sequence: Numbers) -> Numbers:
    return ORIGIN_NS + ((sequence * PRODUCERS + producer) * (1_000_000_000 // RATE)).astype(
        np.int64
    )


def _offset(producer: int, sequence: Numbers) -> Numbers:
    """Producers take turns in a partition."""
    return sequence // PARTITIONS * PRODUCERS + producer


def _end(each: int) -> int:
    """Where each partition ends; second copies lie in front of it."""
    return (each // PARTITIONS + 1) * PRODUCERS + PLANTED


def _swapped(each: int, producer: Numbers | int, sequence: Numbers) -> Numbers:
    """Sequences as they lie in their partition: the planted ones change places with the next."""
    late = plant(each)["out of order"]
    steps = np.isin(sequence, late).astype(np.int64) - np.isin(sequence - PARTITIONS, late)
    return sequence + np.where(np.equal(producer, 0), steps * PARTITIONS, 0)


def _write_sends(run: Path, producer: int, each: int, outage_ns: int) -> None:
    writer = Writer(stream_path(run, f"producer-{producer}", "sends"), "sends")
    writer.write(metadata={RESERVED: b"%d" % each})
    refused = plant(each)["refused"] if producer == 0 else np.empty(0, np.int64)
    rng = np.random.default_rng(producer)
    for start in range(0, each, ROWS):
        sequence = np.arange(start, min(start + ROWS, each))
        # Acknowledgements overtake each other a little, as those of several brokers do.
        sequence = sequence[
            np.argsort(np.arange(len(sequence)) + rng.integers(0, 50, len(sequence)))
        ]
        partition = sequence % PARTITIONS
        due_ns = _due_ns(producer, sequence)
        done_ns = np.maximum.accumulate(due_ns) + 2_000_000
        out = (partition == 0) & (done_ns >= outage_ns)
        done_ns = np.where(out, np.maximum(done_ns, outage_ns + int(OUTAGE_S * 1e9)), done_ns)
        outcome = np.where(np.isin(sequence, refused), int(Outcome.REFUSED), int(Outcome.OK))
        writer.write([
            sequence, sequence % 1000, partition,
            _offset(producer, _swapped(each, producer, sequence)), due_ns,
            due_ns + 1000, done_ns, outcome,
        ])  # fmt: skip
    writer.write(metadata={RESERVED: b"%d" % each, FINAL: b"1"})
    writer.close()


def _write_copies(run: Path, client: str, table: str, each: int, reader: int | None) -> None:
    """All copies in the order of sequence numbers; a consumer sees every second partition."""
    planted = plant(each)
    missing = planted["lost"]
    again = planted["delivered twice"][: PLANTED * (table == "deliveries")]
    if table == "deliveries":
        missing = np.concatenate([missing, planted["skipped"]])
    writer = Writer(stream_path(run, client, table), table)
    for start in range(0, each, ROWS // PRODUCERS):
        block = np.arange(start, min(start + ROWS // PRODUCERS, each))
        block = np.sort(np.concatenate([block, again[(again >= start) & (again <= block[-1])]]))
        sequence = np.repeat(block, PRODUCERS)
        producer = np.tile(np.arange(PRODUCERS), len(block))
        repeated = np.repeat(np.diff(block, prepend=-1) == 0, PRODUCERS)
        first = producer == 0
        keep = ~(first & np.isin(sequence, missing)) & ~(repeated & ~first)
        if reader is not None:
            keep &= sequence % PARTITIONS % CONSUMERS == reader
        sequence, producer, repeated = sequence[keep], producer[keep], repeated[keep]
        offset = _offset(producer, _swapped(each, producer, sequence))
        order = np.argsort(offset, kind="stable")
        damaged = (producer == 0) & np.isin(sequence, planted["damaged"])
        _write_rows(writer, *(some[order] for some in (producer, sequence, offset, ~damaged)))
    # The second copies lie behind everything else.
    twice = planted["stored twice"]
    behind = _end(each) - len(twice) + np.arange(len(twice))
    if reader is not None:
        mine = twice % PARTITIONS % CONSUMERS == reader
        twice, behind = twice[mine], behind[mine]
    _write_rows(writer, 0 * twice, twice, behind, twice >= 0)
    ends = [[number, 0, _end(each), _end(each)] for number in range(PARTITIONS)]
    more = {ENDS: json.dumps(ends).encode()} if table == "stored" else {}
    writer.write(metadata={FINAL: b"1", **more})
    writer.close()


def _write_replicas(run: Path, node: str, each: int) -> None:
    """What one node holds, in pieces of PIECE messages; the same on all of them."""
    writer = Writer(stream_path(run, node, "replicas"), "replicas")
    for partition in range(PARTITIONS):
        first = np.arange(0, _end(each), PIECE)
        nobody = np.full(len(first), -1)
        last = np.append(first[1:], _end(each)) - 1
        digest = first * 2_654_435_761 % 2**31
        writer.write([np.full(len(first), partition), first, last, digest, 0 * first, nobody,
                      nobody])  # fmt: skip
    ends = [[number, 0, _end(each), _end(each)] for number in range(PARTITIONS)]
    writer.write(metadata={FINAL: b"1", ENDS: json.dumps(ends).encode()})
    writer.close()


def _write_rows(
    writer: Writer, producer: Numbers, sequence: Numbers, offset: Numbers, intact: Numbers
) -> None:
    due_ns = _due_ns(producer, sequence)
    received_ns = np.maximum.accumulate(due_ns) + 5_000_000
    writer.write([
        producer, sequence, sequence % PARTITIONS, offset, due_ns, received_ns,
        np.zeros(len(sequence), np.bool_), intact, np.zeros(len(sequence), np.int8), received_ns,
    ])  # fmt: skip


_JUDGE = """
import sys
from pathlib import Path
from chaos.judge import judge
from chaos_verifiers.availability import Availability
from chaos_verifiers.divergence import Divergence
from chaos_verifiers.duplication import Duplication
from chaos_verifiers.failover import Failover
from chaos_verifiers.handling import PoisonHandling
from chaos_verifiers.loss import Loss
from chaos_verifiers.ordering import Ordering
from chaos_verifiers.phantoms import Phantoms
from chaos_verifiers.recovery import Recovery
verifiers = {
    "loss": Loss(), "duplication": Duplication(), "phantoms": Phantoms(),
    "failover": Failover(), "availability": Availability(),
    "ordering": Ordering(), "recovery": Recovery(), "divergence": Divergence(),
    "handling": PoisonHandling(),
}
judge(Path(sys.argv[1]), verifiers, [])
"""

_READ = """
import sys
from pathlib import Path
import pyarrow as pa
for path in sorted((Path(sys.argv[1]) / "history").iterdir()):
    with pa.OSFile(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            for column in batch.columns:
                column.to_numpy(zero_copy_only=False).max(initial=0)
"""


def measure(program: str, run: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a Python program that is given the run, its own start included."""
    started_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program, str(run)])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started_s
    if status:
        raise SystemExit(f"the measured program ended with status {status}")
    return seconds, usage.ru_maxrss / 1024


def check(run: Path, document: Document, messages: int) -> None:
    """Every planted anomaly is named, and nothing else."""
    planted = plant(messages // PRODUCERS)
    named: dict[str, set[int]] = {}
    for line in (run / "evidence.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["producer"] == 0:
            named.setdefault(row["kind"], set()).add(row["sequence"])
        else:
            raise SystemExit(f"not planted: {row}")
    expected = {kind: set(numbers.tolist()) for kind, numbers in planted.items()}
    # What is damaged everywhere is lost, too.
    expected["lost"] |= expected["damaged"]
    late = expected.pop("out of order")
    expected |= {"stored out of order": late, "delivered out of order": late}
    if named != expected:
        wrong = {k: named.get(k, set()) ^ expected.get(k, set()) for k in named | expected}
        raise SystemExit(f"named and planted anomalies differ: {wrong}")
    failover = next(answer for answer in document.questions if answer.name == "failover")
    gap_s = failover.figures[0].value or 0.0
    if abs(gap_s - OUTAGE_S) > 0.005:
        raise SystemExit(f"the outage of {OUTAGE_S} s was measured as {gap_s} s")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    RUN = Path(tempfile.gettempdir()) / f"mqchaos-verify-4-{count}"
    if not (RUN / "complete").exists():
        RUN.mkdir(exist_ok=True)
        generate(RUN, count)
        (RUN / "complete").touch()
    read_s, read_mib = measure(_READ, RUN)
    judge_s, judge_mib = measure(_JUDGE, RUN)
    check(RUN, read(RUN), count)
    size_mb = sum(path.stat().st_size for path in (RUN / "history").iterdir()) / 1e6
    print(f"{count:,} sends, deliveries and stored rows each, {size_mb:,.0f} MB of history")
    print(f"plain reading of all columns  {read_s:6.2f} s  {read_mib:6.0f} MiB")
    print(f"verify, all verifiers         {judge_s:6.2f} s  {judge_mib:6.0f} MiB")
    print(f"ratio {judge_s / read_s:.2f}; the planted anomalies were named, and nothing else")
