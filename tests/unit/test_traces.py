"""What is looked for in containers."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from chaos_adapters.runtimes import traces


class Container:
    """With these mounts, limits and labels; `status` as the daemon tells it."""

    def __init__(self, part: str, mounts: str = "", status: str = "running", **limits: Any) -> None:
        self.name, self.labels, self.status = f"c-{part}", {"mqchaos.part": part}, status
        self.attrs, self._mounts = {"HostConfig": limits}, mounts

    def exec_run(
        self, argv: list[str], environment: Mapping[str, str], **_: Any
    ) -> SimpleNamespace:
        """Really run, as what is around the program is nobody's business here."""
        assert argv[-2:] == ["cat", "/proc/self/mounts"]
        assert self.status == "running"
        told = [*argv[:-2], "printf", "%s", self._mounts]
        env = {"PATH": "/usr/bin:/bin", **environment}
        done = subprocess.run(told, env=env, capture_output=True, check=True)
        return SimpleNamespace(exit_code=0, output=(done.stdout, None))


def found(*containers: Container) -> list[str]:
    return [what for scan in traces.SCANS for what in scan(containers)]


def test_a_disk_that_an_agent_still_has_mounted_is_found() -> None:
    """Not what else is mounted there, nor the disk of the broker, where it belongs."""
    mounts = (
        "overlay / overlay rw 0 0\n/dev/loop3 /tmp/disk-x xfs rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
    )
    broker = "/dev/loop3 /var/lib/kafka/data xfs rw 0 0\n"
    assert found(Container("agent", mounts), Container("broker", broker)) == [
        "/dev/loop3 mounted on /tmp/disk-x in container c-agent"
    ]


def test_an_agent_that_is_dead_has_nothing_mounted() -> None:
    """Its mounts went with it."""
    assert found(Container("agent", status="exited")) == []


def test_limits_are_found_and_those_that_were_lifted_are_not() -> None:
    """A quota that was taken off stands there as -1."""
    limited = Container("broker", CpuQuota=20_000, Memory=0, CpusetCpus="")
    assert found(limited, Container("broker", CpuQuota=-1)) == [
        "limit CpuQuota=20000 on container c-broker"
    ]
