"""The process that heals when the tool is dead."""

from __future__ import annotations

import signal
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


STAYED = """
import os, subprocess
from chaos.reaper import stay
stay()
for signal in ("TERM", "INT", "HUP"):
    os.kill(os.getpid(), getattr(__import__("signal"), f"SIG{signal}"))
    ended = subprocess.run(["sh", "-c", f"kill -{signal} $$; echo it went on"])
    print(signal, -ended.returncode, flush=True)
"""


def test_whom_it_starts_can_be_told_to_end() -> None:
    """Signals do not end it, and it does not hand that down. Seen with Kafka: brokers that a heal
    had started took no SIGTERM, and every later stop of them lasted 30 s and was a kill."""
    run = [sys.executable, "-c", STAYED]
    # nohup and a shell's background would be inherited in the same way.
    told = subprocess.run(
        run, capture_output=True, text=True, check=True, preexec_fn=as_usual
    ).stdout  # fmt: skip
    assert told.split() == ["TERM", "15", "INT", "2", "HUP", "1"]


def as_usual() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


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
