"""What `flush.messages=1` costs a producer on a kept cluster whose nodes have disks of their own.

    chaos up experiments/kafka/corrupt-follower.yaml --set cluster.disk.size=8GiB
                                                         # says where the brokers are
    python benchmarks/flush.py 127.0.0.1:PORT [--rounds 4] [--seconds 8] [--size 1024]

Two topics of three partitions with three replicas, acks=all, idempotent, min.insync.replicas=2; one
forces each message to the disk. A bare producer sends as fast as it can to one and the other in
turns, then 100 messages one after the other. Prints each round, and medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

_WITHIN_S = 60.0
_SINGLE = 100


def topics(servers: str) -> dict[str, str]:
    """What it does -> its name."""
    made = {
        kind: NewTopic(
            f"flush-{uuid.uuid4().hex[:8]}", 3, 3, config={"min.insync.replicas": "2", **more}
        )
        for kind, more in (("default", {}), ("flush.messages=1", {"flush.messages": "1"}))
    }
    admin = AdminClient({"bootstrap.servers": servers})  # asks for as long as it lives
    for future in admin.create_topics([*made.values()]).values():
        future.result(_WITHIN_S)
    return {kind: topic.topic for kind, topic in made.items()}


def rate(servers: str, topic: str, seconds: float, size: int) -> float:
    """Acknowledged messages a second."""
    acknowledged = 0

    def done(error: object, _message: object) -> None:
        nonlocal acknowledged
        acknowledged += error is None

    producer = Producer({
        "bootstrap.servers": servers, "acks": "all", "enable.idempotence": True,
        "queue.buffering.max.messages": 20_000,
    })  # fmt: skip
    body, started = bytes(size), time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            producer.produce(topic, body, on_delivery=done)
            producer.poll(0)
        except BufferError:
            producer.poll(0.01)
    producer.flush(_WITHIN_S)
    return acknowledged / (time.monotonic() - started)


def latency(servers: str, topic: str, size: int) -> float:
    """Milliseconds in the median that one message waits for its acknowledgement, alone."""
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "linger.ms": 0})
    waits = []
    for _ in range(_SINGLE):
        started = time.monotonic()
        producer.produce(topic, bytes(size))
        producer.flush(_WITHIN_S)
        waits.append(time.monotonic() - started)
    return statistics.median(waits) * 1000


def main() -> None:
    """Rounds in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--size", type=int, default=1024)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    made = topics(given.servers)
    for number in range(given.rounds):
        for kind, topic in made.items():
            one = rate(given.servers, topic, given.seconds, given.size)
            waits_ms = latency(given.servers, topic, given.size)
            found.setdefault(kind, []).append((one, waits_ms))
            print(f"{number + 1} {kind:18} {one:9,.0f} messages/s   {waits_ms:7.1f} ms")
    for kind, rounds in found.items():
        rates, waits = zip(*rounds, strict=True)
        print(
            f"median {kind:18} {statistics.median(rates):9,.0f} messages/s   "
            f"{statistics.median(waits):7.1f} ms"
        )


if __name__ == "__main__":
    main()
