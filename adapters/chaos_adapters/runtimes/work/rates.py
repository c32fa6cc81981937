"""How fast a disk may be read and written, with version 1 and 2 of control groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos_adapters.runtimes.work.groups import CGROUP, group_of
from chaos_adapters.runtimes.work.loops import SYS

WHATS = ("read_bps", "write_bps", "read_iops", "write_iops")
_V2 = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
_MAJOR = 7  # of loop devices
_LEAST_DIRTY = 1 << 20


def _number(device: str) -> str:
    return f"{_MAJOR}:{device.removeprefix('/dev/loop')}"


def _rules(container: str) -> dict[str, Any]:
    """Where rates are set: with version 1 for the broker and for the root, in whose name the kernel
    writes back; version 2 knows who made a page dirty."""
    broker = group_of("blkio", container) if container else None
    if not (CGROUP / "blkio").is_dir():
        return {"v2": [broker / "io.max"] if broker else []}
    groups = [CGROUP / "blkio", *([broker] if broker else [])]
    return {what: [g / f"blkio.throttle.{what}_device" for g in groups] for what in WHATS}


def limit(device: str, container: str, rates: Mapping[str, int]) -> None:
    """Rates in bytes or operations a second; and how much may wait to be written back, else a
    broker that writes into the page cache would feel nothing for minutes."""
    rules = _rules(container)
    for what, rate in rates.items():
        for file in rules.get(what, ()):
            file.write_text(f"{_number(device)} {rate}")
        for file in rules.get("v2", ()):
            file.write_text(f"{_number(device)} {_V2[what]}={rate}")
    if "write_bps" in rates:
        bdi = SYS / "class" / "bdi" / _number(device)
        (bdi / "max_bytes").write_text(str(max(rates["write_bps"], _LEAST_DIRTY)))
        (bdi / "strict_limit").write_text("1")


def limits(device: str, container: str) -> dict[str, list[int]]:
    """What holds now: of each rate the value in every place where it should stand, 0 for none."""
    found = {}
    for what, files in _rules(container).items():
        if what == "v2":
            told = [dict(part.split("=") for part in _rule(f, device).split()) for f in files]
            for name, key in _V2.items():
                values = [t.get(key, "max") for t in told]
                found[name] = [0 if value == "max" else int(value) for value in values]
        else:
            found[what] = [int(_rule(file, device) or 0) for file in files]
    strict = int((SYS / "class" / "bdi" / _number(device) / "strict_limit").read_text())
    return {what: values for what, values in found.items() if any(values)} | (
        {"strict": [strict]} if strict else {}
    )


def _rule(file: Path, device: str) -> str:
    for line in file.read_text().splitlines():
        which, _, value = line.partition(" ")
        if which == _number(device):
            return value
    return ""


def unlimit(device: str, container: str = "") -> None:
    """As a loop device is at first: no rates, and its share of the page cache."""
    for what, files in _rules(container).items():
        for file in files:
            if _rule(file, device):
                value = " ".join(f"{key}=max" for key in _V2.values()) if what == "v2" else "0"
                file.write_text(f"{_number(device)} {value}")
    bdi = SYS / "class" / "bdi" / _number(device)
    if int((bdi / "strict_limit").read_text()):
        (bdi / "strict_limit").write_text("0")
        (bdi / "max_ratio").write_text("100")
