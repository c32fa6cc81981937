"""What is right, and people may not expect of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaos.experiment.records import Step
from chaos.plugin import Flaw
from chaos.spi import Broker, GivesUpSilent, Silences


def silence_notes(steps: Sequence[Step], load_end_s: float, broker: Broker) -> Iterator[Flaw]:
    """Faults of which the cluster may not notice anything before they are over. Those without an
    end of their own last until `load_end_s`."""
    if not isinstance(broker, GivesUpSilent):
        return
    for index, step in enumerate(steps):
        if not isinstance(step.fault, Silences):
            continue
        lasting_s = load_end_s - step.at_s if step.for_s is None else step.for_s
        silence_s = step.fault.silence_s(lasting_s)
        if silence_s > 0 and (what := broker.silence_note(silence_s)):
            yield Flaw(("faults", index), what)
