"""Compounds as tables list them, to distinct standard forms, to rows of a sparse matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.base.errors import DataFileError
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.assays import Index, Signs
from pharmonia.data.assays_rejects import RejectLog, RowReason, Rows
from pharmonia.data.assays_tables import COMPOUND_ID, SMILES, SourceTable
from pharmonia.data.fields import Codes, distinct_fields, shown

REFUSED = -1  # index of an identifier whose structure was turned away
TWO_STRUCTURES = "the identifier has two structures that differ in standard form; nobody can say which was measured"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListedCompounds:
    """Rows of tables of compounds that name both an identifier and a structure.

    Args:
        ids: Distinct identifiers, in order of first appearance.
        smiles: Distinct structures as listed, in order of first appearance.
        identifier: (n,) int64, index into `ids`.
        structure: (n,) int64, index into `smiles`.
        table: (n,) int64, index into `tables`.
        tables: Their names.
        row: (n,) int64, number of the row in its table.
    """

    ids: tuple[str, ...]
    smiles: tuple[str, ...]
    identifier: Codes
    structure: Codes
    table: Codes
    tables: tuple[str, ...]
    row: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compounds:
    """Identifiers and the distinct standard forms that they stand for.

    Args:
        forms: Distinct standard forms, sorted, so that their order says nothing about the file's.
        form_of: Per identifier the index of its form, or -1 where its structure was turned away.
    """

    forms: tuple[str, ...]
    form_of: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompoundRows:
    """Forms by row of the matrix: forms of equal columns in one fold share a row.

    Args:
        features: One row per distinct pair of columns and fold.
        fold: (n_rows,) int8.
        row_of_form: (n_forms,) int32.
        n_torn: Rows whose columns stand in another fold once more.
    """

    features: CsrMatrix
    fold: Signs
    row_of_form: Index
    n_torn: int


def list_compounds(tables: Sequence[SourceTable], log: RejectLog) -> ListedCompounds:
    """The compounds of tables T2; rows without an identifier or a structure are turned away."""
    ids: dict[str, int] = {}
    smiles: dict[str, int] = {}
    parts = []
    for number, table in enumerate(tables):
        identifier = _codes(table.column(COMPOUND_ID), ids)
        structure = _codes(table.column(SMILES), smiles)
        nameless = np.flatnonzero(identifier < 0)
        log.add(table.name, table.rows[nameless], RowReason.MISSING, f"{table.name_of(COMPOUND_ID)} is missing")
        empty = np.flatnonzero((identifier >= 0) & (structure < 0))
        named = shown(table.column(COMPOUND_ID).take(pa.array(empty)))
        log.add_refusals(table.name, table.rows[empty], [Refusal.EMPTY] * empty.size, named)
        good = np.flatnonzero((identifier >= 0) & (structure >= 0))
        parts.append((identifier[good], structure[good], np.full(good.size, number), table.rows[good]))
    identifier, structure, table_of, row = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ListedCompounds(
        ids=tuple(ids),
        smiles=tuple(smiles),
        identifier=identifier,
        structure=structure,
        table=table_of,
        tables=tuple(table.name for table in tables),
        row=row,
    )


def resolve(listed: ListedCompounds, standard: Sequence[str | Refusal], log: RejectLog) -> Compounds:
    """The forms that identifiers stand for.

    Args:
        listed: The compounds.
        standard: Per listed structure its standard form or why it has none.
        log: Where rows with structures that have none, or of identifiers with two, are noted.
    """
    forms = sorted({form for form in standard if not isinstance(form, Refusal)})
    number = {form: index for index, form in enumerate(forms)}
    codes = [REFUSED if isinstance(form, Refusal) else number[form] for form in standard]
    form = np.array(codes, dtype=np.int64)[listed.structure]
    bad = np.flatnonzero(form == REFUSED)
    _log_refused(listed, bad, standard, log)
    lowest = np.full(len(listed.ids), np.iinfo(np.int64).max)
    highest = np.full(len(listed.ids), REFUSED)
    good = np.flatnonzero(form != REFUSED)
    np.minimum.at(lowest, listed.identifier[good], form[good])
    np.maximum.at(highest, listed.identifier[good], form[good])
    torn = (highest != REFUSED) & (lowest != highest)
    ambiguous = good[torn[listed.identifier[good]]]
    for index, name in enumerate(listed.tables):
        rows = ambiguous[listed.table[ambiguous] == index]
        names = pa.array([listed.ids[one] for one in listed.identifier[rows].tolist()], pa.string())
        log.add(name, listed.row[rows], RowReason.TWO_STRUCTURES, TWO_STRUCTURES, names)
    highest[torn] = REFUSED
    return Compounds(forms=tuple(forms), form_of=dict(zip(listed.ids, highest.tolist(), strict=True)))


def group_rows(features: CsrMatrix, fold: Signs) -> CompoundRows:
    """Forms of equal columns and fold under one row; rows in the order of their first forms.

    Raises:
        DataFileError: Another number of folds than forms.
    """
    if fold.shape != (features.n_rows,):
        raise DataFileError(f"{features.n_rows} forms have {fold.size} folds")
    rows: dict[tuple[int, bytes], int] = {}
    folds_of_columns: dict[bytes, set[int]] = {}
    row_of_form = np.empty(features.n_rows, dtype=np.int32)
    firsts = []
    for index, where in enumerate(fold.tolist()):
        columns = features.row(index).tobytes()
        known = len(rows)
        row_of_form[index] = rows.setdefault((where, columns), known)
        if row_of_form[index] == known:
            firsts.append(index)
            folds_of_columns.setdefault(columns, set()).add(where)
    first = np.array(firsts, dtype=np.int64)
    n_torn = sum(len(folds) for folds in folds_of_columns.values() if len(folds) > 1)
    return CompoundRows(features=take_rows(features, first), fold=fold[first], row_of_form=row_of_form, n_torn=n_torn)


def take_rows(matrix: CsrMatrix, rows: npt.NDArray[np.int64]) -> CsrMatrix:
    """The matrix of these rows, in this order."""
    lengths = np.diff(matrix.indptr)[rows]
    indptr = np.zeros(rows.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    flat = np.arange(indptr[-1]) + np.repeat(matrix.indptr[rows] - indptr[:-1], lengths)
    return CsrMatrix(indptr=indptr, indices=matrix.indices[flat], n_columns=matrix.n_columns)


def _codes(column: pa.Array, known: dict[str, int]) -> Codes:
    """Per row the number of its text, new texts numbered on; -1 where empty."""
    text = column if pa.types.is_dictionary(column.type) else column.cast(pa.large_binary(), safe=False)
    fields, index = distinct_fields(text)
    texts = [field.decode(errors="replace").strip() for field in fields]
    codes = [known.setdefault(text, len(known)) if text else -1 for text in texts]
    return np.array([*codes, -1], dtype=np.int64)[index]


def _log_refused(listed: ListedCompounds, bad: Rows, standard: Sequence[str | Refusal], log: RejectLog) -> None:
    for index, name in enumerate(listed.tables):
        rows = bad[listed.table[bad] == index]
        structures = listed.structure[rows].tolist()
        found = [standard[one] for one in structures]
        refusals = [one for one in found if isinstance(one, Refusal)]
        texts = pa.array([listed.smiles[one][:200] for one in structures], pa.string())
        if rows.size:
            log.add_refusals(name, listed.row[rows], refusals, texts)
