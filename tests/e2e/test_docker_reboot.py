"""The Docker daemon is restarted in the middle of faults.

Never the one that others use: a second one, with everything of its own (data, sockets, containerd,
control group), and in a network namespace, so that its packet rules are nobody else's. That needs
root. CHAOS_SECOND_DOCKER names a directory that keeps its images from one time to the next.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.e2e.tools import CHAOS, ROOT, needs_docker, within

pytestmark = [pytest.mark.full, pytest.mark.docker, pytest.mark.timeout(1800), needs_docker]
IMAGES = ("CHAOS_KAFKA_IMAGE", "CHAOS_TOXIPROXY_IMAGE", "CHAOS_AGENT_IMAGE")
FAULTS = [
    {"fault": "network.latency", "target": "kafka-1", "delay": "50ms", "from": "clients"},
    {"fault": "network.loss", "target": "kafka-2", "share": 0.2},
    {"fault": "cpu.limit", "target": "kafka-1", "cores": 0.05},
    {"fault": "process.pause", "target": "kafka-3"},
]
EXPERIMENT = {
    "name": "reboot",
    "cluster": {"broker": "kafka", "nodes": 3},
    "stream": {"partitions": 3, "replicas": 3, "settings": {"min.insync.replicas": 1}},
    "load": {"producers": {"rate": "100/s"}},
    "phases": {"settle": "2s", "drain": "20s"},
}


@dataclass
class Second:
    """The daemon, and `chaos` with it."""

    directory: Path
    home: Path
    space: str = field(default_factory=lambda: f"mqchaos-{os.getpid()}")
    process: subprocess.Popen[bytes] | None = None

    @property
    def inside(self) -> list[str]:
        """Runs what follows in its network namespace."""
        return ["nsenter", f"--net=/run/netns/{self.space}"]

    @property
    def environment(self) -> dict[str, str]:
        """For clients of it."""
        host = f"unix://{self.directory / 'sock'}"
        return {**os.environ, "DOCKER_HOST": host, "CHAOS_HOME": str(self.home)}

    def start(self) -> None:
        """It answers when this returns."""
        at = self.directory
        with (at / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, "dockerd", "--data-root", str(at / "data"), "--exec-root",
                 str(at / "exec"), "--host", f"unix://{at / 'sock'}", "--pidfile", str(at / "pid"),
                 "--bridge", "none", "--default-address-pool", "base=198.19.0.0/16,size=24",
                 "--cgroup-parent", f"/{self.space}"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        within(60, "the second daemon", lambda: self.docker("version").returncode == 0)

    def stop(self) -> None:
        """In order, as at the shutdown of a machine: all containers end."""
        if self.process:
            self.process.terminate()
            self.process.wait(120)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call its client."""
        return subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def load(self) -> None:
        """Images, from the daemon that has them."""
        names = [os.environ.get(name) or "mqchaos/agent:1" for name in IMAGES]
        if all(self.docker("image", "inspect", name).returncode == 0 for name in names):
            return
        saved = subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE)
        loading = ["docker", "load", "--quiet"]
        subprocess.run(loading, stdin=saved.stdout, env=self.environment, check=True, timeout=600)

    def chaos(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call `chaos` where the ports of its containers are."""
        return subprocess.run(
            [*self.inside, *CHAOS, *arguments], env=self.environment, cwd=ROOT,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def left(self) -> list[str]:
        """Containers, networks, volumes that carry our label."""
        mark = ["--quiet", "--filter", "label=mqchaos.cluster"]
        listings = [["ps", "--all"], ["network", "ls"], ["volume", "ls"]]
        return [line for each in listings for line in self.docker(*each, *mark).stdout.splitlines()]


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Second]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a second Docker daemon")
    kept = os.environ.get("CHAOS_SECOND_DOCKER")
    # Its own sockets lie in there, and paths of sockets are short: at most 107 characters.
    directory = Path(kept or tempfile.mkdtemp(prefix="dockerd-"))
    directory.mkdir(exist_ok=True)
    made = Second(directory, tmp_path / "home")
    subprocess.run(["ip", "netns", "add", made.space], check=True)
    try:
        subprocess.run([*made.inside, "ip", "link", "set", "lo", "up"], check=True)
        made.start()
        made.load()
        yield made
        made.chaos("down")
    finally:
        made.stop()
        subprocess.run(["ip", "netns", "del", made.space], check=True)
        if not kept:
            shutil.rmtree(directory)


def begun(second: Second, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A run on a kept cluster with all faults proved."""
    when = {"at": "3s", "for": "300s"}
    faults = [{**when, **fault} for fault in FAULTS]
    (tmp_path / "reboot.json").write_text(json.dumps({**EXPERIMENT, "faults": faults}))
    with (tmp_path / "output").open("wb") as output:
        tool = subprocess.Popen(
            [*second.inside, *CHAOS, "run", str(tmp_path / "reboot.json"), "--runtime", "docker",
             "--keep", "--runs", str(tmp_path / "runs")],
            env=second.environment, cwd=ROOT, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def proved() -> bool:
        assert tool.poll() is None, (tmp_path / "output").read_text()
        texts = [path.read_text() for path in (tmp_path / "runs").glob("*/events.jsonl")]
        return sum(text.count('"what":"effect"') for text in texts) == len(FAULTS)

    within(500, "all faults to be proved", proved)
    return tool


def usable(second: Second, tmp_path: Path) -> None:
    """Healed, free of all marks, and good enough for the next run, which keeps it."""
    healed = second.chaos("heal")
    assert healed.returncode == 0, healed.stdout + healed.stderr
    (cluster,) = (second.home / "clusters").iterdir()
    told = second.chaos("doctor", "--residue").stdout
    assert cluster.name not in told, told
    (tmp_path / "again.json").write_text(json.dumps({**EXPERIMENT, "faults": []}))
    ran = second.chaos(
        "run", str(tmp_path / "again.json"), "--runtime", "docker", "--keep",
        "--runs", str(tmp_path / "runs"),
    )  # fmt: skip
    assert f"reusing kept cluster {cluster.name}" in ran.stdout + ran.stderr, ran.stdout
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert second.chaos("down").returncode == 0
    assert second.left() == []


def test_a_restart_of_docker_after_the_death_of_tool_and_reaper(
    second: Second, tmp_path: Path
) -> None:
    """Nobody is left who knows of the faults but the undo log: `chaos heal` starts the pods, heals
    everything, and the cluster is used again."""
    tool = begun(second, tmp_path)
    for each in (*psutil.Process(tool.pid).children(recursive=True), psutil.Process(tool.pid)):
        with suppress(psutil.Error):
            if each.pid == tool.pid or "chaos.reaper" in " ".join(each.cmdline()):
                each.send_signal(signal.SIGKILL)
    tool.wait(10)
    second.stop()
    second.start()
    usable(second, tmp_path)


def test_a_restart_of_docker_under_the_eyes_of_the_tool(second: Second, tmp_path: Path) -> None:
    """The run does not say PASS, whatever it could still measure; all is healed by it or by the
    next one who heals."""
    tool = begun(second, tmp_path)
    second.stop()
    second.start()
    tool.send_signal(signal.SIGINT)
    code = tool.wait(400)
    assert code in (3, 4, 130), (tmp_path / "output").read_text()
    usable(second, tmp_path)
