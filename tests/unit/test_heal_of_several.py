"""A node that cannot be healed keeps no other one down."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from chaos.errors import ClusterError, DeadlineExceeded, FaultError, attempt_all
from chaos.spi import Presence
from chaos_adapters.faults.clock_skew import ClockSkew
from chaos_adapters.faults.cpu_limit import CpuLimit
from chaos_adapters.faults.disk_fill import Fill
from chaos_adapters.faults.disk_power_loss import PowerLoss
from chaos_adapters.faults.disk_readonly import ReadOnly
from chaos_adapters.faults.disk_slow_sync import SlowSync
from chaos_adapters.faults.disk_throttle import Throttle
from chaos_adapters.faults.memory_alarm import Alarm
from chaos_adapters.faults.memory_exhaust import Exhaust
from chaos_adapters.faults.memory_squeeze import Squeeze
from chaos_adapters.faults.node_crash import Crash
from chaos_adapters.faults.process_kill import Kill
from chaos_adapters.faults.process_pause import Pause
from chaos_adapters.faults.process_stop import Stop
from tests.rig import FakeRig, mesh

BOTH = "fake-1,fake-3"


@pytest.mark.parametrize("fault", [
    Kill(BOTH), Stop(BOTH), Pause(BOTH), Crash(BOTH), CpuLimit(BOTH, cores=0.5), Fill(BOTH),
    SlowSync(BOTH), Throttle(BOTH), ReadOnly(BOTH), PowerLoss(BOTH), Alarm(BOTH),
    Exhaust(BOTH), Squeeze(BOTH, heap=64 << 20), ClockSkew(BOTH),
], ids=lambda fault: type(fault).__name__)  # fmt: skip
def test_the_others_are_healed_all_the_same(fault: Any) -> None:
    """Nothing can be done with the first: it stays as it is, which is told, and the second is as
    before; when the first can be healed at last, all is."""
    cluster = mesh()
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.FULL
    cluster.trouble.stuck = "fake-1"
    with pytest.raises(ClusterError, match="fake-1"):
        fault.heal(cluster, injection)
    assert not [left for left in cluster.left_on if "fake-3" in left]
    assert [left for left in cluster.left_on if "fake-1" in left]
    cluster.trouble.stuck = ""
    fault.heal(cluster, injection)
    assert cluster.left_on == []


def test_all_are_tried_and_the_first_failure_is_told() -> None:
    """Not the last one, which may be its consequence."""
    done: list[int] = []

    def act(number: int) -> None:
        done.append(number)
        if number in (2, 3):
            raise {2: FaultError, 3: DeadlineExceeded}[number](f"{number}")

    with pytest.raises(FaultError, match=r"^2$"):
        attempt_all(act, [1, 2, 3, 4])
    assert done == [1, 2, 3, 4]
    attempt_all(act, [1, 4])
