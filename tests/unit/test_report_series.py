"""Throughput and latency over time, from histories small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chaos.errors import HistoryError
from chaos.report import series
from chaos.report.series import BINS, MOST_BUCKETS, Axis, Series, bins, middles
from chaos.spi import Outcome
from tests.histories import ORIGIN_NS, Copy, History, Send, at, drop, right

SECOND = Axis(ORIGIN_NS, 1_000_000_000, 4)


def read(history: History, directory: Path, axis: Axis = SECOND) -> Series:
    story = history.story()
    load_ns = story.load_started_ns or 0, story.load_ended_ns or 0
    return series.read(history.write(directory), axis, story.due, load_ns)


def test_what_happened_stands_where_it_happened(tmp_path: Path) -> None:
    """Acknowledged, failed and delivered by their own times, due by the due time."""
    history = History(
        sends=[
            Send(0, due_s=0.1, done_s=0.2),
            Send(1, due_s=0.2, done_s=2.5),
            Send(2, due_s=0.3, done_s=1.5, outcome=Outcome.REFUSED),
            Send(3, due_s=1.1, done_s=1.9, outcome=Outcome.INDETERMINATE),
        ],
        deliveries=[Copy(0, received_s=0.3), Copy(1, received_s=3.9), Copy(1, received_s=3.9)],
        load_s=(0.0, 2.0),
        due={0: 4},
    )
    found = read(history, tmp_path / "run")
    assert found.acknowledged == [1, 0, 1, 0]
    assert found.failed == [0, 2, 0, 0]
    assert found.delivered == [1, 0, 0, 2]
    assert sum(found.due) == 4
    assert found.due[0] == 3
    assert found.outside == 0


def test_latency_counts_from_the_due_time_and_stands_there(tmp_path: Path) -> None:
    """Exact maxima, quantiles within a step, nothing where nothing was due; a message that was not
    acknowledged has no latency."""
    sends = [Send(n, due_s=0.01 * n, done_s=0.01 * n + 0.010) for n in range(99)]
    sends.append(Send(99, due_s=0.99, done_s=3.99))
    sends.append(Send(100, due_s=2.5, done_s=2.6, outcome=Outcome.REFUSED))
    found = read(History(sends=sends, load_s=(0.0, 3.0)), tmp_path / "run").sending
    assert found.max == [3.0, None, None, None]
    assert found.p50[0] == pytest.approx(0.010, rel=1 / 64)
    assert found.p99[0] == pytest.approx(0.010, rel=1 / 64)
    assert found.p50[1:] == [None, None, None]


def test_delivery_latency_is_that_of_our_intact_messages(tmp_path: Path) -> None:
    """Copies say in their header when they were due (the origin, in these histories)."""
    deliveries = [
        Copy(0, received_s=0.5),
        Copy(1, received_s=2.0, intact=False),
        Copy(-1, received_s=3.0, producer=-1),
    ]
    found = read(History(deliveries=deliveries), tmp_path / "run")
    assert found.delivery.max == [0.5, None, None, None]
    assert found.delivered == [1, 0, 0, 0]


def test_a_quantile_never_exceeds_the_maximum(tmp_path: Path) -> None:
    """Although the middle of a step may."""
    value_s = (2**20 + 1) / 1e9
    found = read(History(sends=[Send(0, due_s=0.5, done_s=0.5 + value_s)]), tmp_path / "run")
    assert found.sending.p50[0] == found.sending.p99[0] == found.sending.max[0]


def test_due_messages_without_a_record_count(tmp_path: Path) -> None:
    """In an outage they are known from the numbers around them, and behind the last record from
    how many were due in all."""
    history = right(400)
    for sequence in [*range(120, 180), *range(330, 400)]:
        drop(history.sends, sequence)
    history.due = {0: 400}
    found = read(history, tmp_path / "run")
    assert found.due == [100, 100, 100, 100]
    assert found.acknowledged == [100, 40, 100, 30]


def test_producers_and_consumers_add_up(tmp_path: Path) -> None:
    """Each has a stream of its own."""
    found = read(right(300, producers=3, partitions=2), tmp_path / "run")
    assert found.due == [300, 300, 300, 0]
    assert found.acknowledged == [300, 300, 300, 0]
    assert found.delivered == [300, 300, 300, 0]


def test_what_lies_outside_is_counted_apart(tmp_path: Path) -> None:
    """Nothing is thrown away in silence."""
    found = read(right(400), tmp_path / "run", Axis(at(1.0), 1_000_000_000, 2))
    assert found.acknowledged == [100, 100]
    assert found.outside == 400


def test_the_size_of_batches_does_not_matter(tmp_path: Path) -> None:
    """Workers write whatever they have every 200 ms."""
    history = right(400, producers=2)
    first = read(history, tmp_path / "a")
    history.write(tmp_path / "b", rows=7)
    story = history.story()
    second = series.read(tmp_path / "b", SECOND, story.due, (at(0), at(4)))
    assert first == second


def test_a_torn_stream_gives_what_is_before_its_end(tmp_path: Path) -> None:
    """The tool was killed: its report still shows the rest."""
    run = right(400).write(tmp_path / "run", rows=100)
    path = run / "history" / "producer-0.sends.arrow"
    path.write_bytes(path.read_bytes()[:-1500])
    found = series.read(run, SECOND, {}, (at(0), at(4)))
    assert 0 < sum(found.acknowledged) < 400
    assert sum(found.delivered) == 400


def test_without_a_history_there_is_nothing_to_draw(tmp_path: Path) -> None:
    """And it is said which directory is missing."""
    with pytest.raises(HistoryError, match="no such directory; is"):
        series.read(tmp_path, SECOND, {}, (0, 1))


def test_steps_cover_all_latencies() -> None:
    """Each value lies within 1.6 % of the middle of its step, from a microsecond to hours."""
    values = np.geomspace(1100, 2**43, 5000).astype(np.int64)
    found = bins(values)
    assert (np.diff(found) >= 0).all()
    assert np.abs(middles()[found] / values - 1).max() <= 1 / 64
    assert bins(np.array([0, 1, 1023])).tolist() == [0, 0, 0]
    assert bins(np.array([2**62])).tolist() == [BINS - 1]


@pytest.mark.parametrize(
    ("span_s", "width_s"), [(0.1, 0.1), (40, 0.1), (41, 0.2), (60, 0.2), (3600, 10), (86400, 300)]
)
def test_the_axis_is_round_and_fits_on_a_page(span_s: float, width_s: float) -> None:
    """From a second to a day."""
    axis = Axis.over(ORIGIN_NS, at(span_s))
    assert axis.width_ns == int(width_s * 1e9)
    assert 2 <= axis.count <= MOST_BUCKETS
    assert axis.end_ns >= at(span_s)


def test_an_axis_of_months_still_fits() -> None:
    """Of whatever width it takes."""
    axis = Axis.over(0, 10**16 * 9)
    assert axis.count <= MOST_BUCKETS
    assert axis.end_ns >= 10**16 * 9
