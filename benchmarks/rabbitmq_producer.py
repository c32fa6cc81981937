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

import re
import statistics
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pika
import side_by_side

from chaos.spi import Address, Cluster, Java
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
    """One node, one quorum queue."""
    given = side_by_side.options(__doc__ or "", 100_000)
    tried = side_by_side.experiment(
        {"broker": "rabbitmq", "nodes": 1}, {"kind": "quorum", "queues": 1, "replicas": 1},
        given.size, {"window": WINDOW},
    )  # fmt: skip
    (queue,) = replace(tried.stream, name="benchmark").names

    def theirs(cluster: Cluster) -> float:
        (address,) = cluster.clients.values()
        empty(address, queue)
        rate = perf_test(address, queue, given.size)
        empty(address, queue)
        return rate

    side_by_side.compare(tried, "docker", given, "perf-test", theirs)


if __name__ == "__main__":
    main()
