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

import os
import re
import subprocess
from pathlib import Path

import side_by_side

from chaos.spi import Address, Cluster
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
    """One broker, one name server, eight queues."""
    given = side_by_side.options(__doc__ or "", 200_000)
    tried = side_by_side.experiment(
        {
            "broker": "rocketmq", "replicas": 1, "name_servers": 1, "replication": "ASYNC_MASTER",
        },
        {"partitions": 8}, given.size, {"window": WINDOW},
    )  # fmt: skip
    lock = versions.lock("5.3.3")

    def theirs(cluster: Cluster) -> float:
        return java(cluster.clients["namesrv-1"], "benchmark", given.size, lock)

    side_by_side.compare(tried, "local", given, "Java client", theirs)


if __name__ == "__main__":
    main()
