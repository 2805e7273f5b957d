"""A battery's outcomes as two tidy CSV files, exact to the last bit, and back.

results.csv has one row per cell, curves.csv one row per cell and round. docs/battery-report.md describes the columns.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from pharmonia.base.errors import DataFileError, MetricError
from pharmonia.evaluate.battery import TRAINED_BESIDE, ArmScore, BatteryArm, CellKey, CellOutcome, metric_column
from pharmonia.evaluate.metrics import Metric

RESULTS_FILE = "results.csv"
CURVES_FILE = "curves.csv"
_KEY = tuple(field.name for field in fields(CellKey))
_COUNTS = ("rounds_run", "n_params", "bytes_to_partners", "bytes_from_partners")
_AMOUNTS = ("cpu_s", "wall_s")
_ADDED_LATER = ("test_rows_digest", *(f"cpu_s_{arm.column}" for arm in TRAINED_BESIDE))  # older files lack them
_ABSENT = dict.fromkeys(_ADDED_LATER, "")
RESULTS_COLUMNS = (
    *_KEY,
    "seed",
    "n_test",
    *(metric_column(metric, arm) for arm in BatteryArm for metric in Metric),
    *_COUNTS,
    *_AMOUNTS,
    "sum_error",
    "settings_digest",
    *_ADDED_LATER,
)
CURVES_COLUMNS = (*_KEY, "seed", "round", "valid_mse")
_MAX_DIGITS = 18
_Value = TypeVar("_Value")
_CellName = tuple[CellKey, int]


def results_csv(outcomes: Sequence[CellOutcome]) -> bytes:
    """results.csv: UTF-8 with a header, one row per cell, ordered by the columns of the key and the seed.

    Numbers are the shortest text that gives the same float64 back. Empty: the arm did not run, or the rows do
    not define the metric; in the first case its MSE is empty too.

    Raises:
        MetricError: A cell appears twice.
    """
    return _write(RESULTS_COLUMNS, (_result_row(outcome) for outcome in _ordered(outcomes)))


def curves_csv(outcomes: Sequence[CellOutcome]) -> bytes:
    """curves.csv: one row per cell and round, ordered as results.csv; rounds are counted from 0.

    Raises:
        MetricError: A cell appears twice.
    """
    return _write(
        CURVES_COLUMNS,
        (
            (*_key_row(outcome), str(index), repr(value))
            for outcome in _ordered(outcomes)
            for index, value in enumerate(outcome.curve.tolist())
        ),
    )


def outcomes_from_csv(results: bytes, curves: bytes) -> tuple[CellOutcome, ...]:
    """The outcomes of results.csv and curves.csv, in the order of results.csv.

    The way back from published files to a report, drawn otherwise or built anew. Files that are older than the columns
    after settings_digest are read without them.

    Raises:
        DataFileError: A file is damaged or the two do not belong together; names file, row and column. The
            header is row 1.
    """
    rows = list(_read(RESULTS_FILE, results, RESULTS_COLUMNS))
    parsed = _read_curves(curves)
    outcomes = [_outcome(row, parsed.pop(_cell_name(row), [])) for row in rows]
    if parsed:
        key, seed = next(iter(parsed))
        raise DataFileError(f"{CURVES_FILE} has {key}, seed {seed}, which {RESULTS_FILE} lacks")
    try:
        _ordered(outcomes)
    except MetricError as error:
        raise DataFileError(f"{RESULTS_FILE}: {error}") from error
    return tuple(outcomes)


def _ordered(outcomes: Sequence[CellOutcome]) -> list[CellOutcome]:
    names = [(outcome.key, outcome.seed) for outcome in outcomes]
    if len(set(names)) != len(names):
        key, seed = next(name for name in names if names.count(name) > 1)
        raise MetricError(f"{key}, seed {seed} appears twice")
    return sorted(outcomes, key=lambda outcome: (outcome.key, outcome.seed))


def _write(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _key_row(outcome: CellOutcome) -> list[str]:
    return [*(str(getattr(outcome.key, name)) for name in _KEY), str(outcome.seed)]


def _result_row(outcome: CellOutcome) -> list[str]:
    by_arm = {score.arm: score for score in outcome.scores}
    scores = [_text(by_arm[arm].of(metric)) if arm in by_arm else "" for arm in BatteryArm for metric in Metric]
    amounts = [repr(float(getattr(outcome, name))) for name in _AMOUNTS]
    return [
        *_key_row(outcome),
        str(outcome.n_test),
        *scores,
        *(str(getattr(outcome, name)) for name in _COUNTS),
        *amounts,
        _text(outcome.sum_error),
        outcome.settings_digest,
        outcome.test_rows_digest or "",
        *(_text(outcome.cpu_s_beside.get(arm)) for arm in TRAINED_BESIDE),
    ]


def _text(value: float | None) -> str:
    return "" if value is None else repr(float(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of a file, read column by column."""

    file: str
    number: int  # the header is row 1
    cells: dict[str, str]

    def error(self, column: str, expected: str) -> DataFileError:
        got = self.cells[column]
        return DataFileError(f"{self.file}, row {self.number}, column {column}: expected {expected}, got {got!r}")

    def count(self, column: str) -> int:
        text = self.cells[column]
        if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
            raise self.error(column, "a whole number from 0")
        return int(text)

    def number_in(self, column: str) -> float:
        text = self.cells[column]
        try:
            value = float(text)
        except ValueError as error:
            raise self.error(column, "a number") from error
        if not math.isfinite(value) or "_" in text or text != text.strip():
            raise self.error(column, "a finite number")
        return value

    def optional(self, column: str) -> float | None:
        return self.number_in(column) if self.cells[column] else None

    def build(self, make: Callable[[], _Value]) -> _Value:
        """What ``make`` builds; a refusal names file and row."""
        try:
            return make()
        except MetricError as error:
            raise DataFileError(f"{self.file}, row {self.number}: {error}") from error


