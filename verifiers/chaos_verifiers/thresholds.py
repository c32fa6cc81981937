"""The kinds of thresholds that `expect:` sets, with what they may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chaos.spi import Duration

Count = Annotated[int, Field(ge=0)]
"""A number of messages."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, from 0 to 1."""
Positive = Annotated[Duration, Field(gt=0)]
"""A length of time that is not nothing."""
