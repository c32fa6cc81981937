"""The reader's last work: what each replica holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.load.replicas import read_replicas
from chaos.spi import PartitionEnd


class Broker:
    """The node `b` breaks off after its first partition."""

    def held(self, node: str, *_: Any) -> Iterator[PartitionEnd]:
        yield PartitionEnd(0, 0, 0, 0)
        if node == "b":
            raise ClusterError("gone")
        yield PartitionEnd(1, 0, 0, 0)


def test_a_node_that_breaks_off_hides_nobody_and_the_log_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has a table, and whoever wonders what is missing in one finds the reason."""
    work: Any = SimpleNamespace(
        run=1, directory=tmp_path, clients=dict.fromkeys("abc"),
        experiment=SimpleNamespace(stream=None),
    )  # fmt: skip
    (tmp_path / "history").mkdir()
    control: Any = SimpleNamespace(stopped=lambda: False)
    broker: Any = Broker()
    read_replicas(work, broker, control)
    assert len(list((tmp_path / "history").iterdir())) == 3
    assert capsys.readouterr().err == "b was not read to its end: gone\n"
