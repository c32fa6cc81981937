"""How to write a fault and a verifier: the pages, followed word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import files, follow, lines


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            "write-a-fault.md",
            [
                "every: duration = 1s",
                "cascade.yaml: ok",
                "process.cascade on memory-1",
                "PASS cascade",
            ],
        ),
        (
            "write-a-verifier.md",
            ["2 passed", "How long did acknowledgements take?", "<= 30  ok", "PASS latency"],
        ),
    ],
)
@pytest.mark.timeout(900)
def test_the_page_can_be_followed(page: str, told: list[str], tmp_path: Path) -> None:
    """Everything on it is there in full, every command succeeds, and what it shows comes out."""
    assert len(files(page)) >= 3
    assert len(lines(page)) >= 4
    printed = follow(page, tmp_path)
    for part in told:
        assert part in printed
    assert "deselected" in printed
    assert " 0 selected" not in printed
