"""Units of measured affinities and the one conversion we make: a concentration to its negative log10."""

from dataclasses import dataclass

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError
from pharmonia.data.catalogue import unknown_name

CONCENTRATIONS = {"M": 0, "mM": -3, "uM": -6, "nM": -9, "pM": -12}  # powers of ten of one molar
LOG_UNITS = ("pKd", "pKi", "pIC50", "pEC50")  # negative log10 of a molar concentration

_SPELLINGS = {"µM": "uM", "μM": "uM"}
_MICRO = str.maketrans({"µ": "u", "μ": "u"})  # the sign for micro, and the Greek letter


def plain_unit(unit: str) -> str:
    """The unit with its micro written u, without surrounding space, so that equal units are equal texts."""
    return unit.strip().translate(_MICRO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What happens to each value of a column.

    Args:
        unit: Unit of the result; empty where the user states none.
        log_exponent: Power of ten of the concentration whose negative log10 is taken; None: values stay.
    """

    unit: str
    log_exponent: int | None

    @property
    def default_tolerance(self) -> float:
        """Largest span of repeated measurements that agree: one log unit, else none at all."""
        return 1.0 if self.unit in LOG_UNITS else 0.0

    def apply(self, values: Vector) -> Vector:
        """The converted values; NaN where a logarithm is asked of a value that is not over 0."""
        if self.log_exponent is None:
            return values
        positive = values > 0
        logs: Vector = np.log10(values, out=np.full(values.shape, np.nan), where=positive)
        return -self.log_exponent - logs

    def undo(self, values: Vector) -> Vector:
        """What values were before their conversion, to ten digits."""
        if self.log_exponent is None:
            return values
        before = 10.0 ** (-self.log_exponent - values)
        return np.array([float(f"{value:.10g}") for value in before.tolist()])


def conversion(unit: str | None, to: str | None) -> Conversion:
    """The conversion between two units that the user names.

    Args:
        unit: Unit of the column; None where the user states none.
        to: Unit wanted; None to keep the column's.

    Raises:
        UnknownNameError: No such unit; lists those there are.
        OptionError: The one cannot become the other; says what can.
    """
    known = (*CONCENTRATIONS, *LOG_UNITS)
    source = _SPELLINGS.get(unit, unit) if unit else None
    if source and source not in known:
        raise unknown_name("unit", source, known)
    if to and to not in LOG_UNITS:
        raise unknown_name("unit to convert to", to, LOG_UNITS)
    if to is None or to == source:
        return Conversion(unit=source or "", log_exponent=None)
    if source in CONCENTRATIONS:
        return Conversion(unit=to, log_exponent=CONCENTRATIONS[source])
    stated = f"values in {source}" if source else "values whose unit is not stated"
    raise OptionError(
        f"{stated} cannot become {to}: name a concentration ({', '.join(CONCENTRATIONS)}) as the unit, "
        f"or state {to} as the unit to keep the values as they are"
    )
