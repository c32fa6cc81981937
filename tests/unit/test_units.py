"""Quantities: what is read and what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chaos.spi import Duration, Rate, Size

UNITS = {
    "Duration": (TypeAdapter(Duration), {"ms": 0.001, "s": 1, "m": 60, "h": 3600}),
    "Size": (
        TypeAdapter(Size),
        {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    ),
    "Rate": (TypeAdapter(Rate), {"/s": 1, "/m": 1 / 60}),
}


@pytest.mark.parametrize("kind", UNITS)
@given(data=st.data(), whole=st.integers(0, 10**6), thousandths=st.integers(0, 999))
def test_a_number_with_a_unit_means_their_product(
    kind: str, data: st.DataObject, whole: int, thousandths: int
) -> None:
    """Reading a number with any unit gives number x unit, in the base unit."""
    adapter, units = UNITS[kind]
    unit = data.draw(st.sampled_from(sorted(units)))
    value = adapter.validate_python(f"{whole}.{thousandths:03d}{unit}")
    expected = (whole + thousandths / 1000) * units[unit]
    assert value == pytest.approx(int(expected) if kind == "Size" else expected, rel=1e-9, abs=1)


@pytest.mark.parametrize("kind", ["Duration", "Rate"])
@given(billionths=st.integers(0, 10**16))
def test_written_text_is_read_as_the_same_quantity(kind: str, billionths: int) -> None:
    """Writing a quantity of up to nine decimals and reading it again gives the same, as text with
    its unit."""
    adapter, _ = UNITS[kind]
    value = billionths / 10**9
    written = adapter.dump_python(value, mode="json")
    assert isinstance(written, str)
    assert adapter.validate_python(written) == pytest.approx(value, rel=1e-15, abs=1e-9)
    assert adapter.dump_python(adapter.validate_python(written), mode="json") == written


@given(value=st.integers(0, 2**50))
def test_sizes_are_written_to_the_byte(value: int) -> None:
    """No byte is lost in text."""
    adapter, _ = UNITS["Size"]
    assert adapter.validate_python(adapter.dump_python(value, mode="json")) == value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Duration", "250ms", 0.25),
        ("Duration", "2m", 120),
        ("Duration", " 1.5 h ", 5400),
        ("Size", "64KiB", 65536),
        ("Size", "1_000kB", 10**6),
        ("Rate", "30/m", 0.5),
    ],
)
def test_examples(kind: str, text: str, value: float) -> None:
    """The spellings of the documentation mean what they say."""
    assert UNITS[kind][0].validate_python(text) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Duration", 30), ("Duration", "30"), ("Duration", "-1s"), ("Duration", "1d"),
        ("Duration", "s"), ("Duration", "1:30"), ("Duration", True), ("Duration", None),
        ("Duration", "1e3s"), ("Duration", "٣s"), ("Size", "1 mb"), ("Size", "0x10B"),
        ("Rate", "1000"), ("Rate", "1000/h"), ("Rate", [1]),
    ],
)  # fmt: skip
def test_a_number_without_its_unit_is_no_quantity(kind: str, value: Any) -> None:
    """Everything else is refused with the units that there are."""
    with pytest.raises(ValidationError, match=r"needs a number with a unit \(.*\), such as"):
        UNITS[kind][0].validate_python(value)
