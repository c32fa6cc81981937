"""One clock, and waits that end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from chaos import timing
from chaos.errors import ClusterError, DeadlineExceeded
from chaos.timing import Interrupted, clock_environment, now_ns, wait_until


def test_the_clock_advances_with_the_monotonic_one_and_reads_like_the_wall_clock() -> None:
    """A step of the wall clock cannot reorder a history; times are still times of day."""
    assert abs(now_ns() - time.time_ns()) < 60e9
    offset_ns = now_ns() - time.monotonic_ns()
    later_ns = now_ns() - time.monotonic_ns()
    assert abs(offset_ns - later_ns) < 1e6 * 50


def test_a_step_of_the_wall_clock_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back, and the next moment is still later."""
    before = now_ns()
    real = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real - 3_600_000_000_000)
    assert 0 <= now_ns() - before < 1e9


def test_a_child_process_shares_the_clock() -> None:
    """Its offset is the parent's to the nanosecond, however late it was started."""
    code = "from chaos import timing; print(timing._offset_ns)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), **clock_environment()},
    )  # fmt: skip
    assert int(done.stdout) == timing._offset_ns


def test_a_wait_gives_what_was_found_and_looks_at_least_once() -> None:
    """Even without any time at all, what is there is seen."""
    assert wait_until(lambda: "there", "it", 0) == "there"
    looks = iter([None, 0, "", "there"])
    assert wait_until(lambda: next(looks), "it", 10, every_s=0.001) == "there"


def test_a_wait_ends_in_time_with_the_name_of_what_it_waited_for() -> None:
    """Its error is a ClusterError that tells what and how long."""
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"the leader: not within 0\.05 s") as caught:
        wait_until(lambda: None, "the leader", 0.05, every_s=10)
    assert time.monotonic() - started < 5
    assert isinstance(caught.value, ClusterError)
    assert (caught.value.what, caught.value.timeout_s) == ("the leader", 0.05)


def test_a_wait_looks_once_more_at_its_end() -> None:
    """What comes up during the last pause is found: the last look is after the deadline."""
    started = time.monotonic()
    found = wait_until(lambda: time.monotonic() - started > 0.04 or None, "it", 0.05, every_s=10)
    assert found


def test_stop_ends_a_wait_at_once() -> None:
    """Ctrl-C is not kept waiting for the pause or the deadline."""
    stop = threading.Event()
    looked = threading.Event()

    def look() -> None:
        looked.set()

    def stop_it() -> None:
        looked.wait(10)
        stop.set()

    stopper = threading.Thread(target=stop_it)
    stopper.start()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="the leader"):
        wait_until(look, "the leader", 60, every_s=60, stop=stop)
    stopper.join()
    assert time.monotonic() - started < 10


def test_what_the_look_raises_comes_through() -> None:
    """A cluster that is gone is not waited for."""

    def look() -> None:
        raise ClusterError("gone")

    with pytest.raises(ClusterError, match="gone"):
        wait_until(look, "it", 60)
