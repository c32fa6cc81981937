"""Messages/s that one producer process sends *and records*, beside the bare client.

    python benchmarks/producer.py [--rounds 3] [--messages 500000] [--size 200]

One real Kafka broker (local runtime), six partitions, acks=all. Rounds alternate: first the bare
client as fast as it goes from Python (a constant body, one delivery callback for all messages that
only counts, no cycle collector; a callback for each message and `produce_batch` are both slower),
then a worker of `chaos run` with all of it on: due times, header, CRC, history on disk. Both count
messages from the first send to the last acknowledgement. Prints each round and the median ratio;
the goal is 0.9.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from chaos.experiment import Experiment
from chaos.history.events import EventLog
from chaos.history.reader import streams
from chaos.load import assignment
from chaos.load.workers import Crew
from chaos.run.provision import Provision
from chaos.spi import Cluster
from chaos.timing import now_ns

SETTINGS = {"acks": "all", "linger.ms": 5}
BARE = """
import gc, json, sys, time
from confluent_kafka import Producer
bootstrap, topic, count, size, settings = sys.argv[1:]
count, body, done = int(count), b"x" * int(size), [0]
def delivered(error, message):
    assert error is None
    done[0] += 1
settings = {**json.loads(settings), "bootstrap.servers": bootstrap, "on_delivery": delivered}
producer = Producer(settings)
producer.list_topics(topic, timeout=10)
gc.disable()
keys = [b"key-%d" % n for n in range(100)]
started = time.perf_counter()
for number in range(count):
    while True:
        try:
            producer.produce(topic, body, keys[number % 100])
            break
        except BufferError:
            producer.poll(0.01)
    if not number % 1000:
        producer.poll(0)
while done[0] < count:
    producer.poll(0.01)
print(count / (time.perf_counter() - started))
"""


def bare(cluster: Cluster, topic: str, messages: int, size: int) -> float:
    """Messages/s of the client alone, in a process of its own."""
    bootstrap = ",".join(map(str, cluster.clients.values()))
    argv = [sys.executable, "-c", BARE, bootstrap, topic, str(messages), str(size)]
    done = subprocess.run([*argv, json.dumps(SETTINGS)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def recorded(cluster: Cluster, experiment: Experiment, topic: str, messages: int) -> float:
    """Messages/s of a worker with all its recording, by its own history."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        about = assignment.for_all(1, topic, cluster.clients)
        (directory / "workers.json").write_text(json.dumps(about))
        (directory / "experiment.json").write_text(json.dumps(experiment.resolved))
        events = EventLog(directory / "events.jsonl")
        crew, stop = Crew(directory, events), threading.Event()
        try:
            crew.start(1, 0)
            crew.connect(stop, directory)
            start_ns = now_ns() + 100_000_000
            crew.go(start_ns)
            seconds = messages / experiment.load.producers.rate
            time.sleep(seconds + 0.2)
            crew.stop_producers(start_ns + int(seconds * 1e9), 60, stop)
        finally:
            crew.end()
        sends = [batch for stream in streams(directory) for batch in stream.batches() if len(batch)]
        first = min(int(batch["sent_ns"].min()) for batch in sends)
        last = max(int(batch["done_ns"].max()) for batch in sends)
        count = sum(int(np.count_nonzero(batch["outcome"] == 1)) for batch in sends)
        return count / (last - first) * 1e9


def main() -> None:
    """Start a broker, alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    experiment = Experiment.from_resolved({
        "name": "benchmark",
        "cluster": {"broker": "kafka", "nodes": 1},
        "stream": {"partitions": 6, "replicas": 1},
        # Everything is due at once, so the worker goes as fast as it can.
        "load": {"producers": {
            "rate": "5000000/s", "size": f"{options.size}B", "settings": SETTINGS,
        }},
        "faults": [],
    })  # fmt: skip
    provision = Provision(experiment, "local", False, print)
    try:
        cluster = provision.start(threading.Event())
        provision.await_ready(cluster, threading.Event())
        topic = replace(experiment.stream, name="benchmark")
        experiment.broker.prepare(cluster.clients, topic, 60)
        bare(cluster, topic.name, 100_000, options.size)  # warms the broker up
        ratios = []
        for number in range(options.rounds):
            alone = bare(cluster, topic.name, options.messages, options.size)
            ours = recorded(cluster, experiment, topic.name, options.messages)
            ratios.append(ours / alone)
            print(f"round {number + 1}: bare {alone:,.0f}/s, recorded {ours:,.0f}/s, "
                  f"ratio {ratios[-1]:.2f}")  # fmt: skip
        print(f"median ratio {statistics.median(ratios):.2f}")
    finally:
        provision.end()


if __name__ == "__main__":
    main()
