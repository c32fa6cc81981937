"""Recovery: when everything was as it had been before the fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Finding, Json, Verdict
from chaos_verifiers.recovery import Recovery
from tests.histories import Copy, Fault, History, Send, answer, at, figure, right

ALL = "all back after"
WHOLE, NODES = {"0": ["a", "b"]}, ["a", "b"]


def seen(time_s: float, in_sync: list[str], leader: str | None = "a", since_s: float = 0) -> Json:
    """A look at a stream of one partition and two replicas."""
    return {
        "time_ns": at(time_s), "since_ns": at(since_s or time_s - 0.25), "kind": "view",
        "leaders": {"0": leader}, "replicas": {"0": NODES}, "in_sync": {"0": in_sync},
    }  # fmt: skip


def hit(
    fault: tuple[float, float] = (10.0, 14.0),
    out_s: float = 14.0,
    *,
    slow_until_s: float = 0.0,
    behind_until_s: float = 0.0,
    load_s: float = 30.0,
    every_s: float = 0.02,
) -> History:
    """Messages are acknowledged 5 ms after they are due; none is from the fault until `out_s`, then
    all at once. Until `slow_until_s` they take 0.5 s, until `behind_until_s` none is delivered."""
    history = History(load_s=(0.0, load_s), faults=[Fault("f1", *fault)])
    for sequence in range(round(load_s / every_s)):
        due_s = sequence * every_s
        done_s = due_s + (0.5 if fault[0] < due_s < slow_until_s else 0.005)
        if fault[0] < due_s < out_s:
            done_s = max(done_s, out_s)
        received_s = done_s + 0.002
        if fault[0] < due_s < behind_until_s:
            received_s = max(received_s, behind_until_s)
        history.sends.append(Send(sequence, 0, sequence, due_s, done_s))
        history.deliveries.append(Copy(sequence, 0, sequence, received_s))
    history.sends.sort(key=lambda send: send.done_s)
    history.deliveries.sort(key=lambda copy: copy.received_s)
    return history


def after_heal(finding: Finding) -> dict[str, float | None]:
    """By what came back."""
    return {row["what"]: row["after_heal_s"] for row in finding.details}


def test_back_before_the_heal() -> None:
    """Others took over while the node was still down: 0 s after the heal, 2 s after the effect."""
    finding = answer(Recovery(max=0.5), hit(out_s=12.0))
    assert finding.verdict is Verdict.PASS
    assert figure(finding, ALL) == 0.0
    assert figure(finding, "from the effect on") == pytest.approx(2.0, abs=0.11)


def test_back_some_time_after_the_heal() -> None:
    """Service is out until 3 s after the heal: told to 0.1 s, and judged."""
    history = hit(out_s=17.0)
    finding = answer(Recovery(), history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, ALL) == pytest.approx(3.0, abs=0.11)
    assert answer(Recovery(max=3.5), history).verdict is Verdict.PASS
    assert answer(Recovery(max=2.5), history).verdict is Verdict.FAIL


def test_each_part_is_measured_on_its_own() -> None:
    """Throughput at once, latency after 2 s, backlog after 4 s, in-sync sets after 5 s."""
    history = hit(slow_until_s=16.0, behind_until_s=18.0)
    history.more_events = [
        seen(-0.5, NODES), seen(11.0, ["b"], "b"), seen(19.0, NODES, "b", since_s=18.8),
    ]  # fmt: skip
    finding = answer(Recovery(), history)
    assert after_heal(finding) == {
        "in-sync sets": pytest.approx(5.0),
        "backlog": pytest.approx(4.0, abs=0.11),
        "throughput": pytest.approx(0.0, abs=0.11),
        "latency": pytest.approx(2.0, abs=0.11),
    }
    row = next(row for row in finding.details if row["what"] == "in-sync sets")
    assert (row["back_ns"], row["within_s"]) == (at(19.0), pytest.approx(0.2))
    assert finding.why.endswith("the last was: in-sync sets.")


def test_a_dip_after_the_heal_counts() -> None:
    """It was back, but when the node rejoined it was out again: the end of that counts."""
    history = hit(out_s=12.0)
    for send in history.sends:
        if 15.0 < send.due_s < 16.0:
            send.done_s = 16.0
    assert figure(answer(Recovery(), history), ALL) == pytest.approx(2.0, abs=0.11)


def test_a_late_shrink_of_the_in_sync_set_counts() -> None:
    """The cluster notices after the heal only that a replica is behind."""
    history = hit(out_s=12.0)
    history.more_events = [seen(-0.5, NODES), seen(15.0, ["a"]), seen(21.0, NODES)]
    assert after_heal(answer(Recovery(), history))["in-sync sets"] == pytest.approx(7.0)


def test_in_sync_sets_that_flicker_are_not_back() -> None:
    """A replica that is taken in for 0.1 s every few seconds and put out again has not recovered,
    whenever the first time was."""
    flicker = [seen(t + d, s) for t in (12, 15, 18, 21) for d, s in ((0, NODES), (0.1, ["a"]))]
    history = hit(out_s=12.0)
    history.more_events = [seen(-0.5, NODES), seen(11.0, ["a"]), *flicker]
    assert after_heal(answer(Recovery(), history))["in-sync sets"] is None
    history.more_events.append(seen(24.0, NODES))
    assert after_heal(answer(Recovery(), history))["in-sync sets"] == pytest.approx(10.0)
    history.more_events.append(seen(27.5, ["a"]))
    assert after_heal(answer(Recovery(), history))["in-sync sets"] == pytest.approx(10.0)
    assert after_heal(answer(Recovery(hold=5), history))["in-sync sets"] is None


def test_no_leader_is_not_whole() -> None:
    """An in-sync set may look whole while nobody leads."""
    history = hit()
    history.more_events = [seen(-0.5, NODES), seen(11.0, NODES, None), seen(20.0, NODES)]
    assert after_heal(answer(Recovery(), history))["in-sync sets"] == pytest.approx(6.0)


def test_in_sync_sets_may_be_whole_after_the_load() -> None:
    """The watch goes on while the run drains."""
    history = hit()
    history.more_events = [seen(-0.5, NODES), seen(11.0, ["a"]), seen(33.0, NODES)]
    assert after_heal(answer(Recovery(), history))["in-sync sets"] == pytest.approx(19.0)


@pytest.mark.parametrize(("max_s", "verdict"), [
    (None, Verdict.PASS), (30.0, Verdict.UNKNOWN), (2.0, Verdict.FAIL),
])  # fmt: skip
def test_not_back_when_the_load_ended(max_s: float | None, verdict: Verdict) -> None:
    """Told; too short to tell; or surely too long, as there was time enough to show it."""
    finding = answer(Recovery(max=max_s), hit(out_s=29.5))
    assert finding.verdict is verdict
    assert figure(finding, ALL) is None
    assert "latency" in finding.why


def test_too_little_time_after_the_heal_is_unknown() -> None:
    """Back at once, but the load ended before that could hold."""
    assert answer(Recovery(max=5.0), hit(load_s=15.0)).verdict is Verdict.UNKNOWN


def test_never_healed_is_not_back() -> None:
    """There is no heal to count from."""
    history = hit(out_s=12.0)
    history.faults[0].ended_s = None
    assert answer(Recovery(max=5.0), history).verdict is Verdict.UNKNOWN


def test_without_a_fault_or_a_baseline() -> None:
    """There is nothing to measure, so a threshold cannot be judged."""
    short = hit(fault=(1.0, 5.0))
    for history in (right(400), short, History(faults=[Fault("f1", 2.0, 3.0)])):
        assert answer(Recovery(), history).verdict is Verdict.PASS
        assert answer(Recovery(max=1.0), history).verdict is Verdict.UNKNOWN


def test_two_faults_are_measured_apart_and_overlapping_ones_as_one() -> None:
    """Each until the next begins."""
    history = hit(load_s=40.0)
    history.faults.append(replace(history.faults[0], id="f2", started_s=24.0, ended_s=27.0))
    for send in history.sends:
        if 24.0 < send.due_s < 29.0:
            send.done_s = 29.0
    rows = {(r["fault"], r["what"]): r["after_heal_s"] for r in answer(Recovery(), history).details}
    assert rows["f1", "latency"] == pytest.approx(0.0, abs=0.11)
    assert rows["f2", "latency"] == pytest.approx(2.0, abs=0.11)
    history.faults[1].started_s = 13.0
    names = {row["fault"] for row in answer(Recovery(), history).details}
    assert names == {"f1, f2"}


def test_a_single_slow_message_is_no_relapse() -> None:
    """One of 100 messages of a second that takes 60 ms more is noise; so is one in the baseline."""
    history = hit(every_s=0.005)
    for send in history.sends:
        if send.sequence % 1000 == 500:
            send.done_s += 0.06
    assert figure(answer(Recovery(), history), ALL) == pytest.approx(0.0, abs=0.11)


@given(late=st.integers(1, 80), rows=st.integers(50, 1600))
def test_the_time_is_right_wherever_batches_end(late: int, rows: int) -> None:
    """To the length of a bucket, 0.1 s."""
    history = hit(out_s=14.0 + late / 10)
    measured = figure(answer(Recovery(), history, rows), ALL)
    assert measured == pytest.approx(late / 10, abs=0.11)


def test_work_from_before_the_baseline_makes_no_higher_rate() -> None:
    """What was due in the warm-up and acknowledged in the baseline is no rate that lasts."""
    history = hit(out_s=12.0)
    early = [
        Send(sequence, 0, 5000 + sequence, -1.0, 2.0) for sequence in range(2000, 2300)
    ]  # fmt: skip
    history.sends = early + history.sends
    finding = answer(Recovery(), history)
    assert figure(finding, "throughput before the first fault") == pytest.approx(50, abs=1)
    assert figure(finding, "throughput after") == 0.0


def test_acknowledgements_without_offsets_tell_of_no_backlog() -> None:
    """As of RocketMQ's transactions, whose deliveries have offsets: the rest is told as before, and
    without a search from 1970 on, for which there is no memory."""
    history = hit(out_s=17.0)
    wanted = after_heal(answer(Recovery(), history))
    wanted.pop("backlog")
    for send in history.sends:
        send.offset = -1
    assert after_heal(answer(Recovery(), history)) == wanted
