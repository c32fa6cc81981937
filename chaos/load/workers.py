"""The engine's side of the worker processes: start them, tell them, listen to them, end them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from chaos.errors import ClusterError
from chaos.history.events import EventLog
from chaos.load.strays import mark, note
from chaos.spi import Broker, ClientsMayCrash, Json
from chaos.timing import clock_environment, now_ns, wait_until

READY_WITHIN_S = 60.0
FALLS = 10
"""How many workers of a run may be ended by their client library."""


class Worker:
    """One worker process and what it said last."""

    def __init__(
        self,
        directory: Path,
        role: str,
        number: int,
        events: EventLog,
        place: int | None = None,
        may_crash: str = "",
    ) -> None:
        """`place` is the number of the client whose place it takes (None: nobody's), `may_crash`
        why a signal that ends it is no reason to doubt the run (empty: it is one)."""
        self.role, self.number, self.name = role, number, f"{role}-{number}"
        self.ready, self.error, self.crashed = False, "", False
        self.fell = False
        """Whether its client library ended it; see `Crew.tend`."""
        self._working = self._dismissed = False
        self.from_ns: int | None = None
        """When its first message is due, or when it was started; see `Crew.due`."""
        self.until_ns: int | None = None
        """When a fault killed it, or put another one in its place."""
        self.stats: Json = {}
        self.done: Json | None = None
        self._events, self._may_crash = events, may_crash
        log = (directory / "logs" / f"{self.name}.log").open("ab")
        numbers = [number] if place is None else [number, place]
        self.place = numbers[-1]
        command = [sys.executable, "-m", "chaos.load.worker"]
        self._process = subprocess.Popen(
            [*command, str(directory), role, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # A session of its own: Ctrl-C is for the engine, which ends workers in order.
            start_new_session=True,
            env={**os.environ, **clock_environment(), **mark()},
        )
        log.close()
        assert self._process.stdout
        self._listener = threading.Thread(
            target=self._listen, args=(self._process.stdout,), daemon=True
        )
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _listen(self, lines: IO[bytes]) -> None:
        for line in lines:
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off by its death
            self._take(message)
        status = self._process.wait()
        if self.crashed:
            self._events.add("client", client=self.name, what="crashed", time_ns=self.until_ns)
            return
        if self.done is None and not self.error and not self._dismissed:
            if status < 0 and self.ready and self._may_crash:
                self._fall(signal.Signals(-status).name)
                return
            self.error = f"ended with status {status}"
        if self.error:
            self._events.add("client", client=self.name, what="error", why=self.error)
        else:
            self._events.add("client", client=self.name, what="exit")

    def _fall(self, signal_name: str) -> None:
        self.until_ns = now_ns()
        why = f"ended by {signal_name}, and no fault did that: {self._may_crash}"
        self._events.add("client", client=self.name, what="crashed", time_ns=self.until_ns, why=why)
        self.crashed = self.fell = True

    def _take(self, message: Json) -> None:
        if message.get("ready"):
            self.ready = True
            self._events.add("client", client=self.name, what="ready")
        self._note_connection(message.get("stats") or {})
        self.stats = message.get("stats", self.stats)
        if (done := message.get("done")) is not None:
            if done.get("fenced"):
                self._events.add("client", client=self.name, what="fenced", why=done["fenced"])
            self.done, self.stats = done, done or self.stats
        self.error = message.get("error", self.error)

    def _note_connection(self, stats: Json) -> None:
        """Put on record where it is connected to now, whether the broker blocks it, and why it
        opened a new channel or left its connection."""
        for what in ("node", "blocked", "channel", "left"):
            if what in stats and stats[what] != self.stats.get(what):
                self._events.add("connection", client=self.name, **{what: stats[what]})

    def tell(self, **order: Any) -> None:  # noqa: ANN401 - whatever JSON can say
        """Give an order; one that is gone already cannot take it, which shows as its `error`."""
        if self._process.stdin and not self._process.stdin.closed:
            try:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass

    def work(self) -> None:
        """Have it connect: workers.json is written."""
        self._working = True
        self.tell(work=0)

    def end(self) -> None:
        """Have it write what it has and go; one that waits for work has nothing."""
        if self._working:
            self.tell(stop=0)
        else:
            self._dismissed = True
            self._process.kill()

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self._listener.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait until it is gone and all that it said was heard; whether that is so."""
        self._listener.join(timeout_s)
        return not self._listener.is_alive()

    def crash(self) -> None:
        """The same as `kill`, as the deed of a fault: no reason to doubt the run."""
        if self.alive:
            self.crashed, self.until_ns = True, now_ns()
            self.kill()

    def kill(self) -> None:
        """End it at once. What it flushed stays."""
        if self._process.poll() is None:
            self._process.kill()
        self._listener.join(5)


class Crew:
    """All workers of a run, those that took the place of others behind them."""

    def __init__(self, directory: Path, events: EventLog, may_crash: str = "") -> None:
        """`may_crash`: see Worker."""
        self._directory, self._events, self._may_crash = directory, events, may_crash
        self._lock = threading.Lock()
        # The kernel tells a worker of the end of the thread that started it, which has to be that
        # of the tool; see `strays.outlive_nobody`.
        self._spawner = ThreadPoolExecutor(1, "spawner")
        self._cluster_directory: Path | None = None
        self.producers: list[Worker] = []
        self.consumers: list[Worker] = []
        self.readers: list[Worker] = []
        self.fallen: list[tuple[Worker, Worker]] = []
        """Those that their client library ended, and who followed them."""
        # There from the start, so that a run that is stopped before its load can be judged as well.
        for name in ("logs", "history"):
            (directory / name).mkdir(exist_ok=True)

    @property
    def everybody(self) -> Sequence[Worker]:
        """Every worker started so far."""
        return [*self.producers, *self.consumers, *self.readers]

    def start(self, producers: int, consumers: int) -> None:
        """Start the clients, as soon as there is experiment.json: they take a second or two to come
        up, for which no cluster is needed."""
        self.consumers = [self._start("consumer", number) for number in range(consumers)]
        self.producers = [self._start("producer", number) for number in range(producers)]

    def connect(self, stop: threading.Event, cluster_directory: Path) -> None:
        """Have all connect to the cluster of workers.json; in `cluster_directory` they are noted
        for whoever heals (`chaos.load.strays`). Raises ClusterError, Interrupted."""
        self._cluster_directory = cluster_directory
        self._check()  # nobody begins without all of them
        for worker in self.everybody:
            note(cluster_directory, worker.name, worker.pid)
            worker.work()
        self._await(self.everybody, lambda worker: worker.ready, "clients to connect", stop)

    def go(self, start_ns: int) -> None:
        """Have the first message due at this time. The reader comes up meanwhile, as nothing waits
        for it yet."""
        for worker in self.producers:
            worker.from_ns = start_ns
            worker.tell(go=start_ns)
        self.readers = [self._start("reader", 0)]
        self.readers[0].work()

    def supplant(self, worker: Worker) -> None:
        """From now on another one has its place, whatever it still does."""
        worker.until_ns = now_ns()
        self._events.add("client", client=worker.name, what="supplanted", time_ns=worker.until_ns)

    def replace(self, gone: Worker) -> Worker:
        """Start another worker in the place of one that a fault killed or supplanted; it is not
        connected yet."""
        with self._lock:
            peers = self.producers if gone.role == "producer" else self.consumers
            worker = self._start(gone.role, len(peers), gone.place)
            peers.append(worker)
        worker.work()
        return worker

    def let_go(self, worker: Worker, gone: Worker) -> None:
        """Have one that took a place, and is connected, do its work."""
        worker.from_ns = now_ns()
        self._events.add("client", client=worker.name, what="started", after=gone.name)
        if worker.role == "producer":
            worker.tell(go=worker.from_ns)

    def tend(self) -> None:
        """Have others follow those that their client library ended, and let them go when they are
        connected. Raises ClusterError when that happens too often."""
        for worker in [*self.producers, *self.consumers]:
            if not worker.fell:
                continue
            worker.fell = False
            if len(self.fallen) == FALLS:
                raise ClusterError(f"client libraries ended {FALLS + 1} workers: {worker.name}")
            self.fallen.append((worker, self.replace(worker)))
        for gone, worker in self.fallen:
            if worker.ready and worker.from_ns is None:
                self.let_go(worker, gone)

    def due(self, from_ns: int, until_ns: int, rate: float) -> dict[str, int]:
        """How many messages each producer should have sent between two times, while it was there,
        by its number."""
        found = {}
        for worker in self.producers:
            first_ns = max(from_ns, worker.from_ns or until_ns)
            span_ns = max(0, min(until_ns, worker.until_ns or until_ns) - first_ns)
            found[str(worker.number)] = int(span_ns / 1e9 * rate)
        return found

    @property
    def served(self) -> dict[str, int]:
        """For how many messages of each producer at work the cluster has done something so far."""
        done = ("ok", "weak", "aborted")
        return {
            worker.name: sum(worker.stats.get(each, 0) for each in done)
            for worker in self.producers
            if worker.alive
        }

    def unserved(self, before: Mapping[str, int]) -> list[str]:
        """Producers at work for which the cluster has done nothing since `served` was that."""
        return [name for name, done in self.served.items() if done <= before.get(name, 0)]

    @property
    def under_way(self) -> bool:
        """Whether anybody sends, or is only away because of a fault."""
        return any(worker.alive or worker.crashed for worker in self.producers)

    def stop_producers(self, until_ns: int, timeout_s: float, stop: threading.Event) -> None:
        """Send what is due until then, wait for open sends, end. Raises ClusterError."""
        for worker in self.producers:
            worker.tell(stop=until_ns)
        self._finish(self.producers, timeout_s, stop)

    def read_back(self, timeout_s: float, stop: threading.Event) -> Json:
        """Have the reader read; its result."""
        for reader in self.readers:
            reader.tell(go=0)
        self._finish(self.readers, timeout_s, stop)
        return self.readers[0].done or {}

    def stop_consumers(self, timeout_s: float, stop: threading.Event) -> None:
        """Record, settle, leave."""
        for worker in self.consumers:
            worker.tell(stop=0)
        self._finish(self.consumers, timeout_s, stop)

    def end(self, timeout_s: float = 3.0) -> None:
        """Whatever happened: have everybody write what they have, then be gone."""
        deadline = time.monotonic() + timeout_s
        for worker in self.everybody:
            worker.end()
        for worker in self.everybody:
            if not worker.join(max(0.0, deadline - time.monotonic())):
                worker.kill()

    def failures(self) -> list[str]:
        """Who could not go on, and why."""
        return [f"{worker.name}: {worker.error}" for worker in self.everybody if worker.error]

    def _check(self) -> None:
        if failed := self.failures():
            raise ClusterError("; ".join(failed))

    def _start(self, role: str, number: int, place: int | None = None) -> Worker:
        worker = self._spawner.submit(
            Worker, self._directory, role, number, self._events, place, self._may_crash
        ).result()
        if self._cluster_directory:
            note(self._cluster_directory, worker.name, worker.pid)
        return worker

    def _finish(self, workers: Sequence[Worker], timeout_s: float, stop: threading.Event) -> None:
        names = ", ".join(worker.name for worker in workers)
        wait_until(
            lambda: not any(worker.alive for worker in workers),
            f"end of {names}", timeout_s, every_s=0.02, stop=stop,
        )  # fmt: skip

    def _await(
        self,
        workers: Sequence[Worker],
        done: Callable[[Worker], bool],
        what: str,
        stop: threading.Event,
    ) -> None:
        def look() -> bool:
            self._check()
            return all(done(worker) for worker in workers)

        wait_until(look, what, READY_WITHIN_S, every_s=0.02, stop=stop)


def may_crash(broker: Broker) -> str:
    """Why a signal that ends its clients is no reason to doubt a run; empty: it is one."""
    return broker.clients_may_crash() if isinstance(broker, ClientsMayCrash) else ""


class Rates:
    """Sums what the workers count and tells it once a second, for people and for the report."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def tell(self, crew: Crew, events: EventLog) -> None:
        """Write a `rates` event, unless the last one is younger than a second."""
        now_s = time.monotonic()
        if not crew.producers or now_s < self._due_s:
            return
        self._due_s = now_s + 1.0
        sums = {
            name: sum(worker.stats.get(name, 0) for worker in crew.producers)
            for name in ("due", "sent", "ok", "refused", "indeterminate", "aborted", "weak")
        }
        received = sum(worker.stats.get("received", 0) for worker in crew.consumers)
        events.add("rates", **sums, received=received)
