"""Which messages a producer poisons: `message.poison`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from chaos.spi import Json


@dataclass
class Poison:
    """Every n-th message from number `since` on, `count` of them (0: all), becomes one of `kind`.

    It depends on the number alone, so a message that is handed over again is the same again.
    """

    producer: int
    kind: int
    every: int
    count: int
    since: int
    acked: int = 0

    def kinds(self, first: int, count: int) -> NDArray[np.uint32]:
        """The kinds of messages number `first` and following."""
        return np.where(self._hits(np.arange(first, first + count)), self.kind, 0).astype(np.uint32)

    def acknowledged(self, sequences: NDArray[np.int64]) -> None:
        """Count those that are poisoned."""
        self.acked += int(np.count_nonzero(self._hits(sequences)))

    def told(self) -> Json:
        """For the engine."""
        return asdict(self)

    def _hits(self, sequences: NDArray[np.int64]) -> NDArray[np.bool_]:
        place, rest = np.divmod(sequences - self.since, self.every)
        hit: NDArray[np.bool_] = (rest == 0) & (place >= 0)
        return hit & (place < self.count) if self.count else hit
