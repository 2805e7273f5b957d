"""KIBA and Davis from the text files of the DeepDTA repository; its pickles are never read."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import DataFileError
from pharmonia.chem.graphs import Indices
from pharmonia.data.catalogue import CatalogueEntry
from pharmonia.data.interactions import NO_FOLD, TEST_FOLD, Interactions, Pairs
from pharmonia.data.joining import join_compounds, join_targets

NM_PER_M = 1e9

ReadFile = Callable[[str], bytes]  # the bytes of a source file by its path in the mirror


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Matrix:
    """The measured entries of a compound x target matrix, row by row."""

    compound: Indices
    target: Indices
    value: Vector


def parse_deepdta(entry: CatalogueEntry, read: ReadFile) -> Interactions:
    """The interactions of `kiba` or `davis`.

    Öztürk et al. 2018 (DeepDTA) and Nguyen et al. 2021 (GraphDTA): matrix rows are compounds and columns
    targets in the order of their lists; "nan" is not measured; the measured entries, row by row, are what the
    folds count from 0. Davis holds Kd in nM, which becomes pKd = -log10(Kd / 1e9).

    Args:
        entry: KIBA or DAVIS of the catalogue.
        read: The bytes of a source file; called once for each.

    Raises:
        DataFileError: A file is not what it should be; names the file and the row.
    """
    matrix_path, ligands_path, proteins_path, train_path, test_path = (file.path for file in entry.files)
    smiles = _listing(read(ligands_path), ligands_path)
    sequences = _listing(read(proteins_path), proteins_path)
    matrix = _parse_matrix(read(matrix_path), matrix_path, (len(smiles), len(sequences)))
    value = _pkd(matrix, matrix_path) if entry.measure == "pKd" else matrix.value
    fold = _parse_folds(_json(read(train_path), train_path), train_path, matrix.value.size)
    _mark_fold(fold, _json(read(test_path), test_path), TEST_FOLD, test_path)
    compounds = join_compounds(smiles, ligands_path)
    targets = join_targets(sequences, proteins_path)
    return Interactions(
        name=entry.name,
        measure=entry.measure,
        compound_ids=compounds.ids,
        smiles=compounds.texts,
        target_ids=targets.ids,
        sequences=targets.texts,
        pairs=Pairs(
            compound=compounds.index[matrix.compound],
            target=targets.index[matrix.target],
            value=value.astype(np.float32),
        ),
        fold=fold,
        n_listed_compounds=len(smiles),
        n_listed_targets=len(sequences),
    )


def _parse_matrix(content: bytes, where: str, shape: tuple[int, int]) -> _Matrix:
    n_compounds, n_targets = shape
    rows = list(_matrix_rows(content, where, n_targets))
    if len(rows) != n_compounds:
        raise DataFileError(f"{where}: expected {n_compounds} rows, one per listed compound, got {len(rows)}")
    columns = [np.flatnonzero(~np.isnan(row)) for row in rows]
    return _Matrix(
        compound=np.repeat(np.arange(n_compounds, dtype=np.int32), [found.size for found in columns]),
        target=np.concatenate(columns).astype(np.int32),
        value=np.concatenate([row[found] for row, found in zip(rows, columns, strict=True)]),
    )


def _matrix_rows(content: bytes, where: str, n_targets: int) -> Iterator[Vector]:
    for number, line in enumerate(content.splitlines(), start=1):
        cells = line.split()
        if len(cells) != n_targets:
            raise DataFileError(
                f"{where}, row {number}: expected {n_targets} values, one per listed target, got {len(cells)}"
            )
        try:
            row = np.array([float(cell) for cell in cells], dtype=np.float64)
        except ValueError as error:
            raise DataFileError(f"{where}, row {number}: {error}") from error
        if np.isinf(row).any():
            raise DataFileError(f"{where}, row {number}: a value is infinite")
        yield row


def _pkd(matrix: _Matrix, where: str) -> Vector:
    wrong = np.flatnonzero(matrix.value <= 0)
    if wrong.size:
        row, kd = int(matrix.compound[wrong[0]]) + 1, matrix.value[wrong[0]]
        raise DataFileError(f"{where}, row {row}: a Kd must be over 0 nM, got {kd:g}")
    pkd: Vector = -np.log10(matrix.value / NM_PER_M)
    return pkd


def _parse_folds(lists: object, where: str, n_rows: int) -> npt.NDArray[np.int8]:
    if not isinstance(lists, list) or not all(isinstance(rows, list) for rows in lists):
        raise DataFileError(f"{where}: expected a list of training folds, each a list of row numbers")
    fold = np.full(n_rows, NO_FOLD, dtype=np.int8)
    for number, rows in enumerate(lists, start=1):
        _mark_fold(fold, rows, number, where)
    return fold


def _mark_fold(fold: npt.NDArray[np.int8], rows: object, number: int, where: str) -> None:
    if not isinstance(rows, list) or not all(type(row) is int for row in rows):
        raise DataFileError(f"{where}: fold {number} should be a list of row numbers")
    index = np.array(rows, dtype=np.int64)
    if index.size and not 0 <= index.min() <= index.max() < fold.size:
        raise DataFileError(f"{where}: fold {number} names a row outside 0 to {fold.size - 1}")
    twice = index[fold[index] != NO_FOLD]
    if twice.size or np.unique(index).size != index.size:
        named = f", such as row {twice[0]}" if twice.size else ""
        raise DataFileError(f"{where}: fold {number} names rows that are in a fold already{named}")
    fold[index] = number


def _listing(content: bytes, where: str) -> Mapping[str, str]:
    listed = _json(content, where)
    if not isinstance(listed, dict) or not all(isinstance(text, str) for text in listed.values()):
        raise DataFileError(f"{where}: expected a JSON object from identifier to text")
    return listed


def _json(content: bytes, where: str) -> object:
    try:
        return json.loads(content, object_pairs_hook=_unique_keys)
    except ValueError as error:
        raise DataFileError(f"{where}: not readable as JSON: {error}") from error


def _unique_keys(items: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("an identifier is listed twice")
    return found
