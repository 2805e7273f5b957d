"""Predictions as tables, wide or long, appended chunk by chunk to a CSV or Parquet file that appears when whole."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pharmonia.base.errors import DataFileError, InputError, OptionError
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.tasks import TaskKind
from pharmonia.run.bundle_tasks import BundleTask
from pharmonia.run.predict import SETS, PredictionTable
from pharmonia.run.predict_domain import DomainState
from pharmonia.run.predict_input import InputRecord

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_COMPOUND = (
    ("row", pa.int64()),
    ("id", pa.string()),
    ("smiles", pa.string()),
    ("standard_smiles", pa.string()),
    ("reason", pa.string()),
    ("novelty", pa.float64()),
    ("domain_p", pa.float64()),
)
_PREDICTION = (
    ("predicted", pa.float32()),
    ("lower", pa.float64()),
    ("upper", pa.float64()),
    ("p_inactive", pa.float64()),
    ("p_active", pa.float64()),
    ("set", pa.string()),
    ("in_domain", pa.bool_()),
)
_OF_CLASS = ("predicted", "p_inactive", "p_active", "set", "in_domain")
_OF_VALUE = ("predicted", "lower", "upper", "in_domain")
_MISSING = np.array([*SETS, None], dtype=object)

Rows = npt.NDArray[np.int64]


class TableLayout(StrEnum):
    """How predictions are laid out."""

    WIDE = "wide"  # a row per compound
    LONG = "long"  # a row per compound and task


class Sink:
    """A file that tables of one schema are appended to."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._stream: pa.NativeFile | None = None
        if path.name.lower().endswith(".parquet.partial"):
            self._writer = pq.ParquetWriter(path, schema)
            return
        packed = path.name.lower().endswith(".gz.partial")
        plain = pa.OSFile(str(path), "wb")
        self._stream = pa.CompressedOutputStream(plain, "gzip") if packed else plain
        self._writer = pa_csv.CSVWriter(self._stream, schema)

    def append(self, table: pa.Table) -> None:
        """Write rows of the schema."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        if self._stream is not None:
            self._stream.close()


@contextmanager
def sink(path: Path, schema: pa.Schema) -> Iterator[Sink]:
    """A file to append to, in place once the block ends well and not before.

    Raises:
        DataFileError: Its name ends in something else than .csv, .csv.gz or .parquet.
        InputError: It exists, or cannot be written.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise DataFileError(f"{path.name}: the name should end in one of {', '.join(SUFFIXES)}")
    if path.exists():
        raise InputError(f"{path} exists; predictions never overwrite a file, choose another name")
    partial = path.with_name(f".{os.getpid()}.{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = Sink(partial, schema)
        try:
            yield target
        finally:
            target.close()
        partial.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot write {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def schema_of(tasks: Sequence[BundleTask], layout: TableLayout) -> pa.Schema:
    """The columns of predictions of these tasks.

    Raises:
        OptionError: Two columns of a wide table would have one name.
    """
    if layout is TableLayout.LONG:
        return pa.schema([*_COMPOUND, ("task", pa.string()), ("assay", pa.string()), *_PREDICTION])
    types = dict(_PREDICTION)
    columns = [(_column(task, part), types[part]) for task in tasks for part in _parts(task)]
    names = [name for name, _ in (*_COMPOUND, *columns)]
    if len(set(names)) != len(names):
        twice = min(name for name in names if names.count(name) > 1)
        raise OptionError(f"two columns would be called {twice!r}; ask for the long layout")
    return pa.schema([*_COMPOUND, *columns])


def as_table(records: Sequence[InputRecord], found: PredictionTable, layout: TableLayout) -> pa.Table:
    """Predictions of records, in their order; in the long layout, a compound without any has one row with its reason.

    Args:
        records: One for each row of the predictions.
        found: The predictions.
        layout: Of the table.
    """
    schema = schema_of(found.tasks, layout)
    values = _values(found)
    if layout is TableLayout.WIDE:
        compounds = _compounds(records, found, np.arange(len(found)))
        parts = [
            _array(values[part][:, number], schema.field(_column(task, part)).type)
            for number, task in enumerate(found.tasks)
            for part in _parts(task)
        ]
        return pa.table([*compounds, *parts], schema=schema)
    good = np.array([not isinstance(form, Refusal) for form in found.forms], dtype=np.bool_)
    lengths = np.where(good, len(found.tasks), 1)
    compound = np.repeat(np.arange(len(found)), lengths)
    within = np.arange(compound.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    names = [np.array([getattr(task, name) for task in found.tasks], dtype=object)
             for name in ("task_id", "assay_id")]  # fmt: skip
    lost = ~good[compound]
    texts = [np.where(lost, None, name[within]) for name in names]
    parts = [_array(values[part][compound, within], kind) for part, kind in _PREDICTION]
    columns = [*_compounds(records, found, compound), *(pa.array(text, pa.string()) for text in texts), *parts]
    return pa.table(columns, schema=schema)


def _values(found: PredictionTable) -> dict[str, npt.NDArray[np.generic]]:
    """(n_compounds, n_tasks) of each column of a prediction; None where there is none of texts and flags."""
    flags = found.in_domain.astype(object)
    flags[np.isnan(found.predicted) | (found.domain is DomainState.UNKNOWN)] = None
    return {
        "predicted": found.predicted,
        "lower": found.lower,
        "upper": found.upper,
        "p_inactive": found.p_inactive,
        "p_active": found.p_active,
        "set": _MISSING[found.sets],
        "in_domain": flags,
    }


def _compounds(records: Sequence[InputRecord], found: PredictionTable, rows: Rows) -> list[pa.Array]:
    forms = [None if isinstance(form, Refusal) else form for form in found.forms]
    reasons = [
        record.reason or (form.value if isinstance(form, Refusal) else "")
        for record, form in zip(records, found.forms, strict=True)
    ]
    columns = (
        pa.array([record.row for record in records], pa.int64()),
        pa.array([record.identifier for record in records], pa.string()),
        pa.array([record.smiles for record in records], pa.string()),
        pa.array(forms, pa.string()),
        pa.array(reasons, pa.string()),
        _array(found.novelty, pa.float64()),
        _array(found.domain_p, pa.float64()),
    )
    return [column.take(pa.array(rows)) for column in columns]


def _array(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """An Arrow array; NaN is missing."""
    return pa.array(values, kind, from_pandas=True)


def _parts(task: BundleTask) -> tuple[str, ...]:
    return _OF_CLASS if task.kind is TaskKind.CLASSIFICATION else _OF_VALUE


def _column(task: BundleTask, part: str) -> str:
    return task.task_id if part == "predicted" else f"{task.task_id}|{part}"
