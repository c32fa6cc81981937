"""What acks=1 does, read from the brokers and the clients' own records, beside the verdict."""

from __future__ import annotations

from tests.e2e.kafka_reader import acknowledged, acknowledged_twice, stored
from tests.e2e.tools import Ran


def assert_named_exactly(ran: Ran) -> None:
    """What was acknowledged and is not there, and each position that was given twice: these and no
    others, and the setting is blamed for both."""
    assert ran.code == 1, ran.output
    missing = acknowledged(ran.directory) - stored(ran.directory, partitions=1)
    assert missing, "nothing was lost: the experiment shows nothing"
    assert ran.evidence("lost") == missing
    twice = acknowledged_twice(ran.directory)
    assert twice, "the next leader gave no position anew"
    assert ran.places("acknowledged twice") == twice
    failed = [each for each in ran.verdict["questions"] if each["verdict"] == "FAIL"]
    assert {answer["name"] for answer in failed} == {"loss", "divergence"}
    for answer in failed:
        assert answer["label"] == "unsafe setting"
        assert any("acks=1" in caveat["setting"] for caveat in answer["caveats"])
