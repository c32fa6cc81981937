"""One node: `python -m chaos_adapters.brokers.memory.server NODE.JSON`.

One thread and one selector, so nothing needs a lock and everything happens in the order in which
requests came in. Only the standard library is imported, which makes a node start in 0.1 s.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos_adapters.brokers.memory.follower import Follower
from chaos_adapters.brokers.memory.mischief import Mischief
from chaos_adapters.brokers.memory.store import Store, UnknownStreamError
from chaos_adapters.brokers.memory.wire import Frames, Head, pack, split

HOLD_S = 0.2
"""How long a message that is to change places waits for the next one of its partition."""

READ_SIZE = 1 << 20
ANSWER_BYTES = 4 << 20
"""About how much one answer carries."""

UNSENT_BYTES = 16 << 20
"""A client that does not read its answers is not listened to when so much waits for it."""


@dataclass(eq=False)
class Peer:
    """One connection of a client. `member` is (stream, group, member) once it joined."""

    socket: socket.socket
    frames: Frames = field(default_factory=Frames)
    unsent: bytearray = field(default_factory=bytearray)
    member: tuple[str, str, str] | None = None
    fetch: Head | None = None


@dataclass(frozen=True)
class Held:
    """A message that waits for the next one of its partition, to be stored behind it."""

    peer: Peer
    request: int
    index: int
    bodies: Sequence[bytes]
    until: float


Reply = tuple[Head, bytes]


class Server:
    """Answers requests until the process ends."""

    def __init__(
        self,
        name: str,
        listener: socket.socket,
        store: Store,
        mischief: Mischief,
        peers: Mapping[str, str],
    ) -> None:
        """`peers` are the addresses of all nodes."""
        self._nodes = peers
        self._name, self._listener = name, listener
        self._store, self._mischief = store, mischief
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._peers: set[Peer] = set()
        self._held: dict[tuple[str, int], Held] = {}
        self._taken = self._delivered = 0
        self._operations: dict[str, Callable[[Peer, Head, bytes], Reply | None]] = {
            "ping": self._ping, "create": self._create, "drop": self._drop,
            "streams": self._streams, "produce": self._produce, "read": self._read,
            "held": self._held_here, "join": self._join,
            "fetch": self._fetch, "settle": self._settle,
        }  # fmt: skip

    def serve(self) -> None:
        """Never returns."""
        for name in self._store.streams:
            self._follow(name)
        while True:
            until = min((held.until for held in self._held.values()), default=None)
            wait_s = None if until is None else max(0.0, until - time.monotonic())
            for key, mask in self._selector.select(wait_s):
                if key.data is None:
                    self._accept()
                else:
                    self._turn(key.data, mask)
            self._release(time.monotonic())

    # ------------------------------------------------------------------------- connections

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it was gone before it was accepted
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(connection)
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _turn(self, peer: Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(peer)
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = peer.socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(peer)
            return
        try:
            for head, blob in peer.frames.feed(data):
                self._handle(peer, head, blob)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Whoever sends nonsense loses its connection; the others go on.
            say(f"{self._name}: dropped a client: {error!r}")
            self._forget(peer)

    def _handle(self, peer: Peer, head: Head, blob: bytes) -> None:
        try:
            reply = self._operations[head["op"]](peer, head, blob)
        except UnknownStreamError as error:
            reply = {"error": str(error)}, b""
        if reply is not None:
            self._send(peer, pack({"id": head["id"], **reply[0]}, reply[1]))

    def _send(self, peer: Peer, frame: bytes) -> None:
        if peer in self._peers:
            peer.unsent += frame
            self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        try:
            if peer.unsent:
                del peer.unsent[: peer.socket.send(peer.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # Whatever else the client sent is still read; reading ends at its end of file.
            peer.unsent.clear()
        read = selectors.EVENT_READ if len(peer.unsent) < UNSENT_BYTES else 0
        write = selectors.EVENT_WRITE if peer.unsent else 0
        self._selector.modify(peer.socket, read | write, peer)

    def _forget(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._selector.unregister(peer.socket)
        peer.socket.close()
        self._leave(peer)

    # ---------------------------------------------------------------------- administration

    def _ping(self, _peer: Peer, _head: Head, _blob: bytes) -> Reply:
        return {"node": self._name}, b""

    def _create(self, _peer: Peer, head: Head, _blob: bytes) -> Reply:
        known = head["stream"] in self._store.streams
        stream = self._store.create(head["stream"], head["partitions"], head.get("follows", {}))
        if not known:
            self._follow(head["stream"])
        return {"messages": stream.count()}, b""

    def _follow(self, name: str) -> None:
        stream = self._store.stream(name)
        for partition, leader in stream.follows.items():
            host, _, port = self._nodes[leader].rpartition(":")
            Follower(
                (host, int(port)), name, partition, stream.copies[partition],
                self._mischief.copied, lambda: self._store.streams.get(name) is stream,
            ).start()  # fmt: skip

    def _drop(self, _peer: Peer, _head: Head, _blob: bytes) -> Reply:
        self._store.drop()
        self._held.clear()
        self._taken = self._delivered = 0
        for peer in self._peers:
            if peer.fetch:
                self._send(peer, pack({"id": peer.fetch["id"], "error": "the stream was dropped"}))
            peer.member = peer.fetch = None
        return {}, b""

    def _streams(self, _peer: Peer, _head: Head, _blob: bytes) -> Reply:
        ends = {
            name: {partition: len(log) for partition, log in stream.logs.items()}
            for name, stream in self._store.streams.items()
        }
        return {"streams": ends}, b""

    # -------------------------------------------------------------------------- messages in

    def _produce(self, peer: Peer, head: Head, blob: bytes) -> Reply:
        name, partition = head["stream"], head["partition"]
        bodies = split(blob, head["lengths"])
        first = len(self._store.stream(name).log(partition))
        if not self._mischief.on_intake:
            self._append(name, partition, bodies)
            return {"answers": list(range(first, first + len(bodies)))}, b""
        stored: list[bytes] = []
        answers: list[int | None] = []
        late: list[tuple[Held, int]] = []
        for index, body in enumerate(bodies):
            self._taken += 1
            place = first + len(stored)
            new, answer = self._mischief.intake(self._taken, body, place)
            waiting = self._held.get((name, partition))
            if new and answer == place and not waiting and self._mischief.swaps(self._taken):
                until = time.monotonic() + HOLD_S
                self._held[name, partition] = Held(peer, head["id"], index, new, until)
                answers.append(None)
                continue
            stored += new
            answers.append(answer)
            if new and waiting:
                del self._held[name, partition]
                late.append((waiting, first + len(stored)))
                stored += waiting.bodies
        self._append(name, partition, stored)
        for held, offset in late:
            self._answer(held, offset)
        return {"answers": answers}, b""

    def _append(self, name: str, partition: int, bodies: Sequence[bytes]) -> None:
        self._store.append(name, partition, bodies)
        for peer in self._peers:
            if peer.fetch and peer.member and peer.member[0] == name:
                self._deliver(peer)

    def _answer(self, held: Held, offset: int) -> None:
        answers = [None] * held.index + [offset]
        self._send(held.peer, pack({"id": held.request, "answers": answers}))

    def _release(self, now: float) -> None:
        for (name, partition), held in list(self._held.items()):
            if held.until <= now:
                del self._held[name, partition]
                offset = len(self._store.stream(name).log(partition))
                self._append(name, partition, held.bodies)
                self._answer(held, offset)

    # ------------------------------------------------------------------------- messages out

    def _read(self, _peer: Peer, head: Head, _blob: bytes) -> Reply:
        return self._part(self._store.stream(head["stream"]).log(head["partition"]), head)

    def _held_here(self, _peer: Peer, head: Head, _blob: bytes) -> Reply:
        stream = self._store.stream(head["stream"])
        return self._part(
            stream.copies.get(head["partition"]) or stream.logs.get(head["partition"], []), head
        )

    def _part(self, log: Sequence[bytes], head: Head) -> Reply:
        bodies: list[bytes] = []
        size = 0
        for body in log[head["from"] : head["from"] + head["most"]]:
            bodies.append(body)
            size += len(body)
            if size >= ANSWER_BYTES:
                break
        return {"end": len(log), "lengths": list(map(len, bodies))}, b"".join(bodies)

    def _join(self, peer: Peer, head: Head, _blob: bytes) -> Reply:
        name, group, member = head["stream"], head["group"], head["member"]
        self._store.stream(name).group(group).join(member)
        # On record, so that a restarted node knows what it may have delivered before.
        self._store.settle(name, group, ())
        for other in self._peers:
            if other.member == (name, group, member):
                other.member = other.fetch = None
        peer.member = name, group, member
        return {}, b""

    def _leave(self, peer: Peer) -> None:
        if peer.member:
            name, group, member = peer.member
            peer.member = peer.fetch = None
            self._store.stream(name).group(group).leave(member)
            self._deliver_all(name, group)

    def _fetch(self, peer: Peer, head: Head, _blob: bytes) -> Reply | None:
        if not peer.member:
            raise UnknownStreamError("fetch without join: the stream was dropped")
        peer.fetch = head
        self._deliver(peer)
        return None

    def _settle(self, peer: Peer, head: Head, _blob: bytes) -> Reply:
        if not peer.member:
            raise UnknownStreamError("settle without join: the stream was dropped")
        name, group, _ = peer.member
        self._store.settle(name, group, head["offsets"])
        self._deliver_all(name, group)
        return {}, b""

    def _deliver_all(self, name: str, group: str) -> None:
        for peer in self._peers:
            if peer.fetch and peer.member and peer.member[:2] == (name, group):
                self._deliver(peer)

    def _deliver(self, peer: Peer) -> None:
        """Answer the open fetch of a member, if there is anything for it."""
        assert peer.member
        assert peer.fetch
        name, group, member = peer.member
        stream = self._store.stream(name)
        taken = stream.group(group).take(member, stream.logs, peer.fetch["most"], ANSWER_BYTES)
        if not taken:
            return
        rows = []
        for partition, offset, redelivered in taken:
            rows.append((partition, offset, redelivered))
            self._delivered += 1
            if self._mischief.delivers_again(self._delivered):
                rows.append((partition, offset, True))
        partitions, offsets, redelivered_flags = zip(*rows, strict=True)
        bodies = [stream.logs[partition][offset] for partition, offset, _ in rows]
        head = {
            "id": peer.fetch["id"], "partitions": partitions, "offsets": offsets,
            "redelivered": redelivered_flags, "lengths": list(map(len, bodies)),
        }  # fmt: skip
        peer.fetch = None
        self._send(peer, pack(head, b"".join(bodies)))


def say(line: str) -> None:
    """Write one line to the node's log."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(config_file: str) -> None:
    """Run the node that the file describes. Ends with a message when it cannot write or listen."""
    config = json.loads(Path(config_file).read_text())
    name, (host, _, port) = config["name"], config["listen"].rpartition(":")
    try:
        data = Path(config["data_dir"])
        data.mkdir(parents=True, exist_ok=True)
        store = Store(data / "journal", config["durable"])
        listener = socket.create_server((host, int(port)), backlog=128)
        listener.setblocking(False)
        count = sum(stream.count() for stream in store.streams.values())
        say(f"{name}: listens on {host}:{port}, has {count} messages")
        mischief = Mischief(**config["mischief"])
        Server(name, listener, store, mischief, config["nodes"]).serve()
    except OSError as error:
        sys.exit(f"{name}: cannot go on: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
