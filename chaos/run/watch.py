"""Watches the cluster from outside during a run and writes down whenever something changed."""

from __future__ import annotations

import threading
from dataclasses import asdict

from chaos.errors import ClusterError
from chaos.history.events import EventLog
from chaos.spi import Observer, View
from chaos.timing import now_ns

_EVERY_S = 0.25
_ANSWER_WITHIN_S = 2.0


class Watch:
    """A thread that looks several times a second."""

    def __init__(self, observer: Observer, events: EventLog) -> None:
        self._observer, self._events = observer, events
        self._last, self._looked_ns = View(), now_ns()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")
        self._thread.start()

    def look(self) -> View:
        """The state right now. Raises ClusterError when the cluster does not answer."""
        with self._lock:
            view = self._observer.observe(_ANSWER_WITHIN_S)
            self._take(view)
        return view

    def end(self) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join(2 * _ANSWER_WITHIN_S)
        self._observer.close()

    def _run(self) -> None:
        while not self._end.wait(_EVERY_S):
            try:
                self.look()
            except ClusterError:
                continue  # nobody answers: the last view stands until somebody does

    def _take(self, view: View) -> None:
        looked_ns = now_ns()
        if view != self._last:
            self._last = view
            self._events.add("view", time_ns=looked_ns, since_ns=self._looked_ns, **asdict(view))
        self._looked_ns = looked_ns
