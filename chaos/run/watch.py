"""Watches the cluster from outside during a run and writes down whenever something changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from chaos.errors import ClusterError
from chaos.history.events import EventLog
from chaos.spi import Group, Observer, ObservesGroups, Paced, View
from chaos.timing import now_ns

_EVERY_S = 0.03
"""Between the starts of two looks, unless the observer is Paced. A change is dated to this and the
time of a look; what it costs is measured by `benchmarks/observer.py`."""
_GROUP_EVERY_S = 1.0
_ANSWER_WITHIN_S = 2.0
_STARVED_EVERY_S, _STARVED_S = 0.25, 2.0


class Watch:
    """Threads that look many times a second: one at the cluster, one at the machine, one at the
    consumers' `group`, which may have to wait for a broker that does not answer."""

    def __init__(self, observer: Observer, events: EventLog, group: str = "") -> None:
        self._observer, self._events = observer, events
        self._last, self._looked_ns = View(), now_ns()
        self._lock, self._end = threading.Lock(), threading.Event()
        every_s = observer.every_s if isinstance(observer, Paced) else _EVERY_S
        self._threads = [
            self._start(self.look, every_s, "watch"),
            self._start(_Starved(events), _STARVED_EVERY_S, "watch-machine"),
        ]
        self._group: _GroupLook | None = None
        if group and isinstance(observer, ObservesGroups):
            self._group = _GroupLook(observer, events, group)
            self._threads.append(self._start(self._group, _GROUP_EVERY_S, "watch-group"))

    @property
    def backlog(self) -> int | None:
        """What the group had not settled when it was looked at last; None: nobody knows."""
        last = self._group.last if self._group else None
        return sum(last.lag.values()) if last and last.lag else None

    def look(self) -> View:
        """The state right now. Raises ClusterError when the cluster does not answer."""
        with self._lock:
            asked_ns = now_ns()
            view = self._observer.observe(_ANSWER_WITHIN_S)
            if view != self._last:
                self._last = view
                # What the last look found may have been so at its start only.
                self._events.add("view", since_ns=self._looked_ns, **asdict(view))
            self._looked_ns = asked_ns
        return view

    def end(self) -> None:
        """Stop looking."""
        self._end.set()
        for thread in self._threads:
            thread.join(4 * _ANSWER_WITHIN_S)
        self._observer.close()

    def _start(self, look: Callable[[], object], every_s: float, name: str) -> threading.Thread:
        arguments = (look, every_s)
        thread = threading.Thread(target=self._run, args=arguments, daemon=True, name=name)
        thread.start()
        return thread

    def _run(self, look: Callable[[], object], every_s: float) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            # Looks that were missed are not made up for.
            due = max(due + every_s, time.monotonic())
            try:
                look()
            except ClusterError:
                continue  # nobody answers: what was seen last stands until somebody does


class _GroupLook:
    """Looks at a consumer group, and tells when it is not as it was."""

    def __init__(self, observer: ObservesGroups, events: EventLog, name: str) -> None:
        self._observer, self._events, self._name = observer, events, name
        self.last: Group | None = None
        self._looked_ns = now_ns()

    def __call__(self) -> None:
        asked_ns = now_ns()
        group = self._observer.group(self._name, _ANSWER_WITHIN_S)
        if group != self.last:
            self.last = group
            self._events.add("group", since_ns=self._looked_ns, **asdict(group))
        self._looked_ns = asked_ns


class _Starved:
    """Tells when the run itself got no processor: what it measured meanwhile says more of the
    machine than of the brokers."""

    def __init__(self, events: EventLog) -> None:
        self._events, self._looked_s = events, time.monotonic()

    def __call__(self) -> None:
        now_s = time.monotonic()
        late_s, self._looked_s = now_s - self._looked_s - _STARVED_EVERY_S, now_s
        if late_s >= _STARVED_S:
            self._events.add("note", text=f"this machine gave the run no time for {late_s:.1f} s")
