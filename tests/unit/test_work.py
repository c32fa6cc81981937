"""What the agent does to disks, on a kernel of plain files."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from chaos_adapters.runtimes.work import (
    breaks,
    clocks,
    groups,
    loops,
    memory,
    orphans,
    rates,
    space,
)

BROKER = "b" * 64
DEVICE, NUMBER = "/dev/loop3", "7:3"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of version 1 with a broker's, and two loop devices."""
    cgroup, system = tmp_path / "cgroup", tmp_path / "sys"
    for group in ("", f"docker/{BROKER}", "docker/other"):
        (cgroup / "blkio" / group).mkdir(parents=True, exist_ok=True)
        for what in rates.WHATS:
            (cgroup / "blkio" / group / f"blkio.throttle.{what}_device").write_text("")
    bdi = system / "class" / "bdi" / NUMBER
    bdi.mkdir(parents=True)
    (bdi / "strict_limit").write_text("0\n")
    (bdi / "max_ratio").write_text("100\n")
    (bdi / "max_bytes").write_text("4607692800\n")
    for number, image in ((3, "/disks/mqchaos-ab12-kafka-1.img"), (4, "/x/else.img (deleted)")):
        loop = system / "block" / f"loop{number}" / "loop"
        loop.mkdir(parents=True)
        (loop / "backing_file").write_text(f"{image}\n")
    for module, name, value in (
        (groups, "CGROUP", cgroup), (memory, "CGROUP", cgroup),
        (rates, "CGROUP", cgroup), (rates, "SYS", system),
        (loops, "SYS", system), (breaks, "SYS", system), (breaks, "RUN", tmp_path),
        (orphans, "PROC", tmp_path / "proc"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    return tmp_path


def test_devices_are_found_by_what_their_images_are_called(kernel: Path) -> None:
    """By the cluster's id, so a crash at any moment hides none, and nobody else's is taken."""
    assert loops.attached("mqchaos-ab12-") == {DEVICE: "mqchaos-ab12-kafka-1.img"}
    assert loops.attached("mqchaos-ab1-") == {}
    assert loops.attached("else") == {"/dev/loop4": "else.img"}


def test_a_rate_stands_for_the_broker_for_write_back_and_for_the_page_cache(kernel: Path) -> None:
    """In the broker's group, in the root, and as the share of the page cache; nowhere else."""
    rates.limit(DEVICE, BROKER, {"write_bps": 5_000_000})
    blkio = kernel / "cgroup" / "blkio"
    rule = "blkio.throttle.write_bps_device"
    assert (blkio / rule).read_text() == f"{NUMBER} 5000000"
    assert (blkio / "docker" / BROKER / rule).read_text() == f"{NUMBER} 5000000"
    assert (blkio / "docker" / "other" / rule).read_text() == ""
    assert (kernel / "sys/class/bdi" / NUMBER / "strict_limit").read_text() == "1"
    assert rates.limits(DEVICE, BROKER) == {"write_bps": [5_000_000] * 2, "strict": [1]}


def test_a_rate_that_is_missing_in_one_place_is_told(kernel: Path) -> None:
    """As after a restart of the broker, whose new group knows of no rate."""
    rates.limit(DEVICE, BROKER, {"read_iops": 10})
    (kernel / f"cgroup/blkio/docker/{BROKER}/blkio.throttle.read_iops_device").write_text("")
    assert rates.limits(DEVICE, BROKER) == {"read_iops": [10, 0]}


def test_rates_are_taken_off_as_the_kernel_wants_it(kernel: Path) -> None:
    """0 is no rate; of a device that has none nothing is written."""
    rates.limit(DEVICE, BROKER, {"write_bps": 1000})
    rates.unlimit(DEVICE, BROKER)
    rule = kernel / "cgroup/blkio/blkio.throttle.write_bps_device"
    assert rule.read_text() == f"{NUMBER} 0"
    assert (kernel / "sys/class/bdi" / NUMBER / "strict_limit").read_text() == "0"
    rule.write_text("")
    assert rates.limits(DEVICE, BROKER) == {}


@pytest.mark.parametrize("moment", range(4))
def test_a_share_of_the_page_cache_is_given_back_whenever_the_tool_died(
    kernel: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or between the two writes that limit it, or of those that lift that: a device keeps it
    when it is nobody's any more."""
    bdi = kernel / "sys/class/bdi" / NUMBER
    write, left = Path.write_text, [moment]

    def written(path: Path, text: str) -> int:
        if path.parent == bdi:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            if path.name != "strict_limit":  # two names of one value
                write(bdi / "max_ratio", {"100": "100"}.get(text, "0"))
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", written)

    def lived() -> None:
        rates.limit(DEVICE, BROKER, {"write_bps": 1000})
        rates.unlimit(DEVICE, BROKER)

    with pytest.raises(KeyboardInterrupt):
        lived()
    left[0] = 2
    rates.unlimit(DEVICE, BROKER)
    assert (bdi / "strict_limit").read_text().strip() == "0"
    assert (bdi / "max_ratio").read_text().strip() == "100"


def test_with_version_2_the_broker_s_own_group_is_enough(kernel: Path) -> None:
    """`io.max` holds for what is written back in its name, too."""
    for each in sorted((kernel / "cgroup").rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    group = kernel / "cgroup" / "system.slice" / f"docker-{BROKER}.scope"
    group.mkdir(parents=True)
    (group / "io.max").write_text("")
    rates.limit(DEVICE, BROKER, {"write_bps": 1_000_000})
    assert (group / "io.max").read_text() == f"{NUMBER} wbps=1000000"
    (group / "io.max").write_text(f"{NUMBER} rbps=max wbps=1000000 riops=max wiops=max\n")
    assert rates.limits(DEVICE, BROKER) == {"write_bps": [1_000_000], "strict": [1]}
    rates.unlimit(DEVICE, BROKER)
    assert (group / "io.max").read_text() == f"{NUMBER} rbps=max wbps=max riops=max wiops=max"


def test_a_broker_that_does_not_run_has_no_group_to_write_in(kernel: Path) -> None:
    """What is written in no group would prove nothing."""
    with pytest.raises(SystemExit, match="does not run"):
        groups.join("blkio", "c" * 64)


@pytest.mark.parametrize("count", [1, 200, 150_000, 200_000])
def test_flipped_bytes_are_drawn_by_the_seed_and_no_others(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many, other ones with another seed, and the rest is as before; by few system calls, as a
    command has to be done in time."""
    path, before, writes, write = tmp_path / "0.log", bytes(range(200)) * 1000, [0], os.pwrite

    def counted(*arguments: Any) -> int:
        writes[0] += 1
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", counted)
    found = []
    for seed in (1, 1, 2):
        path.write_bytes(before)
        space._flip(path, len(before), count, random.Random(seed))
        after = path.read_bytes()
        found.append([i for i in range(len(before)) if after[i] != before[i]])
        assert len(found[-1]) == count
        assert all(after[i] == before[i] ^ 0xFF for i in found[-1])
    assert found[0] == found[1]
    assert found[0] != found[2] or count == len(before)
    assert writes[0] <= 3 * 4


def test_any_part_of_a_file_may_be_the_one_that_is_flipped(tmp_path: Path) -> None:
    """Not only the first piece or the last one, where few bytes of a large file are."""
    path, size, parts = tmp_path / "0.log", 4 * space._PIECE, set()
    for seed in range(40):
        path.write_bytes(bytes(size))
        space._flip(path, size, 1, random.Random(seed))
        parts.add(path.read_bytes().index(0xFF) // space._PIECE)
    assert parts == {0, 1, 2, 3}


def test_only_files_of_the_disk_are_corrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link leads to others."""
    disk, outside = tmp_path / "disk", tmp_path / "outside"
    for directory in (disk / "a", outside):
        directory.mkdir(parents=True)
        (directory / "0.log").write_bytes(bytes(9))
    (disk / "link").symlink_to(outside)
    (disk / "a" / "1.log").symlink_to("0.log")
    monkeypatch.setattr(space, "is_free", lambda device: True)
    monkeypatch.setattr(space, "mounted", lambda device: nullcontext(disk))
    done = space.corrupt(DEVICE, ["*/*.log", "../outside/*"], 0.2, 1)
    assert [each["file"] for each in done] == ["a/0.log"]
    assert done[0]["before"] != done[0]["after"]
    assert (outside / "0.log").read_bytes() == bytes(9)


def test_nobody_who_stayed_behind_fails_nothing(kernel: Path) -> None:
    """A disk that nobody holds is told as not failed; a dead holder's last word counts no more."""
    assert breaks.failed(DEVICE) == ""
    last = {"pid": os.getpid(), "error": "EROFS", "at": -100}
    breaks._told(DEVICE).write_text(json.dumps(last))
    assert breaks.failed(DEVICE) == ""


@pytest.mark.parametrize("undo", [breaks.release, rates.unlimit, memory.lift_memory_limit])
def test_an_act_of_a_dead_tool_does_not_come_after_the_heal(
    undo: Any, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in an agent outlives a `kill -9` of whoever asked for it: a disk would lose its
    power, or a broker its memory, when all is on record as healed. Nobody else's act is ended."""
    monkeypatch.setattr(orphans, "PROC", Path("/proc"))
    ours, other = f"/dev/loop3{os.getpid()}", f"/dev/loop3{os.getpid()}0"
    shutil.copytree(kernel / "sys/class/bdi" / NUMBER, kernel / f"sys/class/bdi/7:3{os.getpid()}")
    acts = [
        acting("lose_power", {"devices": [ours, other]}), acting("use_up_memory", {"x": ours}),
        acting("limit", {"device": ours}), acting("limit", {"device": other}),
        acting("write", {"device": ours}),
    ]  # fmt: skip
    try:
        undo(ours)
        assert [act.wait(10) for act in acts[:3]] == [-signal.SIGKILL] * 3
        assert [act.poll() for act in acts[3:]] == [None] * 2
    finally:
        for act in acts:
            act.kill()
            act.wait(10)


def acting(
    command: str, about: dict[str, Any], code: str = "print(flush=True); input()"
) -> subprocess.Popen[bytes]:
    """A process that looks as if it did so; the kernel tells its arguments once it runs."""
    argv = [sys.executable, "-c", code, "-m", orphans.work.__name__, command, json.dumps(about)]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    process.stdout.read(1)
    return process


@pytest.mark.parametrize(("drift", "stuck"), [(0.0, "write_offset"), (0.5, "os.setsid")])
def test_a_clock_is_right_after_the_heal_whenever_the_tool_died(
    drift: float, stuck: str, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is still about to be set, too, and one that drifts whose holder did not yet write
    down who it is."""
    monkeypatch.setattr(orphans, "PROC", Path("/proc"))
    monkeypatch.setattr(clocks, "RUN", kernel)
    node = f"kafka-{os.getpid()}"
    (kernel / node).write_text(clocks.offset_text(5).ljust(32))
    about = {"directory": str(kernel), "node": node, "offset_s": 5.0, "drift": drift}
    code = (
        "import os, signal; from chaos_adapters.runtimes.work import clocks; "
        f"clocks.{stuck} = lambda *_: os.write(1, b'.') and signal.pause(); "
        f"clocks.set_clock(**{about})"
    )
    act = acting("set_clock", about, code)
    try:
        clocks.right_clock(str(kernel), node)
        act.communicate(timeout=10)  # until the last one has ended that could print
        assert (kernel / node).read_text().strip() == "+0.000000"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(act.pid, signal.SIGKILL)


def test_what_forks_while_it_is_ended_is_ended_too(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is looked for once is not there yet, or no more."""
    first, second = (acting("fill", {"device": f"{kernel}"}) for _ in range(2))
    found = [[Path("/proc", str(first.pid))], [Path("/proc", str(second.pid))], []]
    monkeypatch.setattr(orphans, "_acts", lambda thing: found.pop(0))
    orphans.end_acts("x")
    assert first.wait(10) == second.wait(10) == -signal.SIGKILL


def group_of_memory(kernel: Path, version: int) -> Path:
    """Of the broker, which needs 100 MB, has some of its files in memory, and no limit."""
    top = kernel / "cgroup" / ("memory" if version == 1 else ".")
    group = top / "docker" / BROKER
    group.mkdir(parents=True, exist_ok=True)
    mine = "rss" if version == 1 else "anon"
    (group / "memory.stat").write_text(f"cache 5\n{mine} 70000000\nshmem 30000000\n")
    limit, kills = ("memory.max", "memory.events")
    if version == 1:
        limit, kills = ("memory.limit_in_bytes", "memory.oom_control")
    (group / limit).write_text("9223372036854771712\n" if version == 1 else "max\n")
    (group / kills).write_text("under_oom 0\noom_kill 3\n")
    swap, usual = ("memory.swappiness", "60\n") if version == 1 else ("memory.swap.max", "max\n")
    (group / swap).write_text(usual)
    (group.parent / swap).write_text(usual)
    return group


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_limited_read_and_given_back(kernel: Path, version: int) -> None:
    """In either version of control groups; of a broker that does not run there is nothing."""
    if version == 2:
        for each in sorted((kernel / "cgroup").rglob("*"), reverse=True):
            each.unlink() if each.is_file() else each.rmdir()
    group = group_of_memory(kernel, version)
    file = group / ("memory.limit_in_bytes" if version == 1 else "memory.max")
    assert memory.memory_limit(BROKER) == 0
    files = memory._files(BROKER)
    assert files is not None
    used, limit = memory._squeeze(files)
    assert limit == used + (16 << 20)
    assert memory.memory_limit(BROKER) == limit
    memory.lift_memory_limit(BROKER)
    assert file.read_text() == ("-1" if version == 1 else "max")
    assert memory.memory_limit("c" * 64) == 0
    memory.lift_memory_limit("c" * 64)
    with pytest.raises(SystemExit, match="does not run"):
        memory.use_up_memory("c" * 64)


@pytest.mark.parametrize("version", [1, 2])
def test_a_broker_that_is_to_be_killed_may_not_swap(
    kernel: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With swap the kernel makes room by that. It may again after the heal, also where the tool
    died before the limit; a kernel without swap is left alone."""
    if version == 2:
        shutil.rmtree(kernel / "cgroup")
    group = group_of_memory(kernel, version)
    swap = group / ("memory.swappiness" if version == 1 else "memory.swap.max")
    usual, seen = swap.read_text().strip(), []

    def squeezed(files: Any) -> None:
        seen.append(swap.read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "_squeeze", squeezed)
    with pytest.raises(KeyboardInterrupt):
        memory.use_up_memory(BROKER)
    assert seen == ["0"]
    memory.lift_memory_limit(BROKER)
    assert swap.read_text() == usual
    swap.unlink()
    memory.lift_memory_limit(BROKER)
    assert not swap.exists()


def test_a_limit_that_is_refused_is_set_to_what_is_used_by_then(kernel: Path) -> None:
    """Seen with RabbitMQ: it used more than the limit before that could be set."""
    use = group_of_memory(kernel, 1) / "memory.stat"

    class Grows:
        def write_text(self, _: str) -> None:
            if "rss 5" not in use.read_text():
                use.write_text("rss 50000000\nshmem 0")
                raise OSError(errno.EBUSY, "busy")

    files = {"use": use, "limit": Grows()}
    assert memory._squeeze(files) == (50_000_000, 50_000_000 + (20 << 20))  # type: ignore[arg-type]


def test_a_limit_that_stays_refused_is_raised_until_it_is_accepted(kernel: Path) -> None:
    """Seen with RabbitMQ: for 20 s its group held over 16 MiB that were not told as used."""
    use = group_of_memory(kernel, 1) / "memory.stat"
    use.write_text("rss 1000000\nshmem 0")

    class Holds:
        def write_text(self, limit: str) -> None:
            if int(limit) < 40_000_000:
                raise OSError(errno.EBUSY, "busy")

    files = {"use": use, "limit": Holds()}
    used, limit = memory._squeeze(files)  # type: ignore[arg-type]
    assert used == 1_000_000
    assert 40_000_000 <= limit < 40_000_000 + (4 << 20)


def test_memory_is_taken_until_somebody_was_killed(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more than the broker could be larger than."""
    kills = group_of_memory(kernel, 1) / "memory.oom_control"
    monkeypatch.setattr(memory, "_KILL_WITHIN_S", 1.0)
    assert memory._take(kills, 3, 10 << 20) == (3, 12 << 20)
    assert memory._take(kills, 2, 10 << 20) == (3, 0)


def test_a_clock_is_written_as_libfaketime_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, as the file itself is mounted; a shorter number leaves nothing of a longer one."""
    monkeypatch.setattr(clocks, "RUN", tmp_path)
    file = tmp_path / "kafka-1"
    file.write_text(clocks.offset_text(0).ljust(32))
    inode = file.stat().st_ino
    for offset_s, text in ((-86400.5, "-86400.500000"), (1.0, "+1.000000")):
        clocks.set_clock(str(tmp_path), "kafka-1", offset_s, 0.0)
        assert file.read_text().strip() == text
    assert file.stat().st_ino == inode
