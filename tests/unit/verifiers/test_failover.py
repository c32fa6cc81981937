"""Failover: what clients saw of a fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Verdict
from chaos_verifiers.failover import Failover
from tests.histories import ORIGIN_NS, Copy, Fault, History, Send, answer, figure, right

ACKED = "longest without acknowledgement"


def outage(
    start_s: float,
    end_s: float | None,
    *,
    partition: int = 0,
    producer: int = 0,
    every_s: float = 0.02,
    load_s: float = 10.0,
) -> History:
    """One producer and partition, served every `every_s` but for one time. `end_s` None: for good.
    A fault is on from 0.1 s before the outage until 0.2 s after its start."""
    history = History(load_s=(0.0, load_s), faults=[Fault("f1", start_s - 0.1, start_s + 0.2)])
    for sequence in range(int(load_s / every_s)):
        due_s = sequence * every_s
        done_s = due_s + 0.001
        if due_s > start_s:
            if end_s is None:
                continue
            done_s = max(done_s, end_s)
        history.sends.append(Send(sequence, partition, sequence, due_s, done_s, producer=producer))
        history.deliveries.append(Copy(sequence, partition, sequence, done_s + 0.001, producer))
    return history


def both(a: History, b: History) -> History:
    """The clients of both in one run with the faults of the first."""
    a.sends += b.sends
    a.deliveries += b.deliveries
    return a


def test_gap_is_exact() -> None:
    """The gap is the time between the acknowledgements before and after, to the ms."""
    finding = answer(Failover(max=3.0), outage(5.0, 7.5))
    assert finding.verdict is Verdict.PASS
    assert figure(finding, ACKED) == pytest.approx(7.5 - 5.001, abs=1e-6)
    assert figure(finding, "longest without delivery") == pytest.approx(2.5, abs=0.005)
    assert figure(finding, "longest latency from due time") == pytest.approx(7.5 - 5.02, abs=1e-6)
    row = next(r for r in finding.details if r["client"] == "producer-0")
    assert (row["fault"], row["partition"], row["what"]) == ("f1", 0, "acknowledged")
    assert row["last_before_ns"] - ORIGIN_NS == 5_001_000_000
    assert row["first_after_ns"] - ORIGIN_NS == 7_500_000_000


def test_too_long_fails() -> None:
    """A gap above `max` is a FAIL."""
    assert answer(Failover(max=2.0), outage(5.0, 7.5)).verdict is Verdict.FAIL


def test_unset_threshold_only_tells() -> None:
    """Without `max` the same gap is told and passes."""
    finding = answer(Failover(), outage(5.0, 7.5))
    assert finding.verdict is Verdict.PASS
    assert figure(finding, ACKED) == pytest.approx(2.499, abs=1e-6)


def test_never_recovered() -> None:
    """A gap that was open when the load ended: FAIL once it is too long, else UNKNOWN."""
    history = outage(8.0, None)
    finding = answer(Failover(max=5.0), history)
    assert finding.verdict is Verdict.UNKNOWN
    assert next(iter(finding.details))["first_after_ns"] is None
    assert figure(finding, ACKED) == pytest.approx(10.0 - 8.001, abs=1e-6)
    assert answer(Failover(max=1.0), history).verdict is Verdict.FAIL
    assert answer(Failover(), history).verdict is Verdict.UNKNOWN


def test_lost_for_good_after_the_heal_belongs_to_the_last_fault() -> None:
    """Service that ends after a fault and never comes back is not passed over."""
    history = outage(8.0, None)
    history.faults = [Fault("f1", 4.0, 5.0)]
    assert answer(Failover(max=5.0), history).verdict is Verdict.UNKNOWN


def test_other_clients_success_does_not_end_an_outage() -> None:
    """Producer 1 is served all the time; producer 0's outage is as long as it is."""
    history = both(outage(5.0, 7.5), outage(20.0, None, producer=1))
    finding = answer(Failover(max=2.0), history)
    assert finding.verdict is Verdict.FAIL
    assert figure(finding, "longest of a partition for all clients") == 0.0
    assert {row["client"] for row in finding.details if row["what"] == "acknowledged"} == {
        "producer-0"
    }


def test_outage_of_a_partition_is_what_all_clients_share() -> None:
    """Two producers miss the partition at overlapping times: both did in the overlap."""
    history = both(outage(5.0, 7.5), outage(6.0, 8.0, producer=1))
    history.faults = [Fault("f1", 4.9, 9.0)]
    finding = answer(Failover(), history)
    assert figure(finding, "longest of a partition for all clients") == pytest.approx(
        7.5 - 6.001, abs=1e-6
    )


