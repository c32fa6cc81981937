"""Who of a consumer group gets what of one node's partitions of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class Group:
    """Each partition belongs to one member at a time, which gets what comes after the settled.

    Nodes do not talk to each other: they agree because each goes by the sorted names of members and
    the number of the partition. A partition changes hands when its owner is gone, or has settled
    all that it got.
    """

    def __init__(self, partitions: Iterable[int]) -> None:
        self.settled = dict.fromkeys(partitions, 0)
        self._next = dict(self.settled)
        self._sent = dict(self.settled)
        self._owner: dict[int, str] = {}
        self._members: set[str] = set()

    def join(self, member: str) -> None:
        """Add a member; one that was there already starts anew, from what is settled."""
        self._members.discard(member)
        self._assign()
        self._members.add(member)
        self._assign()

    def leave(self, member: str) -> None:
        """Take a member out."""
        self._members.discard(member)
        self._assign()

    def settle(self, offsets: Iterable[tuple[int, int]]) -> None:
        """Everything before these offsets is done with. Raises KeyError on a foreign partition."""
        for partition, offset in offsets:
            self.settled[partition] = max(offset, self.settled[partition])
            self._next[partition] = max(offset, self._next[partition])
        self._assign()

    def all_sent(self, partition: int, end: int) -> None:
        """Whatever there is now may have been delivered by the life before this one."""
        self._sent[partition] = max(end, self._sent[partition])

    def take(
        self, member: str, logs: Mapping[int, Sequence[bytes]], most: int, most_bytes: int
    ) -> list[tuple[int, int, bool]]:
        """The next (partition, offset, whether it may have been delivered before) for a member."""
        taken: list[tuple[int, int, bool]] = []
        for partition, owner in self._owner.items():
            if owner != member or self._heir(partition) != member:
                continue
            while self._next[partition] < len(logs[partition]) and most > 0 and most_bytes > 0:
                offset = self._next[partition]
                taken.append((partition, offset, offset < self._sent[partition]))
                self._next[partition] = offset + 1
                self._sent[partition] = max(offset + 1, self._sent[partition])
                most, most_bytes = most - 1, most_bytes - len(logs[partition][offset])
        return taken

    def _heir(self, partition: int) -> str:
        return sorted(self._members)[partition % len(self._members)]

    def _assign(self) -> None:
        for partition, settled in self.settled.items():
            if self._owner.get(partition) not in self._members:
                self._owner.pop(partition, None)
                self._next[partition] = settled
            if self._members and (partition not in self._owner or self._next[partition] == settled):
                self._owner[partition] = self._heir(partition)