def _read(file: str, content: bytes, columns: Sequence[str]) -> Iterable[_Row]:
    try:
        table = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(f"{file} is not a CSV file in UTF-8: {error}") from error
    if not table:
        raise DataFileError(f"{file} is empty, expected a header")
    if table[0] == [column for column in columns if column not in _ADDED_LATER]:
        columns = table[0]
    missing = [column for column in columns if column not in table[0]]
    unknown = [column for column in table[0] if column not in columns]
    if missing or unknown or tuple(table[0]) != tuple(columns):
        raise DataFileError(
            f"{file}, row 1: not the columns of this version: missing {missing}, unknown {unknown}"
            + ("" if missing or unknown else ", or in another order")
        )
    for number, cells in enumerate(table[1:], start=2):
        if len(cells) != len(columns):
            raise DataFileError(f"{file}, row {number}: expected {len(columns)} columns, got {len(cells)}")
        yield _Row(file=file, number=number, cells=_ABSENT | dict(zip(columns, cells, strict=True)))


def _cell_name(row: _Row) -> _CellName:
    cells = row.cells
    n_partners = row.count("n_partners")
    key = row.build(
        lambda: CellKey(
            dataset=cells["dataset"],
            scenario=cells["scenario"],
            protocol=cells["protocol"],
            n_partners=n_partners,
            model=cells["model"],
            norm=cells["norm"],
            method=cells["method"],
        )
    )
    return key, row.count("seed")


def _read_curves(content: bytes) -> dict[_CellName, list[float]]:
    curves: dict[_CellName, list[float]] = {}
    for row in _read(CURVES_FILE, content, CURVES_COLUMNS):
        curve = curves.setdefault(_cell_name(row), [])
        if row.count("round") != len(curve):
            raise row.error("round", f"{len(curve)}, the cell's next")
        curve.append(row.number_in("valid_mse"))
    return curves


def _outcome(row: _Row, curve: list[float]) -> CellOutcome:
    key, seed = _cell_name(row)
    counts = {name: row.count(name) for name in ("n_test", *_COUNTS)}
    cpu_s, wall_s = (row.number_in(name) for name in _AMOUNTS)
    sum_error = row.optional("sum_error")
    beside = {arm: row.optional(f"cpu_s_{arm.column}") for arm in TRAINED_BESIDE}
    scores = tuple(score for arm in BatteryArm for score in _scores(row, arm))
    return row.build(
        lambda: CellOutcome(
            key=key,
            seed=seed,
            n_test=counts["n_test"],
            test_rows_digest=row.cells["test_rows_digest"] or None,
            scores=scores,
            rounds_run=counts["rounds_run"],
            n_params=counts["n_params"],
            bytes_to_partners=counts["bytes_to_partners"],
            bytes_from_partners=counts["bytes_from_partners"],
            cpu_s=cpu_s,
            wall_s=wall_s,
            cpu_s_beside={arm: amount for arm, amount in beside.items() if amount is not None},
            sum_error=sum_error,
            curve=np.array(curve, dtype=np.float64),
            settings_digest=row.cells["settings_digest"],
        )
    )


def _scores(row: _Row, arm: BatteryArm) -> tuple[ArmScore, ...]:
    """The arm's score, or nothing where it did not run."""
    values = {metric: row.optional(metric_column(metric, arm)) for metric in Metric}
    mse = values[Metric.MSE]
    if mse is None:
        for metric, value in values.items():
            if value is not None:
                raise row.error(metric_column(metric, arm), "nothing, as the arm has no MSE")
        return ()
    ci, pearson, r2m = values[Metric.CI], values[Metric.PEARSON], values[Metric.R2M]
    return (row.build(lambda: ArmScore(arm=arm, mse=mse, ci=ci, pearson=pearson, r2m=r2m)),)
