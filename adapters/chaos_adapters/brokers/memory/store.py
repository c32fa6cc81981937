"""What one node keeps: streams, their messages and what groups have settled.

Everything is in memory and, before it is acknowledged, in a journal: a file of frames, one a batch.
What was written survives the end of the process however it comes, as it is in the kernel's hands;
it is not forced to the disk, so a power loss is beyond what this broker promises.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos_adapters.brokers.memory.group import Group
from chaos_adapters.brokers.memory.wire import Frames, Head, pack, split

_NOBODY: Mapping[str, str] = {}


class UnknownStreamError(ValueError):
    """A request is about something that is not here; it is told to the client."""


class Stream:
    """A node's partitions of a stream, by number, and the groups that read them."""

    def __init__(self, partitions: Sequence[int], follows: Mapping[str, str]) -> None:
        """`follows` are the partitions to be copied, and the node that leads each."""
        self.follows = {int(partition): leader for partition, leader in follows.items()}
        self.copies: dict[int, list[bytes]] = {partition: [] for partition in self.follows}
        self.logs: dict[int, list[bytes]] = {partition: [] for partition in partitions}
        self.groups: dict[str, Group] = {}

    def log(self, partition: int) -> list[bytes]:
        """The messages of a partition; an offset is an index. Raises UnknownStreamError."""
        if partition not in self.logs:
            raise UnknownStreamError(f"partition {partition} is not on this node")
        return self.logs[partition]

    def group(self, name: str) -> Group:
        """The group with this name; a new one has settled nothing."""
        return self.groups.setdefault(name, Group(self.logs))

    def count(self) -> int:
        """How many messages are here."""
        return sum(map(len, self.logs.values()))


class Store:
    """The streams of one node. With `durable` off they are empty after a restart."""

    def __init__(self, journal: Path, durable: bool) -> None:
        self.streams: dict[str, Stream] = {}
        self._durable = durable
        self._file = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._replay(journal.read_bytes())

    def stream(self, name: str) -> Stream:
        """The stream with this name. Raises UnknownStreamError."""
        if name not in self.streams:
            raise UnknownStreamError(f"no stream {name!r}")
        return self.streams[name]

    def create(
        self, name: str, partitions: Sequence[int], follows: Mapping[str, str] = _NOBODY
    ) -> Stream:
        """Make a stream with these partitions here; nothing happens if it exists."""
        if name not in self.streams:
            about = {"op": "create", "stream": name, "partitions": partitions, "follows": follows}
            self._write(about)
            self.streams[name] = Stream(partitions, follows)
        return self.streams[name]

    def append(self, name: str, partition: int, bodies: Sequence[bytes]) -> None:
        """Store messages at the end of a partition. Raises UnknownStreamError."""
        log = self.stream(name).log(partition)
        if self._durable and bodies:
            lengths = list(map(len, bodies))
            head = {"op": "append", "stream": name, "partition": partition, "lengths": lengths}
            self._write(head, b"".join(bodies))
        log.extend(bodies)

    def settle(self, name: str, group: str, offsets: Sequence[tuple[int, int]]) -> None:
        """Remember what a group is done with, as (partition, next offset)."""
        stream = self.stream(name)
        offsets = [(number, min(next_, len(stream.log(number)))) for number, next_ in offsets]
        stream.group(group).settle(offsets)
        if self._durable:
            self._write({"op": "settle", "stream": name, "group": group, "offsets": offsets})

    def drop(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file, 0)
        self.streams.clear()

    def _write(self, head: Head, blob: bytes = b"") -> None:
        record = memoryview(pack(head, blob))
        while record:
            record = record[os.write(self._file, record) :]

    def _replay(self, journal: bytes) -> None:
        frames = Frames()
        for head, blob in frames.feed(journal):
            self._apply(head, blob)
        # A killed writer leaves the beginning of a frame, which was never acknowledged.
        os.ftruncate(self._file, len(journal) - frames.unread)
        for stream in self.streams.values():
            for group in stream.groups.values():
                for partition, log in stream.logs.items():
                    group.all_sent(partition, len(log))

    def _apply(self, head: Head, blob: bytes) -> None:
        name = head["stream"]
        if head["op"] == "create":
            self.streams[name] = Stream(head["partitions"], head.get("follows", {}))
        elif head["op"] == "append":
            self.streams[name].logs[head["partition"]].extend(split(blob, head["lengths"]))
        else:
            self.streams[name].group(head["group"]).settle(head["offsets"])
