"""Tables as partners have them - TUNER's T0, T1, T2 and T_cat, or plain long and wide ones - under one set of names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.base.errors import DataFileError, OptionError
from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.units import LOG_UNITS

COMPOUND_ID, ASSAY_ID, SMILES = "input_compound_id", "input_assay_id", "smiles"
QUALIFIER, VALUE, UNIT = "standard_qualifier", "standard_value", "standard_unit"
CATALOGUE_ASSAY, CATALOGUE_TASK = "catalog_assay_id", "catalog_task_id"
ASSAY_TYPE, THRESHOLD = "assay_type", "threshold"

Rows = npt.NDArray[np.int64]


class TableKind(StrEnum):
    """What a table holds, told by its columns."""

    ASSAYS = "assays (T0)"
    RESULTS = "results (T1)"
    COMPOUNDS = "compounds (T2)"
    CATALOGUE = "catalogue (T_cat)"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceTable:
    """A table as it was read.

    Args:
        name: For messages and rejects; a file's name.
        columns: Its columns, text or numbers; repeated texts may be dictionary-encoded.
        rows: (n_rows,) int64, numbers of the rows in their file, counted from 1 without the header.
        own_names: What the file calls its columns, where that differs.
    """

    name: str
    columns: pa.Table
    rows: Rows
    own_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.columns.num_rows != self.rows.size:
            raise DataFileError(f"{self.name}: {self.columns.num_rows} rows have {self.rows.size} numbers")

    def column(self, name: str) -> pa.Array:
        """One column in one piece, as text unless it holds numbers in `standard_value`."""
        whole = self.columns[name].combine_chunks()
        if pa.types.is_dictionary(whole.type) and not _is_text(whole.type.value_type):
            whole = whole.dictionary_decode()
        if pa.types.is_dictionary(whole.type) or _is_text(whole.type) or (name == VALUE and _is_number(whole.type)):
            return whole
        try:
            return whole.cast(pa.string())
        except pa.ArrowException as error:
            raise DataFileError(
                f"{self.name}: the column {name!r} is of {whole.type}, not of text or numbers"
            ) from error

    def name_of(self, name: str) -> str:
        """What the file calls a column."""
        return self.own_names.get(name, name)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.columns.column_names


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainLayout:
    """Which column of a plain table holds what: either `assay` and `value`, or `endpoints`.

    Args:
        smiles: Structures.
        compound_id: The partner's identifiers; None to identify compounds by their SMILES.
        assay: Names of assays (long table).
        value: Results (long table).
        qualifier: Qualifiers (long table); None: values may have them in front, as in "<10".
        unit: Units (long table).
        endpoints: Columns of results, one assay each (wide table).
        assay_type: Type of assays that no table T0 describes.
        direction: Which of their values are active.
        to: The negative log10 unit that their concentrations become; None to keep their units.

    Raises:
        OptionError: Neither a long nor a wide layout, or both; a unit to convert to without a column of units.
        UnknownNameError: The unit to convert to is none of `LOG_UNITS`.
    """

    smiles: str
    compound_id: str | None = None
    assay: str | None = None
    value: str | None = None
    qualifier: str | None = None
    unit: str | None = None
    endpoints: tuple[str, ...] = ()
    assay_type: AssayType = AssayType.OTHER
    direction: Direction = Direction.HIGH
    to: str | None = None

    def __post_init__(self) -> None:
        long = self.assay is not None and self.value is not None
        parts = (self.assay, self.value, self.qualifier, self.unit)
        if long == bool(self.endpoints) or (self.endpoints and any(part is not None for part in parts)):
            raise OptionError("name the columns of a plain table: those of assays and values, or those of endpoints")
        if self.to is not None and self.to not in LOG_UNITS:
            raise unknown_name("unit to convert to", self.to, LOG_UNITS)
        if self.to is not None and self.unit is None:
            raise OptionError(f"results become {self.to} from the units that they state: name the column of units")


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedTables:
    """Tables by what they hold, plain ones taken apart into results and compounds.

    Args:
        assays: Tables with `input_assay_id` and `assay_type`.
        results: Tables with `input_compound_id`, `input_assay_id` and `standard_value`.
        compounds: Tables with `input_compound_id` and `smiles`.
        catalogue: Tables with `catalog_assay_id` and `catalog_task_id`.
        plain_assays: Names of assays that plain tables mention.
    """

    assays: tuple[SourceTable, ...]
    results: tuple[SourceTable, ...]
    compounds: tuple[SourceTable, ...]
    catalogue: tuple[SourceTable, ...]
    plain_assays: tuple[str, ...]


def kind_of(column_names: Iterable[str]) -> TableKind:
    """What a table with these columns holds."""
    names = set(column_names)
    if {CATALOGUE_ASSAY, CATALOGUE_TASK, THRESHOLD} <= names:
        return TableKind.CATALOGUE
    if {ASSAY_ID, ASSAY_TYPE} <= names and VALUE not in names:
        return TableKind.ASSAYS
    if {COMPOUND_ID, ASSAY_ID, VALUE} <= names:
        return TableKind.RESULTS
    if {COMPOUND_ID, SMILES} <= names:
        return TableKind.COMPOUNDS
    return TableKind.PLAIN


def sort_tables(tables: Iterable[SourceTable], layout: PlainLayout | None) -> SortedTables:
    """The tables by what they hold; with a layout, all but assays and catalogues are plain ones.

    Raises:
        DataFileError: A plain table without a layout, or no compounds or results at all.
        UnknownNameError: A column of the layout does not exist.
    """
    found: dict[TableKind, list[SourceTable]] = {kind: [] for kind in TableKind}
    plain_assays: dict[str, None] = {}
    for table in tables:
        kind = kind_of(table.columns.column_names)
        if kind in (TableKind.ASSAYS, TableKind.CATALOGUE) or (layout is None and kind is not TableKind.PLAIN):
            found[kind].append(table)
            continue
        if layout is None:
            raise DataFileError(
                f"{table.name} is none of TUNER's tables T0, T1, T2 and T_cat: name its columns with "
                "--smiles-column and --endpoint, or --smiles-column, --assay-column and --value-column"
            )
        compounds, results = _take_apart(table, layout)
        found[TableKind.COMPOUNDS].append(compounds)
        found[TableKind.RESULTS].extend(results)
        for part in results:
            plain_assays.update(dict.fromkeys(_names(part.column(ASSAY_ID))))
    for kind, what in ((TableKind.COMPOUNDS, "structures"), (TableKind.RESULTS, "results")):
        if not found[kind]:
            raise DataFileError(f"there is no table of {what} among the files")
    return SortedTables(
        assays=tuple(found[TableKind.ASSAYS]),
        results=tuple(found[TableKind.RESULTS]),
        compounds=tuple(found[TableKind.COMPOUNDS]),
        catalogue=tuple(found[TableKind.CATALOGUE]),
        plain_assays=tuple(plain_assays),
    )


def _take_apart(table: SourceTable, layout: PlainLayout) -> tuple[SourceTable, list[SourceTable]]:
    named = (layout.smiles, layout.compound_id, layout.assay, layout.value, layout.qualifier, layout.unit)
    for name in (*(one for one in named if one is not None), *layout.endpoints):
        if not table.has(name):
            raise unknown_name(f"column of {table.name}", name, table.columns.column_names)
    ids = table.column(layout.compound_id or layout.smiles)
    compounds = pa.table({COMPOUND_ID: ids, SMILES: table.column(layout.smiles)})
    results = (
        [_long(table, ids, layout)] if layout.assay else [_wide(table, ids, one, layout) for one in layout.endpoints]
    )
    return SourceTable(name=table.name, columns=compounds, rows=table.rows, own_names=_own_names(layout)), results


def _own_names(layout: PlainLayout) -> dict[str, str]:
    names = {COMPOUND_ID: layout.compound_id or layout.smiles, SMILES: layout.smiles, ASSAY_ID: layout.assay}
    return {name: own for name, own in names.items() if own is not None}


def _long(table: SourceTable, ids: pa.Array, layout: PlainLayout) -> SourceTable:
    places = {ASSAY_ID: layout.assay, VALUE: layout.value, QUALIFIER: layout.qualifier, UNIT: layout.unit}
    columns = {name: table.column(place) for name, place in places.items() if place is not None}
    whole = pa.table({COMPOUND_ID: ids, **columns})
    return SourceTable(name=table.name, columns=whole, rows=table.rows, own_names=_own_names(layout))


def _wide(table: SourceTable, ids: pa.Array, endpoint: str, layout: PlainLayout) -> SourceTable:
    """The measured cells of one column."""
    cells = table.column(endpoint)
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    measured = np.array([_is_measured(cell) for cell in cells.to_pylist()], dtype=bool)
    rows = np.flatnonzero(measured)
    chosen = pa.array(rows)
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows.size, dtype=np.int32)), pa.array([endpoint]))
    columns = {COMPOUND_ID: ids.take(chosen), ASSAY_ID: name, VALUE: cells.take(chosen)}
    names = _own_names(layout)
    return SourceTable(name=table.name, columns=pa.table(columns), rows=table.rows[rows], own_names=names)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(check(kind) for check in checks)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_measured(cell: object) -> bool:
    text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
    return cell is not None and text.strip().lower() not in ("", "nan")


def _names(column: pa.Array) -> list[str]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    return [text.decode(errors="replace").strip() for text in texts if text and text.strip()]
