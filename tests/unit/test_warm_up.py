"""How long a warm-up waits for producers that are seldom served."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chaos.errors import ClusterError
from chaos.experiment import Producers
from chaos.load.workers import Crew
from chaos.run import engine
from chaos.spi import Transactions


class Clock:
    """Time goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep_until(self, time_ns: int) -> None:
        self.ns = max(self.ns, time_ns)


class Served:
    """One producer, for which the cluster does something each `every_s`, until `end_s`."""

    def __init__(self, clock: Clock, every_s: float, end_s: float) -> None:
        self._clock, self._every_s, self._end_s = clock, every_s, end_s

    @property
    def served(self) -> dict[str, int]:
        return {"producer-0": int(min(self._clock.ns / 1e9, self._end_s) / self._every_s)}

    unserved = Crew.unserved


SELDOM = [
    (Producers(rate=1000), 0.001),
    (Producers(rate=1 / 60), 60.0),
    (Producers(count=3, rate=1 / 60), 180.0),
    (Producers(rate=100, transactions=Transactions(messages=1000)), 10.0),
    (Producers(rate=100, transactions=Transactions(messages=10_000)), 100.0),
]


def warmed_up(
    monkeypatch: pytest.MonkeyPatch, load: Producers, every_s: float, warm_up_s: float, end_s: float
) -> float:
    """When the load counts as started."""
    clock = Clock()
    monkeypatch.setattr(engine, "now_ns", clock.now_ns)
    run = SimpleNamespace(
        experiment=SimpleNamespace(load=SimpleNamespace(producers=load)),
        crew=Served(clock, every_s, end_s),
        start_ns=int(warm_up_s * 1e9),
        _sleep_until=clock.sleep_until,
    )
    engine._Run._await_service(run)  # type: ignore[arg-type]
    return run.start_ns / 1e9


@pytest.mark.parametrize(("load", "every_s"), SELDOM)
def test_who_is_seldom_served_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch, load: Producers, every_s: float
) -> None:
    """A message a minute each, or whole transactions: nothing is acknowledged for a long time."""
    long_s, short_s = 10 * every_s + 5.5, 0.25 * every_s
    assert warmed_up(monkeypatch, load, every_s, long_s, 1e9) == long_s
    begun_s = warmed_up(monkeypatch, load, every_s, short_s, 1e9)
    assert begun_s == pytest.approx(every_s, abs=0.1)


@pytest.mark.parametrize(("load", "every_s"), SELDOM)
def test_who_is_served_no_more_is_not_disturbed(
    monkeypatch: pytest.MonkeyPatch, load: Producers, every_s: float
) -> None:
    """For long enough that something was due."""
    with pytest.raises(ClusterError, match="acknowledged nothing to producer-0 within"):
        warmed_up(monkeypatch, load, every_s, 10 * every_s + 5.5, 7.5 * every_s)
