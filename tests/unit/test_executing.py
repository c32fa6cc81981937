"""Programs in containers, by a daemon that loses what they print."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos_adapters.runtimes import executing
from chaos_adapters.runtimes.executing import run_in


class Container:
    """Runs programs on this machine. Of the first `lost` of them the daemon loses the output, of
    the next `cut` it loses the end, and the next `garbled` it tells while they run, in frames of no
    stream."""

    name = "c"

    def __init__(self, lost: int = 0, cut: int = 0, garbled: int = 0) -> None:
        self.lost, self.cut, self.garbled, self.runs = lost, cut, garbled, 0

    def exec_run(
        self, argv: Sequence[str], demux: bool, environment: Mapping[str, str]
    ) -> SimpleNamespace:
        assert demux
        self.runs += 1
        env = {"PATH": "/usr/bin:/bin", **environment}
        if self.lost + self.cut < self.runs <= self.lost + self.cut + self.garbled:
            subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            raise ValueError("57 is not a valid stream")
        done = subprocess.run(argv, env=env, capture_output=True, check=False)
        out: bytes | None = done.stdout
        if self.runs <= self.lost:
            out = None
        elif self.runs <= self.lost + self.cut:
            out = done.stdout[:3]
        return SimpleNamespace(exit_code=done.returncode, output=(out, done.stderr or None))


def ran(container: Any, *argv: str, stdin: str = "", timeout_s: float = 10) -> str:
    return run_in(container, argv, timeout_s, stdin)


def test_output_is_whole_and_input_arrives_as_it_is() -> None:
    """No shell sees either."""
    text = "a 'b' \"c\" $HOME `id`\n%s \\n"
    assert ran(Container(), "cat", stdin=text) == text
    assert ran(Container(), "printf", "%s", text) == text
    assert ran(Container(), "true") == ""
    assert len(ran(Container(), "head", "-c", "300000", "/dev/zero")) == 300_000


@pytest.mark.parametrize(
    "daemon",
    [{"lost": 1}, {"lost": 3}, {"cut": 2}, {"lost": 1, "cut": 3}, {"lost": 1, "garbled": 2}],
)
def test_what_the_daemon_lost_is_read_again_and_the_program_runs_once(
    daemon: dict[str, int], tmp_path: Path
) -> None:
    """A program with an effect must not be run twice for its output."""
    container, trace = Container(**daemon), tmp_path / "trace"
    assert ran(container, "sh", "-c", f"echo x >> {trace}; echo told") == "told\n"
    assert trace.read_text() == "x\n"
    assert container.runs == 1 + sum(daemon.values())


def test_lost_for_good_is_told_and_is_not_taken_for_nothing() -> None:
    """An empty answer would read as "there are no rules"."""
    for daemon in ({"lost": 100}, {"garbled": 100}):
        with pytest.raises(ClusterError, match=r"^echo in c was run, but Docker lost"):
            ran(Container(**daemon), "echo", "there", timeout_s=0.3)


def test_a_garbled_answer_is_waited_for_with_its_exit_code(tmp_path: Path) -> None:
    """The SDK raises ValueError for a frame of no stream, while the program still runs."""
    container, trace = Container(garbled=1), tmp_path / "trace"
    slow = f"sleep 0.4; echo x >> {trace}; echo told"
    assert ran(container, "sh", "-c", slow) == "told\n"
    assert trace.read_text() == "x\n"
    with pytest.raises(ClusterError, match=r"^sh in c ended with 3: said$"):
        ran(Container(garbled=1), "sh", "-c", "printf said; exit 3")


def test_what_an_earlier_call_kept_is_not_taken_for_this_ones(monkeypatch: Any) -> None:
    """The files are used again: what is in one before its program has begun is another's."""
    monkeypatch.setattr(executing, "_MOST_KEPT", 1)
    ran(Container(), "echo", "old")

    class Late(Container):
        def exec_run(self, argv: Sequence[str], **how: Any) -> SimpleNamespace:
            if self.runs == 0:
                self.runs += 1
                raise ValueError("57 is not a valid stream")
            return super().exec_run(argv, **how)

    with pytest.raises(ClusterError, match="Docker lost"):
        ran(Late(), "echo", "new", timeout_s=0.1)


def test_a_program_that_fails_or_hangs_is_told() -> None:
    """By its own words where it has some, and at its deadline it is ended."""
    with pytest.raises(ClusterError, match=r"^ls in c ended with 2: .*nobody"):
        ran(Container(), "ls", "/nobody")
    with pytest.raises(ClusterError, match=r"^sh in c ended with 3: said$"):
        ran(Container(), "sh", "-c", "printf said; exit 3")
    with pytest.raises(DeadlineExceeded, match=r"^sleep in c: not within 0.2 s"):
        ran(Container(), "sleep", "60", timeout_s=0.2)


def test_more_input_than_linux_takes_is_told_with_its_size() -> None:
    """Bytes, not characters; whoever runs nothing has not run the program by halves."""
    most = 120 << 10
    assert len(ran(Container(), "cat", stdin="x" * most)) == most
    container = Container()
    with pytest.raises(ClusterError, match=rf"^cat in c: {most + 2} bytes to read, .* {most} only"):
        ran(container, "cat", stdin="x" * most + "é")
    assert container.runs == 0


@pytest.mark.parametrize("signal", [9, 15])
def test_a_program_that_somebody_kills_is_not_late(signal: int) -> None:
    """Whoever reads of a deadline looks for what is slow. After it the same code tells of that:
    BusyBox's `timeout` has no other."""
    with pytest.raises(ClusterError, match=rf"^sh in c was killed by signal {signal}: ") as told:
        ran(Container(), "sh", "-c", f"kill -{signal} $$")
    assert not isinstance(told.value, DeadlineExceeded)
    with pytest.raises(DeadlineExceeded, match=r"^sh in c: not within 0 s"):
        ran(Container(), "sh", "-c", f"kill -{signal} $$", timeout_s=0)  # none for `timeout`
