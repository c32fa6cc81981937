"""Disks as Docker gives them: found by their names, refused where they cannot be."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.spi import Volume
from chaos_adapters.runtimes import disks
from chaos_adapters.runtimes.docker import Docker


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with two devices of ours, of two clusters, and one of somebody else."""
    images = ("/disks/mqchaos-ab12cd34-kafka-1.img", "/mqchaos-99887766-controller-1.img", "/a.img")
    for number, image in enumerate(images):
        loop = tmp_path / "block" / f"loop{number}" / "loop"
        loop.mkdir(parents=True)
        (loop / "backing_file").write_text(f"{image}\n")
    monkeypatch.setattr(disks, "SYS", tmp_path)
    return tmp_path


def test_left_overs_are_told_by_their_cluster(host: Path) -> None:
    """Somebody else's loop devices are not ours."""
    assert disks.left() == {
        "ab12cd34": ["/dev/loop0 (mqchaos-ab12cd34-kafka-1)"],
        "99887766": ["/dev/loop1 (mqchaos-99887766-controller-1)"],
    }


def test_no_agent_is_started_for_a_cluster_without_disks(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing is to be quick, and to need nothing that may be missing."""
    done: list[dict[str, object]] = []
    monkeypatch.setattr(disks, "command", lambda agent, name, **rest: done.append(rest))
    disks.detach("00000000")
    assert done == []
    disks.detach("ab12cd34")
    assert done == [{"prefix": "mqchaos-ab12cd34-"}]


def test_the_volumes_of_a_cluster_are_its_disks(tmp_path: Path) -> None:
    """The daemon mounts them, with errors turning ext4 read-only."""
    about = '{"size": 400000000, "filesystem": "ext4", "devices": {"kafka-1": "/dev/loop7"}}'
    (tmp_path / "disks.json").write_text(about)
    document: dict[str, Any] = {"volumes": {"kafka-1": {"labels": {}}}}
    disks.put(document, tmp_path)
    assert document["volumes"]["kafka-1"]["driver_opts"] == {
        "type": "ext4", "device": "/dev/loop7", "o": "errors=remount-ro",
    }  # fmt: skip
    assert disks.options(Volume(), "/dev/loop7") == {"type": "xfs", "device": "/dev/loop7"}


def test_a_record_of_disks_that_cannot_be_read_is_no_cluster_without_them(tmp_path: Path) -> None:
    """Faults of disks could not be healed there."""
    assert disks.read(tmp_path) is None
    (tmp_path / "disks.json").write_text('{"size": ')
    with pytest.raises(ClusterError, match=r"disks\.json"):
        disks.read(tmp_path)


@pytest.mark.parametrize(
    ("security", "there", "loops", "told"),
    [
        ([], True, True, []),
        (["name=seccomp,profile=default", "name=rootless"], True, True, ["rootless"]),
        (["name=userns"], True, True, ["userns-remap"]),
        ([], False, True, ["modprobe xfs"]),
        ([], True, False, ["modprobe loop"]),
    ],
)
def test_a_host_that_cannot_have_disks_is_told_with_what_would_help(
    security: list[str],
    there: bool,
    loops: bool,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything starts, and by `chaos doctor`."""

    @contextmanager
    def daemon(what: str) -> Any:
        yield SimpleNamespace(info=lambda: {"SecurityOptions": security})

    monkeypatch.setattr(disks, "daemon", daemon)
    monkeypatch.setattr(disks, "_mountable", lambda filesystem: there)
    monkeypatch.setattr(disks.Path, "exists", lambda path: loops)
    reasons = disks.missing(Volume())
    assert len(reasons) == len(told)
    assert all(part in reason for part, reason in zip(told, reasons, strict=True)), reasons


def test_a_docker_with_disks_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is a value: asking for disks changes nobody else's."""
    plain = Docker()
    made = plain.with_disks(Volume())
    assert made != plain
    assert Docker() == plain
