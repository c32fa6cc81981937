"""What RocketMQ's brokers wrote."""

from __future__ import annotations

from tests.e2e.kafka_logs import lines
from tests.e2e.tools import Ran

_WAITED = r"join thread\[ReputMessageService\], elapsed time: 9\d{4}ms"


def passed(ran: Ran) -> None:
    """PASS; or FAIL for want of service alone, in a run in which a slave had to cut back its log
    and waited 90 s for a loop that does not end (docs/rocketmq.md: a bug of 5.3.2 and 5.3.3)."""
    if ran.code != 0:
        failed = {each["name"] for each in ran.verdict["questions"] if each["verdict"] == "FAIL"}
        assert (ran.code, failed) == (1, {"failover"}), ran.output
        assert _waited_for_the_loop(ran), ran.output


def _waited_for_the_loop(ran: Ran) -> bool:
    """In this run: the log of a kept cluster tells of earlier ones, too."""
    first, *_ = ran.events("phase")
    waited = lines(ran.directory, _WAITED, "rocketmq")
    return any(at_ms > first["time_ns"] / 1e6 for at_ms, _ in waited)
