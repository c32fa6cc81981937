"""Reserved ports: never the same one for two clusters, nothing lost for ever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chaos.errors import ClusterError
from chaos_adapters.runtimes import ports
from chaos_adapters.runtimes.ports import reserve


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of reservations of its own, over few ports."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "mqchaos-ports"


def directory(base: Path, name: str) -> Path:
    path = base / name
    path.mkdir()
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    """Only a handful of ports, all of them free now."""
    start = next(
        start for start in range(21_000, 30_000, 10)
        if all(ports._free(number) for number in range(start, start + 6))
    )  # fmt: skip
    monkeypatch.setattr(ports, "FIRST", start)
    monkeypatch.setattr(ports, "LAST", start + 6)
    return range(start, start + 6)


MANY = """
import sys, tempfile
from pathlib import Path
from chaos_adapters.runtimes import ports
from chaos_adapters.runtimes.ports import reserve
tempfile.tempdir = sys.argv[1]
ports.FIRST, ports.LAST = 24_000, 25_000
directory = Path(sys.argv[1]) / sys.argv[2]
directory.mkdir()
print("ready", flush=True)
sys.stdin.readline()
for turn in range(5):
    print(*reserve(directory, 20), flush=True)
"""


def test_processes_that_reserve_at_once_never_share_a_port(tmp_path: Path, table: Path) -> None:
    """Six processes at once, five times 20 ports each: 600 different ones out of 1000, all
    of which have to be taken over from clusters that are gone."""
    table.mkdir()
    for number in range(24_000, 25_000):
        (table / str(number)).write_text("/no/such/directory")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(tmp_path), f"cluster-{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(6)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    found = [int(number) for text in said for number in text.split()]
    assert len(found) == len(set(found)) == 600
    assert all(24_000 <= number < 25_000 for number in found)


def test_a_reservation_lasts_as_long_as_its_directory(tmp_path: Path, few: range) -> None:
    """All ports taken is an error; once a cluster's directory is gone, its ports are free."""
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    first = reserve(one, 4)
    assert set(first) < set(few)
    with pytest.raises(ClusterError, match=f"between {few[0]}"):
        reserve(two, 3)
    one.rmdir()
    two.rmdir()
    assert set(reserve(directory(tmp_path, "three"), 6)) == set(few)


def test_all_ports_can_be_reserved(tmp_path: Path, few: range) -> None:
    """The last one, too."""
    assert set(reserve(directory(tmp_path, "one"), 6)) == set(few)


def test_a_port_that_somebody_listens_on_is_not_given_away(tmp_path: Path, few: range) -> None:
    """Whoever it is; it is given away once it is free."""
    listeners = [socket.create_server(("127.0.0.1", number)) for number in few[:5]]
    assert reserve(directory(tmp_path, "one"), 1) == [few[5]]
    with pytest.raises(ClusterError):
        reserve(directory(tmp_path, "none"), 1)
    for listener in listeners:
        listener.close()
    assert set(reserve(directory(tmp_path, "two"), 5)) == set(few[:5])


@pytest.mark.parametrize("text", ["", "/no/such/directory"])
def test_a_reservation_of_nobody_is_reused(
    tmp_path: Path, table: Path, few: range, text: str
) -> None:
    """Its directory is gone, or its writer was killed before it could write whose it is."""
    reserve(directory(tmp_path, "one"), 0)
    table.mkdir(exist_ok=True)
    for number in few:
        (table / str(number)).write_text(text)
    assert set(reserve(directory(tmp_path, "two"), 6)) == set(few)


def test_ports_lie_below_those_that_kernels_give_to_outgoing_connections() -> None:
    """Nothing takes one while a killed broker is down."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 < ports.FIRST < ports.LAST <= min(first, 32_768)


def test_every_user_of_the_machine_may_reserve(tmp_path: Path, table: Path) -> None:
    """The table is writable for all, and nobody can take another's entry away (sticky bit)."""
    reserve(directory(tmp_path, "one"), 1)
    assert table.stat().st_mode & 0o7777 == 0o1777
