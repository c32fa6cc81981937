"""Messages/s that one producer process sends to RocketMQ *and records*, beside RocketMQ's own Java
client, which sends asynchronously to the same topic.

    python benchmarks/rocketmq_producer.py [--rounds 3] [--messages 200000] [--size 200]

One real broker and one name server (local runtime, asynchronous flush), eight queues, 2,000 sends
open. Rounds alternate: first the Java client (`RocketMQSender.java`; needs a JDK on the PATH), of
which the seconds after the first eight count, as its Java machine is slow at first; then a worker
of `chaos run` with all of it on, which counts from the first send to the last acknowledgement.
What a busy broker refused counts for nobody. Prints each round and the median ratio; the goal is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

from producer import recorded

from chaos.experiment import Experiment
from chaos.run.provision import Provision
from chaos.spi import Address
from chaos_adapters.brokers.rocketmq import versions
from chaos_adapters.runtimes import jars

SENDER = Path(__file__).parent / "RocketMQSender.java"
WINDOW, SECONDS, WARM_UP_S = 2000, 20, 8
_TOLD = re.compile(r"failed (\d+) rate ([\d.E]+)")


def java(name_server: Address, topic: str, size: int, lock: Path) -> float:
    """Acknowledged messages/s of the Java client."""
    path = os.pathsep.join(map(str, jars.ensure(jars.parse_lock(lock.read_text()))))
    argv = ["java", "-Xmx512m", "-cp", path, str(SENDER), str(name_server), topic, str(size)]
    argv += [str(WINDOW), str(SECONDS), str(WARM_UP_S)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    told = _TOLD.search(done.stdout)
    if told is None:
        raise RuntimeError(f"the Java client told no rate:\n{done.stdout[-2000:]}{done.stderr}")
    return float(told[2])


def main() -> None:
    """Start a broker, alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    experiment = Experiment.from_resolved({
        "name": "benchmark",
        "cluster": {
            "broker": "rocketmq", "replicas": 1, "name_servers": 1, "replication": "ASYNC_MASTER",
        },
        "stream": {"partitions": 8},
        # Everything is due at once, so the worker goes as fast as it can.
        "load": {"producers": {
            "rate": "5000000/s", "size": f"{options.size}B", "settings": {"window": WINDOW},
        }},
        "faults": [],
    })  # fmt: skip
    provision = Provision(experiment, "local", False, print)
    try:
        cluster = provision.start(threading.Event())
        provision.await_ready(cluster, threading.Event())
        topic = replace(experiment.stream, name="benchmark")
        experiment.broker.prepare(cluster.clients, topic, 60)
        server = cluster.clients["namesrv-1"]
        ratios = []
        for number in range(options.rounds):
            theirs = java(server, topic.name, options.size, versions.lock("5.3.3"))
            ours = recorded(cluster, experiment, topic.name, options.messages)
            ratios.append(ours / theirs)
            print(f"round {number + 1}: Java client {theirs:,.0f}/s, recorded {ours:,.0f}/s, "
                  f"ratio {ratios[-1]:.2f}")  # fmt: skip
        print(f"median ratio {statistics.median(ratios):.2f}")
    finally:
        provision.end()


if __name__ == "__main__":
    main()
