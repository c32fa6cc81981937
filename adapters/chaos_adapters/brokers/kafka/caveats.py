"""Under which settings Kafka does not promise what users want.

Sources: Kafka documentation, "Producer configs" (acks, enable.idempotence), "Topic configs"
(min.insync.replicas, unclean.leader.election.enable, flush.messages), "Replicated logs: quorums,
ISRs, and state machines"; librdkafka, CONFIGURATION.md and INTRODUCTION.md, "Idempotent producer".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chaos.spi import Caveat, Settings

if TYPE_CHECKING:
    from chaos_adapters.brokers.kafka import Kafka, Topic

_IN_FLIGHT = (
    "max.in.flight.requests.per.connection", "max.in.flight",
)  # fmt: skip
_NEVER = 2**63 - 1  # Kafka's default of flush.messages
_RETRIES = ("message.send.max.retries", "retries")


def caveats(
    broker: Kafka, stream: Topic, producer: Settings, consumer: Settings
) -> Sequence[Caveat]:
    """All that hold, most telling first."""
    topic = {**broker.settings, **stream.settings}
    loss = list(_loss(stream, topic, producer))
    return [
        *loss,
        *_divergence(loss),
        *_duplication(producer),
        *_ordering(producer),
        *_skipping(consumer),
        *_unsure(consumer),
    ]


def _loss(stream: Topic, topic: Settings, producer: Settings) -> Iterator[Caveat]:
    acks = str(producer.get("acks", producer.get("request.required.acks", "all")))
    if acks not in ("all", "-1"):
        why = {"0": "the broker never confirms a message"}.get(
            acks, "the leader alone confirms, so its death loses what followers lack"
        )
        yield Caveat("loss", f"acks={acks}", why)
    least = int(topic.get("min.insync.replicas", 1))
    if least < 2:
        why = "the in-sync set may shrink to the leader alone, which then confirms alone"
        yield Caveat("loss", f"min.insync.replicas={least}", why)
    if stream.replicas < 2:
        yield Caveat("loss", f"replicas={stream.replicas}", "there is no second copy")
    if str(topic.get("unclean.leader.election.enable", "false")).lower() == "true":
        why = "a replica that lacks confirmed messages may become leader"
        yield Caveat("loss", "unclean.leader.election.enable=true", why)


def cache_caveats(broker: Kafka, stream: Topic) -> Sequence[Caveat]:
    """Whether replicas may confirm what no disk has yet."""
    by_default = broker.settings.get("log.flush.interval.messages", _NEVER)
    messages = int(stream.settings.get("flush.messages", by_default))
    if messages == 1:
        return ()
    setting = f"flush.messages={'default' if messages == _NEVER else messages}"
    why = "replicas confirm what is in their memory, and all of them may lose that at once"
    return [Caveat(question, setting, why) for question in ("loss", "divergence")]


def _divergence(loss: Sequence[Caveat]) -> Iterator[Caveat]:
    """What was confirmed too early is cut off, and another message is confirmed in its place."""
    for caveat in loss:
        if not caveat.setting.startswith("replicas="):
            yield Caveat("divergence", caveat.setting, caveat.why)


def _idempotent(producer: Settings) -> bool:
    return str(producer.get("enable.idempotence", "false")).lower() == "true"


def _duplication(producer: Settings) -> Iterator[Caveat]:
    if not _idempotent(producer):
        why = "a retry after a lost acknowledgement stores the message again"
        yield Caveat("duplication", "enable.idempotence=false", why)


def _ordering(producer: Settings) -> Iterator[Caveat]:
    """With one request at a time, or without a second try, nothing can overtake."""
    if _idempotent(producer):
        return
    most = _last(producer, _IN_FLIGHT, 1_000_000)
    if int(most) > 1 and int(_last(producer, _RETRIES, 2_147_483_647)) > 0:
        why = "a batch that is tried again is stored behind those that were sent after it"
        yield Caveat("ordering", f"enable.idempotence=false, {_IN_FLIGHT[0]}={most}", why)


def _last(settings: Settings, names: Sequence[str], default: int) -> str | int | float | bool:
    """The value of a setting that has several names: the one that was set last counts."""
    given = [value for name, value in settings.items() if name in names]
    return given[-1] if given else default


def _skipping(consumer: Settings) -> Iterator[Caveat]:
    if str(consumer.get("auto.offset.reset", "earliest")).lower() in ("latest", "largest", "end"):
        why = "a consumer whose offset is not known skips what came before"
        yield Caveat("loss", "auto.offset.reset=latest", why)


def _unsure(consumer: Settings) -> Iterator[Caveat]:
    if str(consumer.get("isolation.level", "read_committed")).lower() == "read_uncommitted":
        why = "a consumer gets messages of transactions that are rolled back later"
        yield Caveat("phantoms", "isolation.level=read_uncommitted", why)