def test_partition_that_is_seldom_used_is_not_blamed() -> None:
    """One message a second makes gaps of a second: that is no failover."""
    history = both(outage(5.0, 5.5), outage(20.0, None, partition=1, every_s=1.0))
    finding = answer(Failover(max=0.8), history)
    assert {row["partition"] for row in finding.details} == {0}
    assert figure(finding, ACKED) == pytest.approx(0.499, abs=1e-6)


def test_baseline_already_too_slow_is_unknown() -> None:
    """What was too long before the first fault cannot be blamed on it."""
    finding = answer(Failover(max=0.5), outage(5.0, 9.0, every_s=1.0))
    assert finding.verdict is Verdict.UNKNOWN


def test_partition_moving_between_consumers_is_no_outage() -> None:
    """A rebalance hands a partition from one consumer to the other: `all` were served."""
    history = outage(9.0, 9.01)
    history.faults = [Fault("f1", 5.0, 6.0)]
    for copy in history.deliveries:
        copy.client = int(copy.received_s > 5.5)
    finding = answer(Failover(max=1.0), history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "longest without delivery") == 0.0


def test_without_a_fault() -> None:
    """There is nothing to fail over from, so a threshold cannot be judged."""
    assert answer(Failover(), right(4)).verdict is Verdict.PASS
    assert answer(Failover(max=1.0), right(4)).verdict is Verdict.UNKNOWN


def test_nothing_before_the_fault_is_unknown() -> None:
    """Without service before the fault there is no interruption to measure."""
    history = outage(5.0, 7.5)
    history.faults = [Fault("f1", -1.0, 9.0)]
    assert answer(Failover(), history).verdict is Verdict.UNKNOWN


@given(start=st.integers(20, 60), length=st.integers(6, 30), rows=st.integers(1, 400))
def test_finds_the_gap_wherever_batches_end(start: int, length: int, rows: int) -> None:
    """Batches may end anywhere: in an outage, before or after it."""
    start_s, end_s = start / 10, (start + length) / 10
    history = outage(start_s, end_s)
    last_s = max(send.done_s for send in history.sends if send.done_s < end_s)
    assert figure(answer(Failover(), history, rows), ACKED) == pytest.approx(end_s - last_s)


LATE = {"heal_s": 6.0, "undone_s": 7.4}
"""It was to end at 6 s, and had not been undone before 7.4 s."""


@pytest.mark.parametrize(
    ("limit_s", "times", "verdict"),
    [
        (2.6, LATE, Verdict.PASS),
        (1.3, LATE, Verdict.UNKNOWN),  # of 2.499 s 1.4 s are not the broker's
        (1.0, LATE, Verdict.FAIL),
        (1.3, {**LATE, "undone_s": 7.0}, Verdict.FAIL),
        (1.3, {**LATE, "heal_s": 6.9}, Verdict.FAIL),
        (1.3, {"heal_s": 6.0}, Verdict.FAIL),
    ],
)
def test_a_heal_that_took_its_time_is_not_held_against_the_broker(
    limit_s: float, times: dict[str, float], verdict: Verdict
) -> None:
    """A gap that would be within the limit without the time for which the fault was undone."""
    history = outage(5.0, 7.5)
    history.faults = [Fault("f1", 4.9, 7.6, **times)]
    finding = answer(Failover(max=limit_s), history)
    assert finding.verdict is verdict, finding.why
    assert ("1.400 s of that passed while" in finding.why) is (verdict is Verdict.UNKNOWN)
    history.faults.append(Fault("f2", 5.5, 7.6, **times))  # its time does not count twice
    assert answer(Failover(max=limit_s), history).verdict is verdict


@pytest.mark.parametrize(("end_s", "verdict"), [(5.5, Verdict.UNKNOWN), (7.0, Verdict.FAIL)])
def test_a_late_heal_does_not_hide_another_interruption(end_s: float, verdict: Verdict) -> None:
    """One that is shorter than what the late heal excuses, and too long all the same, is of the
    same client, partition and fault."""
    history = outage(5.0, end_s)
    for each in (*history.sends, *history.deliveries):
        name = "done_s" if isinstance(each, Send) else "received_s"
        if 7.5 < getattr(each, name) < 9.7:
            setattr(each, name, 9.7)
    history.faults = [Fault("f1", 4.9, 9.8, heal_s=8.0, undone_s=9.6)]
    assert answer(Failover(max=1.0), history).verdict is verdict
