"""Runs one command of these modules."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from chaos_adapters.runtimes.work import breaks, clocks, disks, loops, memory, rates, space

COMMANDS: Mapping[str, Callable[..., Any]] = {
    command.__name__: command
    for command in (
        disks.make, disks.detach, loops.attached, loops.check,
        space.space, space.fill, space.clear, space.leftovers, space.write, space.corrupt,
        rates.flush, rates.limit, rates.limits, rates.unlimit, rates.pace, rates.sync,
        memory.lift_memory_limit, memory.use_up_memory,
        clocks.set_clock, clocks.right_clock,
        breaks.lose_power, breaks.survived, breaks.fail, breaks.failed, breaks.release,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](**json.loads(sys.argv[2]))))  # noqa: T201 - its answer
