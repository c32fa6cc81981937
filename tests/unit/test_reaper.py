"""The process that heals when the tool is dead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chaos.clusters import create

IMPORTED = """
import sys
from pathlib import Path
from chaos.reaper import prepare
prepare(Path(sys.argv[1]))
print(*sys.modules)
"""


def test_what_a_heal_needs_is_imported_before_it_is_needed() -> None:
    """The runtime, the broker and every fault; of a cluster that is gone nothing, and no error."""
    store = create("local", {"broker": "memory"}, keep=False)
    try:
        modules = imported(store.directory)
        assert "chaos_adapters.runtimes.local" in modules
        assert "chaos_adapters.brokers.memory" in modules
        assert "chaos_adapters.faults.process_kill" in modules
    finally:
        store.remove()
    assert "chaos_adapters.runtimes.local" not in imported(store.directory)


def imported(directory: Path) -> list[str]:
    run = [sys.executable, "-c", IMPORTED, str(directory)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
