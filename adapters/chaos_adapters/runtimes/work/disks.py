"""Disks are made and taken away: sparse image files behind loop devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chaos_adapters.runtimes.work.breaks import release
from chaos_adapters.runtimes.work.loops import attached, await_, mounted, run
from chaos_adapters.runtimes.work.rates import unlimit


def make(directory: str, names: Mapping[str, str], size: int, filesystem: str) -> dict[str, str]:
    """New disks, node -> file name of the image: node -> device."""
    devices = {}
    for node, name in names.items():
        image = f"{directory}/{name}"
        with Path(image).open("xb") as file:
            file.truncate(size)
        if filesystem == "xfs":
            run("mkfs.xfs", "-q", image)
        else:
            run("mkfs.ext4", "-qF", "-m", "0", "-e", "remount-ro", image)
        devices[node] = run("losetup", "--find", "--show", image)
        unlimit(devices[node])
        with mounted(devices[node]) as top:
            for each in top.iterdir():
                each.rmdir()  # only an empty disk takes over the owner that the broker's image says
            top.chmod(0o777)
    return devices


def detach(prefix: str) -> list[str]:
    """Take away all devices whose images are called so."""
    found = attached(prefix)
    for device in found:
        release(device)
        unlimit(device)
        run("losetup", "--detach", device)
    await_(f"{', '.join(found)} to be let go", lambda: not attached(prefix))
    return list(found)
