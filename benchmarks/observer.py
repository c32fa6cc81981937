"""What the observer costs: processor time of the tool and of brokers, and a producer's rate.

    python benchmarks/observer.py [--rounds 4] [--seconds 10] [--messages 400000]

Three real Kafka brokers (local runtime), three partitions, three replicas, acks=all. Idle rounds
alternate without and with the watch of `chaos run` (it looks every 30 ms, at the group every
second): processor time of each process by the kernel's count, as a share of one core. Then a bare
producer sends as fast as it can, without and with it in turns. Prints each round and medians; the
goals are 2 % of a core for a broker, 3 % for the tool.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from producer import bare

from chaos.experiment import Experiment
from chaos.history.events import EventLog
from chaos.run.provision import Provision
from chaos.run.watch import Watch
from chaos.spi import Cluster, View
from chaos_adapters.runtimes.marks import marked

Shares = tuple[float, list[float]]
"""Of the tool, and of each broker: percent of a core."""


class Counting:
    """An observer that counts the looks at another one."""

    def __init__(self, inner: object) -> None:
        self.inner, self.looks = inner, 0

    def observe(self, timeout_s: float) -> View:
        """See Observer."""
        self.looks += 1
        return self.inner.observe(timeout_s)  # type: ignore[attr-defined,no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@contextmanager
def watching(experiment: Experiment, cluster: Cluster, on: bool) -> Iterator[Counting | None]:
    """With the watch of a run, or without."""
    if not on:
        yield None
        return
    observer = Counting(experiment.broker.observer(cluster.clients, experiment.stream))
    with tempfile.TemporaryDirectory() as name:
        events = EventLog(Path(name) / "events.jsonl")
        watch = Watch(observer, events, "benchmark")  # type: ignore[arg-type]
        try:
            yield observer
        finally:
            watch.end()
            events.close()


def brokers(cluster: Cluster) -> list[psutil.Process]:
    """The brokers' processes."""
    return [process for process, mark in marked() if mark == cluster.id]


def spent(processes: list[psutil.Process]) -> list[float]:
    """Seconds of processor time so far, of this process first."""
    counts = [each.cpu_times() for each in [psutil.Process(os.getpid()), *processes]]
    return [count.user + count.system for count in counts]


def shares(processes: list[psutil.Process], seconds: float) -> Shares:
    """Measured from now on for so long."""
    before, started = spent(processes), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    tool, *each = [100 * (b - a) / took for a, b in zip(before, spent(processes), strict=True)]
    return tool, each


def idle(experiment: Experiment, cluster: Cluster, rounds: int, seconds: float) -> None:
    """Processor time without any load."""
    processes = brokers(cluster)
    more_tool, more_broker = [], []
    for number in range(rounds):
        with watching(experiment, cluster, False):
            tool0, brokers0 = shares(processes, seconds)
        with watching(experiment, cluster, True) as observer:
            assert observer
            before = observer.looks
            tool1, brokers1 = shares(processes, seconds)
            rate = (observer.looks - before) / seconds
        more_tool.append(tool1 - tool0)
        more_broker.append(statistics.mean(brokers1) - statistics.mean(brokers0))
        print(f"round {number + 1}: {rate:.0f} looks/s; tool {tool0:.1f} -> {tool1:.1f} %, brokers "
              f"{' '.join(f'{b:.1f}' for b in brokers0)} -> "
              f"{' '.join(f'{b:.1f}' for b in brokers1)} % of a core")  # fmt: skip
    print(f"median: tool +{statistics.median(more_tool):.1f} %, a broker "
          f"+{statistics.median(more_broker):.1f} % of a core")  # fmt: skip


def loaded(experiment: Experiment, cluster: Cluster, rounds: int, messages: int) -> None:
    """The rate of a producer that goes as fast as it can."""
    topic, ratios = experiment.stream.name, []
    bare(cluster, topic, messages, 200)  # warms the brokers up
    for number in range(rounds):
        rates = {}
        for on in (False, True) if number % 2 else (True, False):
            with watching(experiment, cluster, on):
                rates[on] = bare(cluster, topic, messages, 200)
        ratios.append(rates[True] / rates[False])
        print(f"round {number + 1}: producer alone {rates[False]:,.0f}/s, observed "
              f"{rates[True]:,.0f}/s, ratio {ratios[-1]:.2f}")  # fmt: skip
    print(f"median ratio {statistics.median(ratios):.2f}")


def main() -> None:
    """Start brokers, alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--messages", type=int, default=400_000)
    options = parser.parse_args()
    experiment = Experiment.from_resolved({
        "name": "benchmark",
        "cluster": {"broker": "kafka", "nodes": 3},
        "stream": {"partitions": 3, "replicas": 3},
        "load": {"producers": {"rate": "1/s"}},
        "faults": [],
    })  # fmt: skip
    experiment = replace(experiment, stream=replace(experiment.stream, name="benchmark"))
    provision = Provision(experiment, "local", False, print)
    try:
        cluster = provision.start(threading.Event())
        provision.await_ready(cluster, threading.Event())
        experiment.broker.prepare(cluster.clients, experiment.stream, 60)
        with watching(experiment, cluster, True):
            time.sleep(options.seconds)  # code that is met for the first time is compiled
        idle(experiment, cluster, options.rounds, options.seconds)
        loaded(experiment, cluster, options.rounds, options.messages)
    finally:
        provision.end()


if __name__ == "__main__":
    main()
