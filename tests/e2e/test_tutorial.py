"""The tutorial, followed word for word on real Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import follow

pytestmark = [pytest.mark.kafka, pytest.mark.full]


@pytest.mark.timeout(1800)
def test_it_can_be_followed(tmp_path: Path) -> None:
    """Every command ends as it says, and what it shows happens: acks=1 loses, acks=all does not."""
    printed = follow("tutorial.md", tmp_path)
    for part in (
        "kafka: ok", "PASS broker-down", "FAIL acks-1", "PASS acks-1", "mine.yaml: ok", "PASS mine",
        "unsafe setting: acks=1",
    ):  # fmt: skip
        assert part in printed
    assert '"kind":"lost"' in printed
    assert (tmp_path / "report.xml").is_file()
