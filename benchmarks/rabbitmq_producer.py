"""Messages/s that one producer process sends to RabbitMQ *and records*, beside the vendor's own
rabbitmq-perf-test (Java) on the same queue.

    python benchmarks/rabbitmq_producer.py [--rounds 3] [--messages 100000] [--size 200]

One real node (Docker runtime), one quorum queue, emptied in between. Both wait for confirms with
5,000 messages open, persistent and mandatory. Rounds alternate: first perf-test, of which all
seconds count but the first three, as its Java machine is slow at first, and the last; then a worker
of `chaos run` with all of it on, which counts from the first send to the last acknowledgement.
Prints each round and the median ratio; the goal is 1.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pika
from producer import recorded

from chaos.experiment import Experiment
from chaos.run.provision import Provision
from chaos.spi import Address, Java
from chaos_adapters.brokers.rabbitmq.topology import PASSWORD, USER
from chaos_adapters.runtimes.java import java_argv

LOCK = Path(__file__).parent / "perf-test-2.22.1.lock"
WINDOW, SECONDS = 5000, 12
_CONFIRMED = re.compile(r"confirmed: (\d+) msg/s")


def perf_test(address: Address, queue: str, size: int) -> float:
    """Confirmed messages/s of perf-test."""
    options = (
        "--uri", f"amqp://{USER}:{PASSWORD}@{address.host}:{address.port}/%2f",
        "--queue", queue, "--predeclared", "--producers", "1", "--consumers", "0",
        "--confirm", str(WINDOW), "--flag", "persistent", "--flag", "mandatory",
        "--size", str(size), "--time", str(SECONDS),
    )  # fmt: skip
    program = Java(str(LOCK), "com.rabbitmq.perf.PerfTest", options, ("-Xmx256m",))
    done = subprocess.run(java_argv(program), capture_output=True, text=True, check=True)
    rates = [int(found) for found in _CONFIRMED.findall(done.stdout)]
    if len(rates) < SECONDS - 2:
        raise RuntimeError(f"perf-test told too little:\n{done.stdout}{done.stderr}")
    return statistics.mean(rates[3:-1])


def empty(address: Address, queue: str) -> None:
    """Nothing is left of the round before."""
    credentials = pika.PlainCredentials(USER, PASSWORD)
    parameters = pika.ConnectionParameters(address.host, address.port, "/", credentials)
    with closing(pika.BlockingConnection(parameters)) as connection:
        connection.channel().queue_purge(queue)


def main() -> None:
    """Start a node, alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    experiment = Experiment.from_resolved({
        "name": "benchmark",
        "cluster": {"broker": "rabbitmq", "nodes": 1},
        "stream": {"kind": "quorum", "queues": 1, "replicas": 1},
        # Everything is due at once, so the worker goes as fast as it can.
        "load": {"producers": {
            "rate": "5000000/s", "size": f"{options.size}B", "settings": {"window": WINDOW},
        }},
        "faults": [],
    })  # fmt: skip
    provision = Provision(experiment, "docker", False, print)
    try:
        cluster = provision.start(threading.Event())
        provision.await_ready(cluster, threading.Event())
        stream = replace(experiment.stream, name="benchmark")
        (address,), (queue,) = cluster.clients.values(), stream.names
        experiment.broker.prepare(cluster.clients, stream, 60)
        ratios = []
        for number in range(options.rounds):
            theirs = perf_test(address, queue, options.size)
            empty(address, queue)
            ours = recorded(cluster, experiment, stream.name, options.messages)
            empty(address, queue)
            ratios.append(ours / theirs)
            print(f"round {number + 1}: perf-test {theirs:,.0f}/s, recorded {ours:,.0f}/s, "
                  f"ratio {ratios[-1]:.2f}")  # fmt: skip
        print(f"median ratio {statistics.median(ratios):.2f}")
    finally:
        provision.end()


if __name__ == "__main__":
    main()
