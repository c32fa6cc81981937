"""A worker of `chaos run` with all its recording, beside another program that sends the same.

Rounds alternate, first the other program, then the worker, which counts from the first send to the
last acknowledgement, by its own history.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from chaos.experiment import Experiment
from chaos.history.events import EventLog
from chaos.history.reader import streams
from chaos.load import assignment
from chaos.load.workers import Crew
from chaos.run.provision import Provision
from chaos.spi import Cluster, Json, Outcome
from chaos.timing import now_ns


def options(about: str, messages: int) -> argparse.Namespace:
    """How many rounds, and what a worker sends in each: messages, and their size in bytes."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=messages)
    parser.add_argument("--size", type=int, default=200)
    return parser.parse_args()


def experiment(cluster: Json, stream: Json, size: int, settings: Json) -> Experiment:
    """One producer that goes as fast as it can: everything is due at once."""
    producers = {"rate": "5000000/s", "size": f"{size}B", "settings": settings}
    return Experiment.from_resolved({
        "name": "benchmark", "cluster": cluster, "stream": stream,
        "load": {"producers": producers}, "faults": [],
    })  # fmt: skip


def compare(
    tried: Experiment,
    runtime: str,
    given: argparse.Namespace,
    name: str,
    theirs: Callable[[Cluster], float],
) -> None:
    """Start the cluster, alternate, print the rates, in messages/s, and the median ratio. `theirs`
    sends to the stream `benchmark` and returns its rate."""
    provision = Provision(tried, runtime, False, print)
    try:
        cluster = provision.start(threading.Event())
        provision.await_ready(cluster, threading.Event())
        stream = replace(tried.stream, name="benchmark")
        tried.broker.prepare(cluster.clients, stream, 60)
        theirs(cluster)  # warms the broker up
        ratios = []
        for number in range(given.rounds):
            other = theirs(cluster)
            ours = recorded(cluster, tried, stream.name, given.messages)
            ratios.append(ours / other)
            print(f"round {number + 1}: {name} {other:,.0f}/s, recorded {ours:,.0f}/s, "
                  f"ratio {ratios[-1]:.2f}")  # fmt: skip
        print(f"median ratio {statistics.median(ratios):.2f}")
    finally:
        provision.end()


def recorded(cluster: Cluster, tried: Experiment, topic: str, messages: int) -> float:
    """Messages/s of a worker with all its recording, by its own history."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        about = assignment.for_all(1, topic, cluster.clients)
        (directory / "workers.json").write_text(json.dumps(about))
        (directory / "experiment.json").write_text(json.dumps(tried.resolved))
        events = EventLog(directory / "events.jsonl")
        crew, stop = Crew(directory, events), threading.Event()
        try:
            crew.start(1, 0)
            crew.connect(stop, directory)
            start_ns = now_ns() + 100_000_000
            crew.go(start_ns)
            seconds = messages / tried.load.producers.rate
            time.sleep(seconds + 0.2)
            crew.stop_producers(start_ns + int(seconds * 1e9), 60, stop)
        finally:
            crew.end()
        sends = [batch for stream in streams(directory) for batch in stream.batches() if len(batch)]
        first = min(int(batch["sent_ns"].min()) for batch in sends)
        last = max(int(batch["done_ns"].max()) for batch in sends)
        acked = sum(int(np.count_nonzero(batch["outcome"] == Outcome.OK)) for batch in sends)
        return acked / (last - first) * 1e9
