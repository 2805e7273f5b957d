"""Rows of the user's own file to interactions, batch by batch; none is lost without a reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.base.arrays import ScalarT, Vector
from pharmonia.base.errors import DataFileError
from pharmonia.chem.proteins import clean_sequence
from pharmonia.chem.standardise import canonical_smiles, molecule
from pharmonia.data.fields import (
    Codes,
    Problems,
    Reason,
    UniqueTexts,
    distinct_fields,
    read_values,
    shown,
)
from pharmonia.data.interactions import NO_FOLD, Interactions, Pairs
from pharmonia.data.replicates import join_replicates
from pharmonia.data.units import LOG_UNITS, Conversion

REJECTS = pa.schema(
    [("row", pa.int64()), ("reason", pa.string()), ("explanation", pa.string()), ("value", pa.string())]
)

_TARGET_BITS = 32  # of a pair's key; the compound has the others
_TARGET_MASK = (1 << _TARGET_BITS) - 1
_FEWEST_RESIDUES = 20  # proteins have more
_LOGS = (0, 15)  # from one molar to one femtomolar


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of the file holds what; the identifiers are optional."""

    smiles: str
    sequence: str
    value: str
    compound_id: str | None
    target_id: str | None

    def named(self) -> list[str]:
        """The columns to read, each once."""
        every = (self.smiles, self.sequence, self.value, self.compound_id, self.target_id)
        return list(dict.fromkeys(column for column in every if column))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowBatch:
    """Some consecutive rows of a file.

    Args:
        rows: (n_rows,) int64, their numbers, counted from 1 without the header.
        fields: Their fields, by column.
        malformed: Number and text of rows in between that have too many or too few fields.
    """

    rows: npt.NDArray[np.int64]
    fields: pa.RecordBatch
    malformed: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the rows that were read.

    Args:
        n_read: Rows of the file.
        n_kept: Interactions made.
        n_merged: Repeated measurements that went into an interaction beside its first.
        rejected: Rows by the reason why they were rejected.

    Raises:
        DataFileError: The numbers do not add up.
    """

    n_read: int
    n_kept: int
    n_merged: int
    rejected: Mapping[Reason, int]

    def __post_init__(self) -> None:
        if self.n_kept + self.n_merged + self.n_rejected != self.n_read:
            raise DataFileError(f"rows are unaccounted for: {self.statement()}")

    @property
    def n_rejected(self) -> int:
        """Rejected rows."""
        return sum(self.rejected.values())

    def statement(self) -> str:
        """The numbers in one line."""
        reasons = ", ".join(f"{reason.value} {count:,}" for reason, count in self.rejected.items())
        return (
            f"{self.n_read:,} rows read: {self.n_kept:,} kept, {self.n_merged:,} merged, "
            f"{self.n_rejected:,} rejected" + (f" ({reasons})" if reasons else "")
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What an import comes to.

    Args:
        interactions: The data set; None when no row is left.
        rejects: Rows whose repeated measurements disagree, as `REJECTS`.
        tally: What became of all rows.
        warnings: What a person should look at: accepted rows that hold no measurement of a protein, as it seems.
    """

    interactions: Interactions | None
    rejects: pa.Table
    tally: Tally
    warnings: tuple[str, ...]


