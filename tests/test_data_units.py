"""Conversions of measured values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.data.units import conversion


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(1, "M", 0), (1, "mM", 3), (50, "uM", 4.30103), (50, "µM", 4.30103), (10, "nM", 8), (1, "pM", 12)],
)
def test_concentrations_become_negative_logarithms(value: float, unit: str, expected: float) -> None:
    np.testing.assert_allclose(conversion(unit, "pKd").apply(np.array([float(value)])), expected, rtol=1e-6)


@given(value=st.floats(1e-6, 1e6))
def test_nanomolar_and_micromolar_agree(value: float) -> None:
    nano = conversion("nM", "pIC50").apply(np.array([1_000 * value]))
    micro = conversion("uM", "pIC50").apply(np.array([value]))
    np.testing.assert_allclose(nano, micro, rtol=1e-12, atol=1e-12)


def test_a_value_not_over_zero_has_no_logarithm() -> None:
    converted = conversion("nM", "pKi").apply(np.array([0.0, -1.0, 1.0]))
    assert np.isnan(converted).tolist() == [True, True, False]


@pytest.mark.parametrize(("unit", "to"), [(None, None), ("pKd", None), ("pKd", "pKd"), ("nM", None)])
def test_values_pass_where_nothing_is_asked(unit: str | None, to: str | None) -> None:
    kept = conversion(unit, to)
    np.testing.assert_array_equal(kept.apply(np.array([-1.0, 2.0])), [-1.0, 2.0])
    assert kept.unit == (unit or "")


@pytest.mark.parametrize(
    ("unit", "to", "tolerance"), [("nM", "pKd", 1.0), ("pKi", None, 1.0), ("nM", None, 0.0), (None, None, 0.0)]
)
def test_repeats_of_logarithms_may_differ_by_one(unit: str | None, to: str | None, tolerance: float) -> None:
    assert conversion(unit, to).default_tolerance == tolerance


@pytest.mark.parametrize(("unit", "to"), [("nm", "pKd"), ("mg/mL", None), ("nM", "log"), ("nM", "uM")])
def test_unknown_units_are_refused_with_the_choices(unit: str, to: str | None) -> None:
    with pytest.raises(UnknownNameError, match=r"There are: .*pKd"):
        conversion(unit, to)


@pytest.mark.parametrize(("unit", "to"), [(None, "pKd"), ("pKi", "pKd")])
def test_what_is_no_concentration_cannot_become_a_logarithm(unit: str | None, to: str) -> None:
    with pytest.raises(OptionError, match="M, mM, uM, nM, pM"):
        conversion(unit, to)
