"""Which settings of RocketMQ are told when messages are lost."""

from __future__ import annotations

from chaos_adapters.brokers.rocketmq import Rocketmq, Topic

SAFE = {"allAckInSyncStateSet": True, "minInSyncReplicas": 2}


def test_what_is_in_memory_alone_counts_where_memories_are_lost() -> None:
    """With safe copies ASYNC_FLUSH is to blame only when all lose their memories at once, and
    never twice; SYNC_FLUSH never is."""
    safe, unsafe = Rocketmq(settings=SAFE), Rocketmq()
    flushing = Rocketmq(settings={**SAFE, "flushDiskType": "SYNC_FLUSH"})
    blamed = "flushDiskType=ASYNC_FLUSH"
    assert blamed not in {each.setting for each in safe.caveats(Topic(), {}, {})}
    assert [each.setting for each in safe.cache_caveats(Topic())] == [blamed, blamed]
    assert not flushing.cache_caveats(Topic())
    told = [*unsafe.caveats(Topic(), {}, {}), *unsafe.cache_caveats(Topic())]
    assert [each.question for each in told if each.setting == blamed] == ["loss", "divergence"]
