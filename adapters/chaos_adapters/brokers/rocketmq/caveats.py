"""Under which settings RocketMQ does not promise what users want.

Sources: RocketMQ 5.3.3, docs/en/controller/design.md and deploy.md ("allAckInSyncStateSet",
"minInSyncReplicas", "enableElectUncleanMaster", "inSyncReplicas"), docs/cn/best_practice.md
(SYNC_FLUSH, SYNC_MASTER, SendStatus), docs/cn/concept.md (at least once); classes CommitLog
(calcNeedAckNums), DefaultMessageStore (recoverTopicQueueTable), CompactionStore and
AutoSwitchHAClient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chaos.spi import Caveat, Settings

if TYPE_CHECKING:
    from chaos_adapters.brokers.rocketmq import Rocketmq, Topic

_ASYNC_FLUSH = "flushDiskType=ASYNC_FLUSH"
_MASTER_ALONE = (
    "the master alone has what is acknowledged on its disk: a loss of power of all copies, after "
    "which another one is elected, loses it"
)
_LOOPS = ("5.3.2", "5.3.3")
"""Whose ReputMessageService does not heed that it is to stop."""
_KEPT_H = 72
"""RocketMQ's default of `fileReservedTime`."""
_IN_MEMORY = "what is acknowledged is in memory first: a loss of power of all copies loses it"


def caveats(broker: Rocketmq, stream: Topic) -> Sequence[Caveat]:
    """What of cluster and topic weakens it, most telling first; clients have theirs, by driver."""
    both = [*_unsure(broker, stream)]
    return [
        *_loss(broker),
        *(Caveat("loss", setting, why) for setting, why in (*_deleting(broker), *both)),
        *_divergence(broker),
        *(Caveat("divergence", setting, why) for setting, why in both),
        *_failover(broker),
    ]


def cache_caveats(broker: Rocketmq) -> Sequence[Caveat]:
    """What may be in memory alone when it counts as acknowledged. One flushed copy is enough where
    its broker stays master; controllers elect whoever of the SyncStateSet is back first, and what
    slaves tell to have is in their memory."""
    if _flushes(broker):
        changes = broker.replication == "controller" and broker.replicas > 1
        about = ["loss", "divergence"] if changes else []
        return [Caveat(question, "flushDiskType=SYNC_FLUSH", _MASTER_ALONE) for question in about]
    about = ["divergence"] if any(_copies(broker)) else ["loss", "divergence"]
    return [Caveat(question, _ASYNC_FLUSH, _IN_MEMORY) for question in about]


def _flushes(broker: Rocketmq) -> bool:
    return str(broker.settings.get("flushDiskType", "ASYNC_FLUSH")) == "SYNC_FLUSH"


def _true(settings: Settings, name: str, default: bool = False) -> bool:
    return str(settings.get(name, default)).lower() == "true"


def lowers_in_sync(broker: Rocketmq) -> bool:
    """Whether a fixed master waits for fewer than `inSyncReplicas` while fewer are alive, down to
    `minInSyncReplicas` (class CommitLog, `calcNeedAckNums`)."""
    flags = ("enableSlaveActingMaster", "enableAutoInSyncReplicas")
    set_so = all(_true(broker.settings, name) for name in flags)
    return set_so and broker.replication == "SYNC_MASTER"


def _copies(broker: Rocketmq) -> Iterator[Caveat]:
    """Settings under which the master acknowledges what nobody else has."""
    settings = broker.settings
    if broker.replicas < 2:
        yield Caveat("loss", f"replicas={broker.replicas}", "there is no second copy")
    elif broker.replication == "ASYNC_MASTER":
        why = "the master acknowledges before any slave has the message"
        yield Caveat("loss", "replication=ASYNC_MASTER", why)
    elif broker.replication == "controller":
        yield from _controlled(settings)
    elif int(settings.get("inSyncReplicas", 1)) < 2:
        why = "a message counts as copied when the master alone has it"
        yield Caveat("loss", "inSyncReplicas=1", why)
    elif lowers_in_sync(broker) and int(settings.get("minInSyncReplicas", 1)) < 2:
        why = "a master without a slave that is alive acknowledges alone"
        yield Caveat("loss", "enableAutoInSyncReplicas=true, minInSyncReplicas=1", why)


