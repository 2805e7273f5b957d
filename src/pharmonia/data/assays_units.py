"""Results in several units to one unit per assay; what cannot be converted is turned away."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pharmonia.base.arrays import Vector
from pharmonia.data.assays import Assay
from pharmonia.data.assays_reading import RawResults
from pharmonia.data.assays_rejects import RejectLog, RowReason, Rows
from pharmonia.data.recipe_profile import PrepareProfile, ThresholdRule
from pharmonia.data.units import CONCENTRATIONS, LOG_UNITS, conversion, plain_unit

_CONCENTRATION = re.compile("[fpnum]?(m|mol/l|g/l|g/ml)")
_AS_CONCENTRATION = (
    "the rules of its assay's type hold for negative log10 values, not for {unit}: have concentrations (nM, uM, ...) "
    "converted by standard_unit pIC50 (or pKi, pKd, pEC50) in T0, or by --to pIC50 where no T0 describes the assay"
)


def in_one_unit(raw: RawResults, assays: Sequence[Assay], log: RejectLog) -> RawResults:
    """The results in the unit that each assay states.

    A concentration becomes another concentration or a negative log10, which turns its qualifier round. An assay that
    states no unit takes the only one that its results state; results of an assay in several units are all turned
    away, as nobody can say which hold. A result that states no unit is taken to be in its assay's.
    """
    pairs = np.unique(raw.assay.astype(np.int64) << 32 | raw.unit)
    stated: dict[int, list[int]] = {}
    for pair in pairs.tolist():
        stated.setdefault(pair >> 32, []).append(pair & 0xFFFFFFFF)
    value, qualifier = raw.value.copy(), raw.qualifier.copy()
    keep = np.ones(value.size, dtype=bool)
    for number, units in stated.items():
        named = [unit for unit in units if raw.units[unit]]
        found = sorted({plain_unit(raw.units[unit]) for unit in named})
        wanted = plain_unit(assays[number].unit)
        if all(unit == wanted for unit in found) or (not wanted and len(found) <= 1):
            continue
        of_assay = raw.assay == number
        if not wanted:
            text = f"the assay has results in {', '.join(found)}"
            _refuse(raw, np.flatnonzero(of_assay), keep, RowReason.MIXED_UNITS, text, log)
            continue
        for unit in named:
            rows = np.flatnonzero(of_assay & (raw.unit == unit))
            converted, sign = _converted(value[rows], plain_unit(raw.units[unit]), wanted)
            bad = np.isnan(converted)
            text = f"a result in {raw.units[unit]} cannot become one in {wanted}"
            can = _can_convert(plain_unit(raw.units[unit]), wanted)
            reason = RowReason.NOT_POSITIVE if can else RowReason.OTHER_UNIT
            _refuse(raw, rows[bad], keep, reason, text, log)
            value[rows], qualifier[rows] = np.where(bad, 0.0, converted), sign * qualifier[rows]
    return keep_rows(replace(raw, value=value, qualifier=qualifier), np.flatnonzero(keep))


def without_concentrations(
    raw: RawResults, assays: Sequence[Assay], profile: PrepareProfile, log: RejectLog
) -> RawResults:
    """The results but for concentrations of assays whose rules hold for negative log10 values (dose-response).

    Args:
        raw: Results in their assays' units.
        assays: What `raw.assay` indexes, with their units.
        profile: The rules.
        log: Where concentrations are noted.
    """
    units = [
        assay.unit
        if not assay.is_binary and profile.rules[assay.assay_type].thresholds is ThresholdRule.DOSE_RESPONSE
        else ""
        for assay in assays
    ]
    concentrations = sorted({unit for unit in units if _is_concentration(unit)})
    keep = np.ones(raw.value.size, dtype=bool)
    for unit in concentrations:
        in_unit = np.array([one == unit for one in units], dtype=bool)
        rows = np.flatnonzero(in_unit[raw.assay])
        _refuse(raw, rows, keep, RowReason.CONCENTRATION, _AS_CONCENTRATION.format(unit=unit), log)
    return keep_rows(raw, np.flatnonzero(keep))


def keep_rows(raw: RawResults, rows: Rows) -> RawResults:
    """The results at these positions."""
    columns = ("compound", "assay", "value", "qualifier", "unit", "table", "row")
    return replace(raw, **{name: getattr(raw, name)[rows] for name in columns})


def log_rows(raw: RawResults, rows: Rows, reason: RowReason, text: str, log: RejectLog) -> None:
    """Note results that are turned away, table by table."""
    for number, name in enumerate(raw.tables):
        inside = rows[raw.table[rows] == number]
        log.add(name, raw.row[inside], reason, text, pa.array(raw.value[inside]).cast(pa.string()))


def _refuse(raw: RawResults, rows: Rows, keep: Rows, reason: RowReason, text: str, log: RejectLog) -> None:
    keep[rows] = False
    log_rows(raw, rows, reason, text, log)


def _is_concentration(unit: str) -> bool:
    return _CONCENTRATION.fullmatch("".join(plain_unit(unit).lower().split())) is not None


def _can_convert(unit: str, wanted: str) -> bool:
    return unit == wanted or (unit in CONCENTRATIONS and (wanted in CONCENTRATIONS or wanted in LOG_UNITS))


def _converted(values: Vector, unit: str, wanted: str) -> tuple[Vector, int]:
    """Converted values, NaN where there is none, and -1 where qualifiers turn round."""
    if unit == wanted:
        return values, 1
    if not _can_convert(unit, wanted):
        return np.full(values.size, np.nan), 1
    if wanted in CONCENTRATIONS:
        return values * 10.0 ** (CONCENTRATIONS[unit] - CONCENTRATIONS[wanted]), 1
    return conversion(unit, wanted).apply(values), -1
