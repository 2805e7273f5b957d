"""Small assays, tables and keys that several tests share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.assays import Assay, AssayType, Results
from pharmonia.data.assays_tables import SourceTable

KEY = PreparationKey(secret=bytes(range(32)))
SIGNS = {"<": -1, "=": 0, ">": 1}


def assay(name: str = "a", kind: AssayType = AssayType.OTHER, **fields: object) -> Assay:
    """An assay with these fields."""
    return Assay(assay_id=name, assay_type=kind, **fields)  # type: ignore[arg-type]


def results(rows: Sequence[tuple[int, int, str, float]]) -> Results:
    """Results of rows (compound, assay, qualifier, value)."""
    compound, which, signs, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Results(
        compound=np.array(compound, dtype=np.int32),
        assay=np.array(which, dtype=np.int32),
        value=np.array(values, dtype=np.float64),
        qualifier=np.array([SIGNS[sign] for sign in signs], dtype=np.int8),
    )


def source(name: str, columns: Mapping[str, Sequence[object]]) -> SourceTable:
    """A table as the CSV reader hands it over: every field text, or missing."""
    coded = pa.dictionary(pa.int32(), pa.binary())
    arrays = {}
    for column, fields in columns.items():
        texts = pa.array([None if field is None else str(field).encode() for field in fields], pa.binary())
        arrays[column] = texts if column == "standard_value" else texts.cast(coded)
    n_rows = len(next(iter(columns.values())))
    return SourceTable(name=name, columns=pa.table(arrays), rows=np.arange(1, n_rows + 1, dtype=np.int64))


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """A CSV file of these columns."""
    lines = [",".join(columns)]
    lines += [
        ",".join("" if field is None else str(field) for field in row) for row in zip(*columns.values(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