class Importer:
    """Takes batches of rows and holds, per accepted row, only its pair, value and number.

    The result does not depend on how the rows are cut into batches.
    """

    def __init__(self, columns: Columns, conversion: Conversion) -> None:
        self._columns, self._conversion = columns, conversion
        self._problems = Problems()
        self._compounds = UniqueTexts("SMILES", _readable_smiles, Reason.SMILES, self._problems)
        self._targets = UniqueTexts("sequence", clean_sequence, Reason.SEQUENCE, self._problems)
        self._compound_ids, self._target_ids = _Ids("compound"), _Ids("target")
        self._keys: list[Codes] = [np.zeros(0, dtype=np.int64)]
        self._values: list[Vector] = [np.zeros(0)]
        self._rows: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        self._n_read = 0
        self._rejected: Counter[Reason] = Counter()

    def add(self, batch: RowBatch) -> pa.Table:
        """Take a batch; gives back its rejected rows as `REJECTS`, in the order of the file."""
        names, fields = self._columns, batch.fields
        compound = self._compounds.codes(fields[names.smiles])
        target = self._targets.codes(fields[names.sequence])
        values, problem = read_values(fields[names.value], self._conversion, self._problems)
        good = np.flatnonzero((compound >= 0) & (target >= 0) & (problem == 0))
        self._keys.append((compound[good] << _TARGET_BITS) | target[good])
        self._values.append(values[good])
        self._rows.append(batch.rows[good])
        if names.compound_id:
            self._compound_ids.note(compound[good], fields[names.compound_id].take(pa.array(good)))
        if names.target_id:
            self._target_ids.note(target[good], fields[names.target_id].take(pa.array(good)))
        self._n_read += batch.rows.size + len(batch.malformed)
        return self._rejects(batch, (compound, target, problem))

    def finish(self, name: str, measure: str, tolerance: float) -> Outcome:
        """Join repeated measurements and make the data set.

        Args:
            name: Of the data set.
            measure: What a value is, with its unit.
            tolerance: Largest difference between repeated measurements that agree; their median is kept.
        """
        keys, values, rows = _whole(self._keys), _whole(self._values), _whole(self._rows)
        warnings = self._warnings(keys, values, rows)
        joined = join_replicates(keys, values, tolerance)
        lost = joined.disagreeing
        if lost.size:
            self._rejected[Reason.DISAGREE] += lost.size
        unit = f" {self._conversion.unit}".rstrip()
        text = f"measurements of the same compound and target differ by more than {tolerance:g}{unit}"
        rejects = _reject_table(
            rows[lost],
            [Reason.DISAGREE.value] * lost.size,
            [text] * lost.size,
            pa.array(self._conversion.undo(values[lost])).cast("string"),
        )
        tally = Tally(
            n_read=self._n_read,
            n_kept=joined.keys.size,
            n_merged=keys.size - lost.size - joined.keys.size,
            rejected={reason: self._rejected[reason] for reason in Reason if self._rejected[reason]},
        )
        made = self._interactions(name, measure, joined.keys, joined.values) if joined.keys.size else None
        return Outcome(interactions=made, rejects=rejects, tally=tally, warnings=warnings)

    def _warnings(self, keys: Codes, values: Vector, rows: npt.NDArray[np.int64]) -> tuple[str, ...]:
        lengths = np.array([len(text) for text in self._targets.texts], dtype=np.int64)
        short = rows[lengths[keys & _TARGET_MASK] < _FEWEST_RESIDUES] if rows.size else rows
        low, high = _LOGS
        wild = rows[(values < low) | (values > high)] if self._conversion.unit in LOG_UNITS else rows[:0]
        found = []
        if short.size:
            found.append(
                f"{_rows(short)} a sequence of fewer than {_FEWEST_RESIDUES} residues; a gene's name is no sequence"
            )
        if wild.size:
            found.append(f"{_rows(wild)} a value outside {low} to {high} {self._conversion.unit}; is the unit right?")
        if values.size > 1 and np.ptp(values) == 0:
            found.append("all values are equal: nothing can be learnt from them")
        return tuple(found)

    def _rejects(self, batch: RowBatch, codes: tuple[Codes, Codes, Codes]) -> pa.Table:
        names = (self._columns.smiles, self._columns.sequence, self._columns.value)
        undecided = np.ones(batch.rows.size, dtype=bool)
        parts = [self._malformed(batch)]
        for column, code in zip(names, codes, strict=True):
            bad = np.flatnonzero(undecided & (code < 0))
            undecided[bad] = False
            reasons, texts = self._problems.describe(code[bad])
            parts.append(
                _reject_table(batch.rows[bad], reasons, texts, shown(batch.fields[column].take(pa.array(bad))))
            )
        table = pa.concat_tables(parts)
        for count in table["reason"].value_counts().to_pylist():
            self._rejected[Reason(count["values"])] += count["counts"]
        return table.take(pa.array(np.argsort(table["row"].to_numpy(), kind="stable")))

    def _malformed(self, batch: RowBatch) -> pa.Table:
        code = self._problems.code(Reason.FIELD_COUNT, "the row has more or fewer fields than the header")
        reasons, texts = self._problems.describe(np.full(len(batch.malformed), code))
        rows = np.array([row for row, _ in batch.malformed], dtype=np.int64)
        return _reject_table(rows, reasons, texts, shown(pa.array([text for _, text in batch.malformed], pa.string())))

    def _interactions(self, name: str, measure: str, keys: Codes, values: Vector) -> Interactions:
        compounds, compound = _compact(keys >> _TARGET_BITS)
        targets, target = _compact(keys & _TARGET_MASK)
        smiles, sequences = self._compounds.texts, self._targets.texts
        return Interactions(
            name=name,
            measure=measure,
            compound_ids=self._compound_ids.joined(compounds),
            smiles=tuple(smiles[index] for index in compounds),
            target_ids=self._target_ids.joined(targets),
            sequences=tuple(sequences[index] for index in targets),
            pairs=Pairs(compound=compound, target=target, value=values.astype(np.float32)),
            fold=np.full(keys.size, NO_FOLD, dtype=np.int8),
            n_listed_compounds=self._compounds.n_listed,
            n_listed_targets=self._targets.n_listed,
        )


def _rows(found: npt.NDArray[np.int64]) -> str:
    """How many rows have something, and the first of them."""
    return (
        f"row {found[0]} has" if found.size == 1 else f"{found.size:,} rows, the first of them row {found.min()}, have"
    )


class _Ids:
    """Identifiers listed for each unique compound or target."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._names: dict[int, dict[str, None]] = {}

    def note(self, things: Codes, column: pa.Array) -> None:
        text = column if pa.types.is_dictionary(column.type) else column.cast(pa.large_string(), safe=False)
        fields, field = distinct_fields(text)
        names = [one.decode(errors="replace").strip() for one in fields] + [""]
        _, first = np.unique(things * len(names) + field, return_index=True)
        for row in np.sort(first).tolist():
            if names[field[row]]:
                self._names.setdefault(int(things[row]), {})[names[field[row]]] = None

    def joined(self, things: list[int]) -> tuple[str, ...]:
        """The identifiers of these things joined by ";"; a number where none is listed."""
        return tuple(";".join(self._names.get(one, ())) or f"{self._what}-{i}" for i, one in enumerate(things, 1))


def _readable_smiles(text: str) -> str:
    canonical = canonical_smiles(text)
    molecule(canonical)  # RDKit writes a few molecules in a way that it cannot read
    return canonical


def _compact(things: Codes) -> tuple[list[int], npt.NDArray[np.int32]]:
    """The things in use, in order, and each row's index among them."""
    used, index = np.unique(things, return_inverse=True)
    return used.tolist(), index.astype(np.int32)


def _whole(chunks: list[npt.NDArray[ScalarT]]) -> npt.NDArray[ScalarT]:
    whole = np.concatenate(chunks)
    chunks.clear()  # so that only one column is held twice at a time
    return whole


def _reject_table(rows: npt.NDArray[np.int64], reasons: pa.Array, explanations: pa.Array, values: pa.Array) -> pa.Table:
    return pa.table([rows, reasons, explanations, values], schema=REJECTS)