def _controlled(settings: Settings) -> Iterator[Caveat]:
    if not _true(settings, "allAckInSyncStateSet"):
        acks = settings.get("inSyncReplicas", 1)
        why = (
            "not all of the SyncStateSet have what is acknowledged, and any of them may become "
            "master"
        )
        yield Caveat("loss", f"allAckInSyncStateSet=false, inSyncReplicas={acks}", why)
    least = int(settings.get("minInSyncReplicas", 1))
    if least < 2:
        why = "the SyncStateSet may shrink to the master alone, which then acknowledges alone"
        yield Caveat("loss", f"minInSyncReplicas={least}", why)


def _loss(broker: Rocketmq) -> Iterator[Caveat]:
    yield from _copies(broker)
    if _true(broker.controller_settings, "enableElectUncleanMaster"):
        why = "a broker outside the SyncStateSet, which lacks messages, may become master"
        yield Caveat("loss", "enableElectUncleanMaster=true", why)
    if not _flushes(broker) and any(_copies(broker)):
        # With safe copies only the loss of power of all of them would show it: cache_caveats.
        yield Caveat("loss", _ASYNC_FLUSH, _IN_MEMORY)


def _deleting(broker: Rocketmq) -> Iterator[tuple[str, str]]:
    """Settings, and why files of the commit log go, whether anybody has read them or not."""
    if (hours := int(broker.settings.get("fileReservedTime", _KEPT_H))) < _KEPT_H:
        yield f"fileReservedTime={hours}", "files that are that many hours old are deleted"
    if _true(broker.settings, "cleanFileForciblyEnable"):
        why = "files of any age are deleted when more than 85 % of the disk are used"
        yield "cleanFileForciblyEnable=true", why


def _unsure(broker: Rocketmq, stream: Topic) -> Iterator[tuple[str, str]]:
    """Settings, and why what is at a position may be gone, or another message be there."""
    compacts = _true(broker.settings, "enableCompaction", default=True)
    if stream.settings.get("cleanup.policy") == "COMPACTION" and compacts:
        why = "each broker drops all messages of a key but the last, whether they were read or not"
        yield "cleanup.policy=COMPACTION", why
    if broker.replication == "controller" and _true(broker.settings, "readUnCommitted"):
        why = "consumers get what not all of the SyncStateSet have, which a new master may lack"
        yield "readUnCommitted=true", why
    if _true(broker.settings, "enableBuildConsumeQueueConcurrently"):
        why = "a new master may give away numbers of messages that are on the way to their queues"
        yield "enableBuildConsumeQueueConcurrently=true", why
    if _true(broker.settings, "transientStorePoolEnable"):
        why = "what is acknowledged is in the process's own memory first, which a kill loses"
        yield "transientStorePoolEnable=true", why


def _failover(broker: Rocketmq) -> Iterator[Caveat]:
    """See docs/rocketmq.md: the two wait for each other, until the wait for a thread is over."""
    waits = broker.version in _LOOPS and broker.replication == "controller" and broker.replicas > 1
    setting = "enableBuildConsumeQueueConcurrently"
    if waits and not _true(broker.settings, setting):
        why = (
            f"a slave of {' and '.join(_LOOPS)} that has to cut back its log may wait 90 s before "
            "it is in sync again, a bug of the broker's"
        )
        yield Caveat("failover", f"{setting}=false", why)


def _divergence(broker: Rocketmq) -> Iterator[Caveat]:
    """What was acknowledged too early is cut off, and another message takes its place."""
    for caveat in _copies(broker):
        if broker.replication == "controller" and not caveat.setting.startswith("replicas="):
            yield Caveat("divergence", caveat.setting, caveat.why)
    if _true(broker.controller_settings, "enableElectUncleanMaster"):
        why = "a broker outside the SyncStateSet may become master"
        yield Caveat("divergence", "enableElectUncleanMaster=true", why)
