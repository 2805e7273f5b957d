"""Fields of assay tables to records and columns; every row is taken or turned away with its reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import DataFileError
from pharmonia.data.assays import (
    ABOVE,
    BELOW,
    EXACT,
    MAX_EXPERT_THRESHOLDS,
    Assay,
    AssayType,
    CatalogueTask,
    Direction,
    Index,
    Signs,
)
from pharmonia.data.assays_rejects import RejectLog, RowReason, Rows
from pharmonia.data.assays_tables import (
    ASSAY_ID,
    ASSAY_TYPE,
    CATALOGUE_ASSAY,
    CATALOGUE_TASK,
    COMPOUND_ID,
    QUALIFIER,
    THRESHOLD,
    UNIT,
    VALUE,
    SourceTable,
)
from pharmonia.data.fields import Codes, Problems, Reason, distinct_fields, read_values, shown
from pharmonia.data.units import conversion, plain_unit

QUALIFIERS = {
    **dict.fromkeys(("<", "<=", "<<", "≤"), BELOW),
    **dict.fromkeys((">", ">=", ">>", "≥"), ABOVE),
    **dict.fromkeys(("=", "==", "~", "≈", ""), EXACT),
}
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "")
_FLAGS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_UNKNOWN, _MISSING = -128, -127  # of a code: no such thing, and nothing at all

ThingT = TypeVar("ThingT")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawResults:
    """Results as tables hold them, before units, credibility and repetition.

    Args:
        compound: (n,) int32, index of a compound identifier.
        assay: (n,) int32, index of an assay.
        value: (n,) float64, finite.
        qualifier: (n,) int8.
        unit: (n,) int32, index into `units`.
        units: Their names; an empty one where none is stated.
        table: (n,) int32, index into `tables`.
        tables: Names of the tables.
        row: (n,) int64, number of the row in its table.
    """

    compound: Index
    assay: Index
    value: Vector
    qualifier: Signs
    unit: Index
    units: tuple[str, ...]
    table: Index
    tables: tuple[str, ...]
    row: Rows


class _RefusedError(Exception):
    """A field of a row of assays that cannot be used."""

    def __init__(self, reason: RowReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def read_assays(tables: Sequence[SourceTable], log: RejectLog) -> tuple[Assay, ...]:
    """The assays of tables T0, in order; of an identifier that stands twice, none."""
    found: dict[str, tuple[str, int, Assay]] = {}
    twice: set[str] = set()
    for table in tables:
        for row, fields in _records(table):
            try:
                assay = _assay(fields)
            except _RefusedError as refused:
                log.add(table.name, np.array([row]), refused.reason, str(refused), pa.array([fields[ASSAY_ID]]))
                continue
            if assay.assay_id in found:
                twice.add(assay.assay_id)
                _log_twice(log, table.name, row, assay.assay_id)
            else:
                found[assay.assay_id] = (table.name, row, assay)
    for name in twice:
        table_name, row, _ = found.pop(name)
        _log_twice(log, table_name, row, name)
    return _one_per_catalogue(found, log)


def named_assays(tables: Sequence[SourceTable], log: RejectLog) -> frozenset[str]:
    """Every identifier that tables T0 mention, those of rows that were turned away included."""
    names = {fields[ASSAY_ID] for table in tables for _, fields in _records(table)}
    for table in tables:
        place = table.columns.column_names.index(ASSAY_ID)
        lost = [text.split(",") for text in log.texts(table.name, RowReason.FIELD_COUNT)]
        names.update(fields[place].strip(' "') for fields in lost if len(fields) > place)
    return frozenset(names - {""})


def read_catalogue(tables: Sequence[SourceTable], log: RejectLog) -> tuple[CatalogueTask, ...]:
    """The tasks of tables T_cat; a task that stands twice counts once."""
    tasks: dict[str, CatalogueTask] = {}
    for table in tables:
        for row, fields in _records(table):
            try:
                task = CatalogueTask(
                    catalogue_id=_required(fields, CATALOGUE_ASSAY),
                    task_id=_required(fields, CATALOGUE_TASK),
                    threshold=_number(fields, THRESHOLD),
                    auxiliary=fields.get("threshold_method", "").replace("_", "-") in ("aux-low", "aux-high"),
                )
                if tasks.setdefault(task.task_id, task) != task:
                    raise _RefusedError(
                        RowReason.DUPLICATE_ASSAY, "the task stands in the catalogue with two descriptions"
                    )
            except _RefusedError as refused:
                log.add(table.name, np.array([row]), refused.reason, str(refused), pa.array([fields[CATALOGUE_TASK]]))
    return tuple(tasks.values())


def read_results(
    tables: Sequence[SourceTable], assays: Mapping[str, int], compounds: Mapping[str, int], log: RejectLog
) -> RawResults:
    """The usable rows of tables T1.

    Args:
        tables: The tables.
        assays: Index of each assay by identifier; below 0 for one whose description was turned away.
        compounds: Index of each compound by identifier; below 0 for one whose structure was turned away.
        log: Where rows that cannot be used are noted.
    """
    units: dict[str, int] = {"": 0}
    parts = [_read_part(number, table, assays, compounds, units, log) for number, table in enumerate(tables)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return RawResults(
        compound=joined["compound"].astype(np.int32),
        assay=joined["assay"].astype(np.int32),
        value=joined["value"],
        qualifier=joined["qualifier"].astype(np.int8),
        unit=joined["unit"].astype(np.int32),
        units=tuple(units),
        table=joined["table"].astype(np.int32),
        tables=tuple(table.name for table in tables),
        row=joined["row"],
    )


def _read_part(
    number: int,
    table: SourceTable,
    assays: Mapping[str, int],
    compounds: Mapping[str, int],
    units: dict[str, int],
    log: RejectLog,
) -> dict[str, Codes | Vector]:
    open_rows = np.ones(table.rows.size, dtype=bool)

    def refuse(bad: np.ndarray[tuple[int], np.dtype[np.bool_]], reason: RowReason, text: str, column: str) -> None:
        rows = np.flatnonzero(bad & open_rows)
        open_rows[rows] = False
        log.add(table.name, table.rows[rows], reason, text, shown(table.column(column).take(pa.array(rows))))

    compound = _codes(table.column(COMPOUND_ID), {"": _MISSING, **compounds}, missing=_MISSING)
    assay = _codes(table.column(ASSAY_ID), {"": _MISSING, **assays}, missing=_MISSING)
    for codes, column in ((assay, ASSAY_ID), (compound, COMPOUND_ID)):
        refuse(codes == _MISSING, RowReason.MISSING, f"{table.name_of(column)} is missing", column)
    refuse(assay == _UNKNOWN, RowReason.UNKNOWN_ASSAY, "no table of assays describes it", ASSAY_ID)
    refuse(assay < 0, RowReason.REFUSED_ASSAY, "its assay's row in T0 was turned away: see its reason there", ASSAY_ID)
    refuse(compound == _UNKNOWN, RowReason.UNKNOWN_COMPOUND, "no table of compounds has its structure", COMPOUND_ID)
    refuse(compound < 0, RowReason.NO_STRUCTURE, "the structure of its compound was turned away", COMPOUND_ID)
    qualifier = np.zeros(table.rows.size, dtype=np.int64)
    if table.has(QUALIFIER):
        qualifier = _codes(table.column(QUALIFIER), QUALIFIERS, missing=EXACT)
        refuse(qualifier == _UNKNOWN, RowReason.QUALIFIER, f"one of {' '.join(QUALIFIERS)} is needed", QUALIFIER)
    value, problem, leading = _values(table.column(VALUE))
    prefixed = leading != EXACT
    contradicts = prefixed & (qualifier != EXACT) & (qualifier != leading)
    refuse(contradicts, RowReason.QUALIFIER, "the value and its qualifier contradict each other", VALUE)
    qualifier = np.where(prefixed, leading, qualifier)
    for reason, (bad, text) in problem.items():
        refuse(bad, reason, text, VALUE)
    unit = np.zeros(table.rows.size, dtype=np.int64)
    if table.has(UNIT):
        unit = _unit_codes(table.column(UNIT), units)
    good = np.flatnonzero(open_rows)
    return {
        "compound": compound[good],
        "assay": assay[good],
        "value": value[good],
        "qualifier": qualifier[good],
        "unit": unit[good],
        "table": np.full(good.size, number, dtype=np.int64),
        "row": table.rows[good],
    }


def _values(column: pa.Array) -> tuple[Vector, dict[RowReason, tuple[np.ndarray, str]], Codes]:
    """Values; per reason the rows that have none and an explanation; and qualifiers that stood before values."""
    problems = Problems()
    value, codes = read_values(column, conversion(None, None), problems)
    leading = np.zeros(value.size, dtype=np.int64)
    wrong = problems.code(Reason.NUMBER, "the value is not a number")
    bad = np.flatnonzero(codes == wrong)
    if bad.size:
        fields, index = distinct_fields(column.take(pa.array(bad)))
        read = [_prefixed(field.decode(errors="replace").strip()) for field in fields]
        found = np.array([number for number, _ in read])[index]
        signs = np.array([sign for _, sign in read], dtype=np.int64)[index]
        good = np.isfinite(found)
        value[bad[good]], leading[bad[good]], codes[bad[good]] = found[good], signs[good], 0
    missing = problems.code(Reason.MISSING, "the value is missing")
    reasons = {
        RowReason.MISSING: (codes == missing, "the value is missing"),
        RowReason.NUMBER: (codes == wrong, "the value is not a number"),
        RowReason.INFINITE: (codes != 0, "the value is not finite, or too large for 32 bits"),
    }
    return value, reasons, leading


def _prefixed(text: str) -> tuple[float, int]:
    """Number and qualifier of a text such as "<10" or ">= 3"; NaN if it is none."""
    for length in (2, 1):
        sign = QUALIFIERS.get(text[:length])
        if sign is not None and len(text) > length and "_" not in text:
            try:
                return float(text[length:]), sign
            except ValueError:
                return math.nan, EXACT
    return math.nan, EXACT


def _codes(column: pa.Array, known: Mapping[str, int], missing: int = _UNKNOWN) -> Codes:
    """Per row the code of its field, as text without surrounding space."""
    text = column if pa.types.is_dictionary(column.type) else column.cast(pa.large_binary(), safe=False)
    fields, index = distinct_fields(text)
    codes = [known.get(field.decode(errors="replace").strip(), _UNKNOWN) for field in fields]
    return np.array([*codes, missing], dtype=np.int64)[index]


def _unit_codes(column: pa.Array, units: dict[str, int]) -> Codes:
    fields, index = distinct_fields(column)
    names = [field.decode(errors="replace").strip() for field in fields]
    codes = [units.setdefault(name, len(units)) for name in names]
    return np.array([*codes, 0], dtype=np.int64)[index]


def _records(table: SourceTable) -> list[tuple[int, dict[str, str]]]:
    """Rows of a small table as texts by column."""
    columns = {name: shown(table.column(name)).to_pylist() for name in table.columns.column_names}
    rows = table.rows.tolist()
    return [(row, {name: texts[i].strip() for name, texts in columns.items()}) for i, row in enumerate(rows)]


def _assay(fields: Mapping[str, str]) -> Assay:
    experts = [f"expert_threshold_{number}" for number in range(1, MAX_EXPERT_THRESHOLDS + 1)]
    thresholds = [_number(fields, name) for name in experts if fields.get(name)]
    try:
        return Assay(
            assay_id=_required(fields, ASSAY_ID),
            assay_type=_chosen(fields, ASSAY_TYPE, {kind.value: kind for kind in AssayType}),
            use_in_regression=_chosen(fields, "use_in_regression", _FLAGS, "true"),
            is_binary=_chosen(fields, "is_binary", _FLAGS, "false"),
            direction=_chosen(fields, "direction", {one.value: one for one in Direction}, Direction.EITHER.value),
            expert_thresholds=tuple(sorted(set(thresholds))),
            catalogue_id=fields.get(CATALOGUE_ASSAY) or None,
            unit=plain_unit(fields.get(UNIT, "")),
        )
    except DataFileError as error:
        raise _RefusedError(RowReason.THRESHOLD, str(error)) from error


def _required(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise _RefusedError(RowReason.MISSING, f"{name} is missing")
    return fields[name]


def _number(fields: Mapping[str, str], name: str) -> float:
    text = _required(fields, name)
    try:
        number = float(text)
    except ValueError as error:
        raise _RefusedError(RowReason.NUMBER, f"{name} is not a number: {text!r}") from error
    if not math.isfinite(number):
        raise _RefusedError(RowReason.INFINITE, f"{name} is not finite: {text!r}")
    return number


def _chosen(fields: Mapping[str, str], name: str, choices: Mapping[str, ThingT], default: str | None = None) -> ThingT:
    text = fields.get(name) or default or ""
    for word in (text, text.lower()):
        if word in choices:
            return choices[word]
    known = ", ".join(word for word in choices if word)
    raise _RefusedError(RowReason.CHOICE, f"{name} must be one of {known}, got {text!r}")


def _log_twice(log: RejectLog, table: str, row: int, name: str) -> None:
    text = "the assay is described twice; nobody can say which description holds"
    log.add(table, np.array([row]), RowReason.DUPLICATE_ASSAY, text, pa.array([name]))


def _one_per_catalogue(found: Mapping[str, tuple[str, int, Assay]], log: RejectLog) -> tuple[Assay, ...]:
    """The assays; of several that are one assay of the catalogue, the first."""
    kept: list[Assay] = []
    panels: set[str] = set()
    for table, row, assay in found.values():
        is_panel = assay.assay_type is AssayType.CATALOG_PANEL and assay.catalogue_id is not None
        if is_panel and assay.catalogue_id in panels:
            text = f"another assay is the catalogue's {assay.catalogue_id} already; join their results first"
            log.add(table, np.array([row]), RowReason.DUPLICATE_ASSAY, text, pa.array([assay.assay_id]))
            continue
        if is_panel:
            panels.add(str(assay.catalogue_id))
        kept.append(assay)
    return tuple(kept)
