"""One run: cluster, load, baseline, faults, drain, verdict, clean-up.

Everything from the first process on is cleaned up on every way out. The verdict is judged from the
run directory by the same code as `chaos verify`, also when the run broke off: then it is UNKNOWN,
unless what is on record is bad enough to FAIL.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from chaos.attached import Attached
from chaos.clusters import Store
from chaos.errors import ChaosError, ClusterError, DeadlineExceeded, HealError, UsageError
from chaos.experiment import Experiment
from chaos.history.events import EventLog, Listener
from chaos.judge import judge
from chaos.load import assignment
from chaos.load.assignment import group_name
from chaos.load.clients import clients_of
from chaos.load.dead_letters import dead_letter_stream
from chaos.load.workers import Crew, Rates, may_crash
from chaos.report import report_after
from chaos.run import drain
from chaos.run.directory import create, write_json
from chaos.run.provision import Provision, choose_runtime, sweep
from chaos.run.schedule import Rig, Schedule
from chaos.run.settings import read_settings
from chaos.run.versions import versions
from chaos.run.watch import Watch
from chaos.spi import Cluster, Disked, HandsOut, Json, Replicas
from chaos.timing import Interrupted, now_ns, wait_until
from chaos.undo import UndoLog
from chaos.verdict import Document

_PREPARE_WITHIN_S = 60.0
_PRODUCERS_END_WITHIN_S, _CONSUMERS_END_WITHIN_S = 40.0, 20.0
_READ_BACK_WITHIN_S = 270.0
_WHOLE_WITHIN_S = 120.0  # what was started again may take as long as a start
_SERVED_WITHIN_S, _SERVED_LATELY_S = 60.0, 1.0
_LEAD_S = 0.5
"""How long before the first fault plans are made, for each: some measure for a second."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """What the command line says beside the experiment. `stop` ends the run early, and in order."""

    runtime: str | None = None
    keep: bool = False
    runs: Path = Path("runs")
    listeners: Sequence[Listener] = ()
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Result:
    """How a run ended. `verdict` is None when not even that could be written; `errors` are for
    people."""

    directory: Path
    verdict: Document | None
    exit_code: int
    errors: tuple[str, ...]


def execute(experiment: Experiment, options: Options) -> Result:
    """Run an experiment. Raises UsageError or Unavailable before anything is started, and
    HistoryError when no run directory can be made."""
    runtime = choose_runtime(experiment, options.runtime)
    directory = create(options.runs, experiment.name)
    events = EventLog(directory / "events.jsonl")
    for listener in options.listeners:
        events.listen(listener)
    try:
        run = _Run(experiment, options, runtime, directory, events)
        return run.execute()
    finally:
        events.close()


class _Run:
    """The state of one run while it goes on."""

    def __init__(
        self,
        experiment: Experiment,
        options: Options,
        runtime: str,
        directory: Path,
        events: EventLog,
    ) -> None:
        self.number = secrets.randbits(63)
        stream = replace(experiment.stream, name=f"{experiment.stream.name}-{self.number:x}")
        self.experiment = replace(experiment, stream=stream)
        self.directory, self.events, self.stop = directory, events, options.stop
        self.runtime = runtime
        self.provision = Provision(self.experiment, runtime, options.keep, self._note)
        self.crew, self.rates = Crew(directory, events, may_crash(experiment.broker)), Rates()
        self.schedule: Schedule | None = None
        self.watch: Watch | None = None
        self.problems: list[ChaosError] = []
        self.interrupted, self.phase = False, "start"

    def execute(self) -> Result:
        """All of it; the way out is taken whatever happens before, bugs of ours included."""
        try:
            self._attempt(self._record_what_runs)
            if not self.problems:
                self._attempt(self._perform)
        finally:
            self._attempt(self._heal)
            self._attempt(self._end_load)
            # Before the verdict, which is to know of everything that went wrong.
            self._attempt(self._end_cluster)
            verdict = self._judge()
        self._phase("done")
        report_after(self.directory, self._note)
        return Result(self.directory, verdict, self._exit_code(verdict), self._errors())

    def _attempt(self, act: object) -> None:
        """Do one part; what goes wrong is kept and told, and the next part is done all the same."""
        assert callable(act)
        try:
            act()
        except Interrupted as error:
            self.interrupted = True
            self.events.add("interrupted", why=f"while waiting for: {error}")
        except ChaosError as error:
            self.problems.append(error)
            self.events.add("error", why=str(error), exit_code=error.exit_code)

    # ------------------------------------------------------------------------------- the parts

    def _record_what_runs(self) -> None:
        write_json(self.directory / "experiment.json", self.experiment.resolved)
        self.events.add(
            "run", run=f"{self.number:x}", name=self.experiment.name, seed=self.experiment.seed,
            runtime=self.runtime, stream=self.experiment.stream.name,
            versions=versions(), expects=self._expectations(),
        )  # fmt: skip

    def _expectations(self) -> Json:
        """What has to be on record at the end, so that a judge sees what is missing."""
        load = self.experiment.load
        return {
            "faults": [step.id for step in self.experiment.faults],
            "producers": load.producers.count,
            "consumers": load.consumers.count,
            "partitions": self.experiment.stream.partitions,
            "dead_letter": load.consumers.dead_letter,
            "readable": hasattr(self.experiment.broker, "stored"),
            "keeps": self._keeps,
            "replicas": isinstance(self.experiment.broker, Replicas),
        }

    def _perform(self) -> None:
        cluster = self._start_cluster()
        self._start_load(cluster)
        store = self.provision.store
        assert store
        self._let_faults_happen(cluster, store)
        self._finish_load(cluster)

    def _start_cluster(self) -> Attached:
        self._phase("start")
        load = self.experiment.load
        self.crew.start(load.producers.count, load.consumers.count)
        sweep(self._note)
        self._check()
        cluster = self.provision.start(self.stop)
        self._phase("ready")
        self.provision.await_ready(cluster, self.stop)
        self.provision.mark_ready()
        assert self.provision.store
        self.events.add(
            "cluster", id=self.provision.store.state.id, reused=self.provision.reused,
            clients={name: str(address) for name, address in cluster.clients.items()},
        )  # fmt: skip
        self._phase("prepare")
        broker, stream = self.experiment.broker, self.experiment.stream
        broker.prepare(cluster.clients, stream, _PREPARE_WITHIN_S)
        read_settings(broker, stream, cluster.clients, self.events)
        if self.experiment.load.consumers.dead_letter:
            broker.prepare(cluster.clients, dead_letter_stream(stream), _PREPARE_WITHIN_S)
        if isinstance(cluster.cluster, Disked):
            for disk in cluster.cluster.disks.values():
                disk.flush()  # what was just installed is on the disks of any older cluster
        group = group_name(self.number) if self.experiment.load.consumers.count else ""
        self.watch = Watch(broker.observer(cluster.clients, stream), self.events, group)
        return replace(cluster, stream=stream, look=self.watch.look)

    def _start_load(self, cluster: Cluster) -> None:
        about = assignment.for_all(self.number, self.experiment.stream.name, cluster.clients)
        write_json(self.directory / "workers.json", about)
        assert self.provision.store
        self.crew.connect(self.stop, self.provision.store.directory)
        go_ns = now_ns() + 100_000_000
        self.crew.go(go_ns)
        self.start_ns = go_ns + int(self.experiment.phases.warm_up_s * 1e9)
        self._phase("warm-up", until_ns=self.start_ns)
        self._await_service()
        self.events.add("load", what="started", time_ns=self.start_ns)

    def _await_service(self) -> None:
        """The warm-up lasts until each producer is served, now and not some time ago: nobody learns
        anything from a fault in brokers that are not up, or no more. Raises ClusterError."""
        lately_s = max(_SERVED_LATELY_S, 2 * self.experiment.load.producers.due_each_s)
        within_s = max(_SERVED_WITHIN_S, lately_s)
        self._sleep_until(self.start_ns - int(lately_s * 1e9))
        before, until_ns = self.crew.served, self.start_ns + int(within_s * 1e9)
        self._sleep_until(self.start_ns)
        while unserved := self.crew.unserved(before):
            if now_ns() > until_ns:
                raise ClusterError(
                    f"the cluster acknowledged nothing to {', '.join(unserved)} within "
                    f"{within_s:g} s, so nothing was disturbed: see the logs of the run"
                )
            self._sleep_until(now_ns() + 50_000_000)
            self.start_ns = now_ns()

    def _let_faults_happen(self, cluster: Attached, store: Store) -> None:
        experiment = self.experiment
        first_s = min((step.at_s for step in experiment.faults), default=0.0)
        first_ns = self.start_ns + int(first_s * 1e9)
        end_ns = self.start_ns + int(experiment.load_end_s * 1e9)
        self._phase("baseline", until_ns=first_ns)
        lead_s = min(_LEAD_S * len(experiment.faults), first_s / 2)
        self._sleep_until(first_ns - int(lead_s * 1e9))
        schedule = Schedule(experiment, self.events, UndoLog(store.undo_path))
        cluster = replace(cluster, ended=schedule.over, workers=clients_of(self.crew))
        schedule.plan(Rig(cluster, experiment, cluster.look(), Random(experiment.seed)))
        self.schedule = schedule
        schedule.start(cluster, self.start_ns)
        self._sleep_until(first_ns)
        settle_ns = int(experiment.phases.settle_s * 1e9)
        self._phase("faults", until_ns=end_ns - settle_ns)
        while not schedule.timed_over():
            self._sleep_until(now_ns() + 50_000_000)
        # A heal may have taken longer than planned: the time to settle counts from its end.
        self.load_end_ns = max(end_ns, now_ns() + settle_ns) if experiment.faults else end_ns
        self._phase("settle", until_ns=self.load_end_ns)
        self._sleep_until(self.load_end_ns)

    def _finish_load(self, cluster: Attached) -> None:
        """Stop sending, read everything back, wait until consumers have seen all of it."""
        self._phase("drain")
        self._record_load_end(self.load_end_ns)
        self._heal()
        self._attempt(lambda: self._await_whole(cluster))
        self.crew.stop_producers(self.load_end_ns, _PRODUCERS_END_WITHIN_S, self.stop)
        if self._keeps:
            self._phase("read-back")
            goal = self._read_back()
            self._phase("drain")
            self._drain(drain.reached(self.crew, goal))
            self.crew.stop_consumers(_CONSUMERS_END_WITHIN_S, self.stop)
        else:
            assert self.watch
            self._drain(drain.Emptied(self.crew, self.directory, self.watch))
            self.crew.stop_consumers(_CONSUMERS_END_WITHIN_S, self.stop)
            self._phase("read-back")
            self._read_back()
        # From here on the record is whole, whatever becomes of this process.
        self._phase("clean-up")

    def _await_whole(self, cluster: Attached) -> None:
        """Wait until all nodes serve and all replicas are in sync again. Raises ClusterError.

        A process that was started again may still end for good; and what a partition holds can only
        be told when no replica holds back its high watermark.
        """
        missing = "nothing was seen yet"

        def whole() -> bool:
            nonlocal missing
            missing = cluster.missing()
            return not missing

        try:
            wait_until(whole, "the healed cluster to be whole", _WHOLE_WITHIN_S, stop=self.stop)
        except DeadlineExceeded as error:
            raise ClusterError(f"{error}: {missing}") from error

    def _record_load_end(self, end_ns: int) -> None:
        load = self.experiment.load.producers
        due = self.crew.due(self.start_ns, end_ns, load.rate / load.count)
        self.events.add("load", what="ended", time_ns=end_ns, due=due)

    def _read_back(self) -> dict[str, int]:
        """The highest stored offset of each partition, which consumers have to reach."""
        if hasattr(self.experiment.broker, "stored"):
            found = self.crew.read_back(_READ_BACK_WITHIN_S, self.stop)
            return dict(found.get("highest", {}))
        goal: dict[str, int] = {}
        for worker in self.crew.producers:
            for partition, offset in worker.stats.get("highest", {}).items():
                goal[partition] = max(goal.get(partition, -1), offset)
        return goal

    @property
    def _keeps(self) -> bool:
        broker = self.experiment.broker
        return not isinstance(broker, HandsOut) or broker.keeps(self.experiment.stream)

    def _drain(self, over: Callable[[], bool]) -> None:
        limit_s = self.experiment.phases.drain_s

        def tended() -> bool:
            self.crew.tend()
            return over()

        try:
            wait_until(tended, "consumers to see everything", limit_s, every_s=0.05, stop=self.stop)
        except DeadlineExceeded:
            # Not an error: what was not delivered by now is counted, as "not yet".
            self.events.add("drain", what="deadline", seconds=limit_s)

    # ---------------------------------------------------------------------------- the way out

    def _heal(self) -> None:
        if self.schedule:
            try:
                self.schedule.end()
            finally:
                self.schedule = None

    def _end_load(self) -> None:
        if self.watch:
            self.watch.end()
        self.crew.end()

    def _end_cluster(self) -> None:
        store = self.provision.store
        if store:
            try:
                store.attach().save_logs(self.directory / "logs")
            except (ChaosError, OSError) as error:
                self._note(f"broker logs are not saved: {error}")
        self.provision.end()

    def _judge(self) -> Document | None:
        self._phase("verify")
        try:
            return judge(self.directory, self.experiment.verifiers, self.experiment.caveats())
        except ChaosError as error:
            self.problems.append(error)
            return None

    def _exit_code(self, verdict: Document | None) -> int:
        """What went wrong with the run comes before what the run says; see design, exit codes."""
        codes = {error.exit_code for error in self.problems}
        if self.events.error:
            codes.add(self.events.error.exit_code)
        for code in (HealError.exit_code, ChaosError.exit_code, UsageError.exit_code):
            if code in codes:
                return code
        if self.interrupted or self.stop.is_set():
            return INTERRUPTED
        if verdict is None:
            return ClusterError.exit_code
        # A PASS of a run that could not do all its work is none.
        return verdict.exit_code or max(codes, default=0)

    def _errors(self) -> tuple[str, ...]:
        told = [str(error) for error in self.problems]
        return (*told, str(self.events.error)) if self.events.error else tuple(told)

    # ------------------------------------------------------------------------------- helpers

    def _phase(self, phase: str, **fields: int) -> None:
        self.phase = phase
        self.events.add("phase", phase=phase, **fields)

    def _note(self, text: str) -> None:
        self.events.add("note", text=text)

    def _check(self) -> None:
        if self.events.error:
            raise self.events.error
        if self.stop.is_set():
            raise Interrupted(f"the end of phase {self.phase}")

    def _sleep_until(self, time_ns: int) -> None:
        """Wait, telling the rates once a second. Raises Interrupted, HistoryError, ClusterError."""
        while (left_s := (time_ns - now_ns()) / 1e9) > 0:
            self._check()
            self.provision.guard()
            self.crew.tend()
            self.rates.tell(self.crew, self.events)
            if self.crew.producers and not self.crew.under_way:
                raise ClusterError("; ".join(self.crew.failures()) or "all producers are gone")
            self.stop.wait(min(left_s, 0.2))
        self._check()
