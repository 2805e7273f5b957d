"""Rows that preparation turns away, each with its table, number, reason and offending field."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.chem.standardise_qsar_settings import REFUSAL_TEXTS, Refusal

Rows = npt.NDArray[np.int64]

REJECTS = pa.schema(
    [
        ("table", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("explanation", pa.string()),
        ("value", pa.string()),
    ]
)


class RowReason(StrEnum):
    """Why a row of a table is turned away; structures have the reasons of `Refusal` besides."""

    FIELD_COUNT = "wrong-field-count"
    MISSING = "missing-field"
    NUMBER = "not-a-number"
    INFINITE = "not-finite"
    NOT_POSITIVE = "not-positive"
    QUALIFIER = "unknown-qualifier"
    CHOICE = "unknown-word"
    THRESHOLD = "unusable-threshold"
    DUPLICATE_ASSAY = "assay-twice"
    UNKNOWN_ASSAY = "unknown-assay"
    REFUSED_ASSAY = "assay-rejected"
    UNKNOWN_COMPOUND = "unknown-compound"
    TWO_STRUCTURES = "identifier-of-two-structures"
    NO_STRUCTURE = "compound-rejected"
    OTHER_UNIT = "other-unit"
    MIXED_UNITS = "mixed-units"
    CONCENTRATION = "concentration"
    NOT_CREDIBLE = "not-credible"
    DISAGREE = "qualifiers-disagree"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejected:
    """Rows turned away for one reason.

    Args:
        table: Name of their table.
        rows: (n,) int64, counted from 1 without the header.
        reason: The reason's name.
        explanation: What should have been there.
        values: (n,) the offending fields as text.
    """

    table: str
    rows: Rows
    reason: str
    explanation: str
    values: pa.Array


class RejectLog:
    """Collects rows that are turned away, in chunks of one reason."""

    def __init__(self) -> None:
        self._chunks: list[Rejected] = []

    def add(self, table: str, rows: Rows, reason: RowReason, explanation: str, values: pa.Array | None = None) -> None:
        """Note rows; nothing if there are none."""
        if rows.size:
            texts = pa.nulls(rows.size, pa.string()) if values is None else values
            self._chunks.append(
                Rejected(table=table, rows=rows, reason=reason.value, explanation=explanation, values=texts)
            )

    def add_refusals(self, table: str, rows: Rows, refusals: Sequence[Refusal], smiles: pa.Array) -> None:
        """Note rows whose structures have no standard form."""
        names = np.array([refusal.value for refusal in refusals], dtype=np.str_)
        for name in np.unique(names):
            chosen = np.flatnonzero(names == name)
            text = REFUSAL_TEXTS[Refusal(str(name))]
            values = smiles.take(pa.array(chosen))
            self._chunks.append(
                Rejected(table=table, rows=rows[chosen], reason=str(name), explanation=text, values=values)
            )

    def texts(self, table: str, reason: RowReason) -> list[str]:
        """The offending fields of a table's rows that were turned away for one reason."""
        chunks = [chunk for chunk in self._chunks if (chunk.table, chunk.reason) == (table, reason.value)]
        return [text or "" for chunk in chunks for text in chunk.values.to_pylist()]

    def counts(self) -> dict[str, int]:
        """Rows by "table: reason", the most frequent first."""
        counter: Counter[str] = Counter()
        for chunk in self._chunks:
            counter[f"{chunk.table}: {chunk.reason}"] += chunk.rows.size
        return dict(counter.most_common())

    def table(self) -> pa.Table:
        """All rows as `REJECTS`, by table and row."""
        parts = [
            pa.table(
                [
                    pa.array([chunk.table] * chunk.rows.size, pa.string()),
                    pa.array(chunk.rows),
                    pa.array([chunk.reason] * chunk.rows.size, pa.string()),
                    pa.array([chunk.explanation] * chunk.rows.size, pa.string()),
                    chunk.values.cast(pa.string()),
                ],
                schema=REJECTS,
            )
            for chunk in self._chunks
        ]
        whole = pa.concat_tables(parts) if parts else REJECTS.empty_table()
        return whole.sort_by([("table", "ascending"), ("row", "ascending")])
