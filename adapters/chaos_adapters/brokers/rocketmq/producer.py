"""The producer: many sends open at once on one connection, and the place of each that was stored.

A message goes to the queue that its key chooses, so that those of one key stay in order; without a
key, queues take turns. A broker that is connected to gets nothing before it has answered a
heartbeat, as through a proxy a connection says nothing, and nothing more while it is silent.

    new ──handed over──> open ──answered OK──────────────────> acknowledged
                          │ ──stored, but flush or copy late──> WEAK
                          │ ──refused──> again, in order, until sendMsgTimeout is over: REFUSED;
                          │              after a try of unknown fate: INDETERMINATE
                          │ ──no answer in time, line lost──> INDETERMINATE, or again

In transactions what is answered OK is a half message, whose way goes on in `transactions`.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from chaos.spi import Address, Outcome, SendSink, Transactions
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.admin import servers
from chaos_adapters.brokers.rocketmq.delayed import Asked, Backlog
from chaos_adapters.brokers.rocketmq.lines import Line, wait
from chaos_adapters.brokers.rocketmq.remoting import LANGUAGE, OWN_QUEUE, VERSION, Frame, frame
from chaos_adapters.brokers.rocketmq.routes import RouteWatch
from chaos_adapters.brokers.rocketmq.settings import ProducerSettings
from chaos_adapters.brokers.rocketmq.topology import GROUP
from chaos_adapters.brokers.rocketmq.transactions import PREPARED, Half, Halves

_PAUSE_S = 0.05
"""How long a broker that refuses is left alone."""
_BEAT_S = 10.0
_SILENT_S = 3.0
"""A heartbeat without an answer is sent again, on a new connection, after so long."""
_COPIED_S = 2.9
"""A broker says OK to the end of a half message also when no slave got it in slaveTimeout, 3 s by
default (class EndTransactionProcessor): an answer after so long may mean that."""
PRODUCER_GROUP = "chaos-producers"
_BEAT, _VERDICT = "beat", "verdict"


@dataclass(slots=True)
class Send:
    """One message under way. `lost` are the tries that may have been stored or not."""

    sequence: int
    key: bytes | None
    body: bytes
    queue: int
    first_s: float
    sent_s: float = 0.0
    lost: int = 0


class Templates:
    """The headers of sends, of which only the number, the queue and the time vary."""

    def __init__(self, topic: str, settings: ProducerSettings, half: bool = False) -> None:
        self._topic, self._settings, self._half = topic, settings, half
        self._head = lru_cache(maxsize=100_000)(self._make)

    def frame(self, opaque: int, queue: int, key: bytes | None, body: bytes, born_ms: int) -> bytes:
        """SEND_MESSAGE_V2: its fields have one letter each (class SendMessageRequestHeaderV2)."""
        return frame(self._head(key) % (opaque, queue, born_ms, queue), body)

    def _make(self, key: bytes | None) -> bytes:
        properties = f"WAIT\x01{str(self._settings.waitStoreMsgOK).lower()}\x02"
        properties += f"{OWN_QUEUE}\x01@own\x02"
        if self._half:
            properties += f"TRAN_MSG\x01true\x02PGROUP\x01{PRODUCER_GROUP}\x02"
        if self._settings.delayTimeLevel:
            properties += f"DELAY\x01{self._settings.delayTimeLevel}\x02"
        if key is not None:
            properties += f"KEYS\x01{key.decode(errors='replace')}\x02"
        fields = {
            "a": PRODUCER_GROUP, "b": self._topic, "c": "TBW102", "d": "4", "e": "@queue",
            "f": str(PREPARED if self._half else 0), "g": "@born", "h": "0", "i": properties,
            "j": "0", "k": "false", "l": "0", "m": "false", "n": GROUP,
        }  # fmt: skip
        header = {
            "code": codes.SEND_MESSAGE_V2, "language": LANGUAGE, "version": VERSION,
            "opaque": "@opaque", "flag": 0, "extFields": fields,
        }  # fmt: skip
        text = json.dumps(header).encode().replace(b"%", b"%%")
        text = text.replace(b'"@opaque"', b"%d")
        for part in (b"@queue", b"@born", b"@own"):
            text = text.replace(part, b"%d")
        return text


class RemotingProducer:
    """spi.Producer."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        topic: str,
        settings: ProducerSettings,
        sink: SendSink,
        transactions: Transactions | None = None,
    ) -> None:
        self._sink, self._settings = sink, settings
        self._halves = Halves(transactions) if transactions else None
        level = settings.delayTimeLevel
        self._delayed = Backlog(level) if level else None
        self._closing = False
        self._watch = RouteWatch(servers(clients), topic, settings.pollNameServerInterval / 1e3)
        self._templates = Templates(topic, settings, half=transactions is not None)
        self._current: Line | None = None
        self._old: list[Line] = []
        self._ready, self._beat_at, self._pause_until = False, 0.0, 0.0
        self._again: list[Send] = []
        self._turn = 0
        self._busy: set[int] = set()
        self._acked: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._identity = f"chaos@{id(self)}@{now_ns()}"

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """As many as there is room for, and none while no master has answered."""
        now = time.monotonic()
        line = self._usable(now)
        if line is None or self._again:
            return 0
        room = self._settings.window - len(line.open)
        taken, parts = 0, []
        for key, body in zip(keys[: max(0, room)], bodies, strict=False):
            queue = self._queue(key)
            if self._settings.orderly and queue in self._busy:
                break
            each = Send(first + taken, key, body, queue, now)
            parts.append(self._put(line, each, now))
            taken += 1
        if parts:
            line.put(b"".join(parts))
        return taken

    def poll(self, timeout_s: float) -> None:
        """Outcomes are told from here."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._step()
            left_s = deadline - time.monotonic()
            if self._tell() or left_s <= 0:
                return
            wait(self._lines, min(left_s, self._watch.due_s(time.monotonic()), _PAUSE_S))

    def close(self, timeout_s: float) -> None:
        """Wait for open sends, for the end of what is stored, and for what is delayed."""
        deadline = time.monotonic() + timeout_s
        self._closing = True
        while (self._unsettled or self._kept_back) and time.monotonic() < deadline:
            self.poll(0.05)
        for line in self._lines:
            line.close()
        self._watch.close()

    @property
    def _lines(self) -> list[Line]:
        current = [self._current] if self._current else []
        return [*current, *self._old, self._watch.line]

    @property
    def _open(self) -> int:
        lines = [*([self._current] if self._current else []), *self._old]
        return sum(
            tag is not _BEAT and not isinstance(tag, Asked)
            for line in lines for tag in line.open.values()
        )  # fmt: skip

    @property
    def _unsettled(self) -> bool:
        return bool(self._again or self._open or (self._halves and self._halves.waiting))

    @property
    def _kept_back(self) -> bool:
        return bool(self._delayed and not self._delayed.over)

    def _queue(self, key: bytes | None) -> int:
        queues = self._watch.route.queues
        if key is None:
            self._turn += 1
            return self._turn % queues
        return crc32(key) % queues

    def _usable(self, now: float) -> Line | None:
        line = self._current
        if line is None or not line.connected or not self._ready or now < self._pause_until:
            return None
        return line

    def _put(self, line: Line, each: Send, now: float) -> bytes:
        each.sent_s = now
        self._busy.add(each.queue)
        opaque = line.next_opaque(each)
        born_ms = int(time.time() * 1e3)
        return self._templates.frame(opaque, each.queue, each.key, each.body, born_ms)

    def _step(self) -> None:
        """All that can be done now."""
        now = time.monotonic()
        if self._watch.turn(now):
            self._follow()
        for line in [*([self._current] if self._current else []), *self._old]:
            for tag, answer in line.turn():
                if tag is None:
                    self._requested(line, answer)
                else:
                    self._answered(tag, answer, now)
            for tag in line.lost():
                self._lost(tag, now, "connection lost")
            self._time_out(line, now)
        self._old = [line for line in self._old if line.open and line.connected]
        self._connect(now)
        self._send_again(now)
        self._end(now)
        at = self._usable(now)
        if self._closing and self._delayed and at and not self._unsettled:
            self._delayed.ask(at, now)

    def _follow(self) -> None:
        """The route changed: new messages go to the master that it names."""
        master = self._watch.route.master
        if master is None or (self._current and self._current.address == master):
            return
        if self._current:
            self._old.append(self._current)
        self._current, self._ready, self._beat_at = Line(master), False, 0.0

    def _connect(self, now: float) -> None:
        line = self._current
        if line is None:
            return
        if not line.connected:
            self._ready = False
            if self._watch.route.master == line.address and line.connect(now):
                self._beat(line, now)
        elif _BEAT in line.open.values():
            if now > self._beat_at + _SILENT_S and not self._ready and not self._sends(line):
                line.close()
                for tag in line.lost():
                    self._lost(tag, now, "connection lost")
        elif not self._ready or now > self._beat_at + _BEAT_S:
            self._beat(line, now)

    def _sends(self, line: Line) -> bool:
        """Whether there are any open: they are told by their own time."""
        return any(isinstance(tag, Send) for tag in line.open.values())

    def _beat(self, line: Line, now: float) -> None:
        self._beat_at = now
        body = {"clientID": self._identity, "consumerDataSet": [],
                "producerDataSet": [{"groupName": PRODUCER_GROUP}]}  # fmt: skip
        line.ask(_BEAT, codes.HEART_BEAT, {}, json.dumps(body).encode())

    def _answered(self, tag: Send | Half | Asked | str, answer: Frame, now: float) -> None:
        if tag == _BEAT:
            self._ready = True
        if isinstance(tag, Half):
            self._ended(tag, answer, now)
        if isinstance(tag, Asked) and self._delayed:
            self._delayed.answered(tag, answer)
        if not isinstance(tag, Send):
            return
        self._busy.discard(tag.queue)
        if answer.code == codes.SUCCESS and self._halves:
            self._halves.stored(tag.sequence, tag.queue, answer.fields)
            return
        if answer.code == codes.SUCCESS:
            # What is told of a delayed message is its place among all delayed ones.
            offset = -1 if self._delayed else int(answer.fields["queueOffset"])
            self._acknowledge(tag.sequence, tag.queue, offset)
            return
        outcome = codes.outcome(answer.code, answer.remark)
        reason = codes.NAMES.get(answer.code, str(answer.code))
        if outcome is Outcome.REFUSED and answer.code != codes.MESSAGE_ILLEGAL:
            self._pause_until = now + _PAUSE_S
            self._watch.hurry()
            if now < tag.first_s + self._settings.sendMsgTimeout / 1e3:
                self._again.append(tag)
                return
        self._fail(tag, outcome, reason)

    def _acknowledge(self, sequence: int, queue: int, offset: int) -> None:
        for column, value in zip(self._acked, (sequence, queue, offset), strict=True):
            column.append(value)

    def _fail(self, tag: Send, outcome: Outcome, reason: str) -> None:
        if tag.lost and outcome is Outcome.REFUSED:
            # This try was not stored, but an earlier one may have been.
            outcome = Outcome.INDETERMINATE
        if self._halves:
            self._halves.failed(tag.sequence)
        self._sink.failed(tag.sequence, tag.queue, now_ns(), outcome, reason)

    def _requested(self, line: Line, question: Frame) -> None:
        if self._halves and question.code == codes.CHECK_TRANSACTION_STATE:
            fields = self._halves.verdict(PRODUCER_GROUP, question)
            line.ask(_VERDICT, codes.END_TRANSACTION, fields)

    def _end(self, now: float) -> None:
        """Ask for the end of half messages."""
        line = self._usable(now)
        if not self._halves or line is None:
            return
        patience_s = self._settings.sendMsgTimeout / 1e3
        for half in list(self._halves.due(now, all_of_them=self._closing)):
            half.first_s = half.first_s or now
            if now >= half.first_s + patience_s:
                self._halves.waiting.remove(half)  # the broker will ask about it
                why = "not ended in time"
                self._sink.failed(half.sequence, half.queue, now_ns(), Outcome.INDETERMINATE, why)
            else:
                half.asked_s, half.ask_at = now, now + patience_s
                line.ask(half, codes.END_TRANSACTION, half.fields(PRODUCER_GROUP))

    def _ended(self, half: Half, answer: Frame, now: float) -> None:
        """A broker answers OK when the message itself is stored, or can never be."""
        if not self._halves or half not in self._halves.waiting:
            return
        if answer.code != codes.SUCCESS:
            half.ask_at = now + _PAUSE_S
            return
        self._halves.waiting.remove(half)
        if half.commit and now >= half.asked_s + _COPIED_S:
            why = "ended as late as when no slave has it"
            self._sink.failed(half.sequence, half.queue, now_ns(), Outcome.WEAK, why)
        elif half.commit:
            self._acknowledge(half.sequence, half.queue, -1)
        else:
            why = "rolled back on purpose"
            self._sink.failed(half.sequence, half.queue, now_ns(), Outcome.ABORTED, why)

    def _lost(self, tag: Send | Half | Asked | str, now: float, reason: str) -> None:
        self._watch.hurry()
        if isinstance(tag, Half):
            tag.ask_at = now
        if not isinstance(tag, Send):
            return
        self._busy.discard(tag.queue)
        tag.lost += 1
        if tag.lost <= self._settings.retryTimesWhenSendFailed:
            tag.first_s = now
            self._again.append(tag)
        else:
            self._fail(tag, Outcome.INDETERMINATE, reason)

    def _time_out(self, line: Line, now: float) -> None:
        """Sends are open in the order in which they went out."""
        late_s = now - self._settings.sendMsgTimeout / 1e3
        late = []
        for opaque, tag in line.open.items():
            if isinstance(tag, Send):
                if tag.sent_s > late_s:
                    break
                late.append(opaque)
        for opaque in late:
            self._lost(line.open.pop(opaque), now, "no answer in time")
        if late and line is self._current:
            # It gets nothing more until it answers a heartbeat.
            self._ready = False

    def _send_again(self, now: float) -> None:
        line = self._usable(now)
        if not self._again or line is None:
            return
        self._again.sort(key=lambda each: each.sequence)
        parts, left = [], deque(self._again)
        while left and len(line.open) < self._settings.window:
            if self._settings.orderly and left[0].queue in self._busy:
                break
            parts.append(self._put(line, left.popleft(), now))
        self._again = list(left)
        line.put(b"".join(parts))

    def _tell(self) -> bool:
        """Pass on what was acknowledged, dated now; whether there was any."""
        sequences, queues, offsets = self._acked
        if not sequences:
            return False
        self._acked = ([], [], [])
        self._sink.acknowledged(sequences, queues, offsets, now_ns())
        return True
