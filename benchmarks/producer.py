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

import json
import subprocess
import sys

import side_by_side

from chaos.spi import Cluster

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


def main() -> None:
    """One broker, six partitions."""
    given = side_by_side.options(__doc__ or "", 500_000)
    tried = side_by_side.experiment(
        {"broker": "kafka", "nodes": 1}, {"partitions": 6, "replicas": 1}, given.size, SETTINGS
    )
    side_by_side.compare(
        tried, "local", given, "bare",
        lambda cluster: bare(cluster, "benchmark", given.messages, given.size),
    )  # fmt: skip


if __name__ == "__main__":
    main()
