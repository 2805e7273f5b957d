"""A file of structures to a file of predictions, in chunks of bounded size, and what could not be read beside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pharmonia.base.errors import OptionError
from pharmonia.chem.standardise_qsar_settings import REFUSAL_TEXTS, Refusal
from pharmonia.data.assays_rejects import REJECTS
from pharmonia.run.fetch import Progress
from pharmonia.run.predict import PredictionTable, Predictor
from pharmonia.run.predict_domain import DomainState
from pharmonia.run.predict_input import InputRecord, read_structures
from pharmonia.run.predict_output import SUFFIXES, TableLayout, as_table, schema_of, sink

_CELLS = 1_000_000  # predictions held at a time
_FEWEST, _MOST = 64, 4096  # compounds held at a time
_STEP = "predicting"
CHECKING = "checking the installation on reference structures"  # as `StructurePipeline.reference` calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictPlan:
    """What to predict, and where to.

    Args:
        source: CSV or SDF; as `read_structures`.
        smiles_column: As `read_structures`.
        id_column: As `read_structures`.
        out: New .csv, .csv.gz or .parquet file.
        layout: Of that file.
        tasks: Identifiers of tasks or assays; none for all.
        error_rate: Of sets and intervals.

    Raises:
        OptionError: An error rate not between 0 and 1.
    """

    source: Path
    smiles_column: str | None
    id_column: str | None
    out: Path
    layout: TableLayout
    tasks: tuple[str, ...]
    error_rate: float

    def __post_init__(self) -> None:
        if not 0 < self.error_rate < 1:
            raise OptionError(f"an error rate must lie between 0 and 1, got {self.error_rate}")

    @property
    def rejects(self) -> Path:
        """Where records that could not be read are listed."""
        name = next((self.out.name[: -len(end)] for end in SUFFIXES if self.out.name.lower().endswith(end)), "")
        return self.out.with_name(f"{name or self.out.name}.rejects.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictSummary:
    """What became of a file.

    Args:
        n_records: Structures listed.
        n_in_domain: Of these, compounds that are like the calibration compounds; 0 where they are not judged.
        domain: Whether they are.
        n_without_field: Records of an SDF without the data field that should identify them.
        rejected: Structures without predictions, by reason.
    """

    n_records: int
    n_in_domain: int
    domain: DomainState
    n_without_field: int
    rejected: Mapping[str, int]


def predict_file(predictor: Predictor, plan: PredictPlan, progress: Progress) -> PredictSummary:
    """Predict every structure of a file; both files are written whole or not at all.

    Raises:
        InputError: A file cannot be read or written, or is there already.
        UnknownNameError: Neither a task nor an assay, or no such column.
    """
    tasks = predictor.tasks(plan.tasks)
    n_records = max(_FEWEST, min(_MOST, _CELLS // len(tasks)))
    counts: Counter[str] = Counter()
    n_done = n_in_domain = n_without_field = 0
    with sink(plan.out, schema_of(tasks, plan.layout)) as predictions, sink(plan.rejects, REJECTS) as rejects:
        total = plan.source.stat().st_size if plan.source.is_file() else 0
        for chunk in read_structures(plan.source, plan.smiles_column, plan.id_column, n_records):
            texts = [record.smiles for record in chunk.records]
            found = predictor.predict(texts, error_rate=plan.error_rate, tasks=plan.tasks)
            records = [_judged(record, form) for record, form in zip(chunk.records, found.forms, strict=True)]
            predictions.append(as_table(records, found, plan.layout))
            lost = [record for record in records if record.reason]
            if lost:
                rejects.append(_reject_table(plan.source.name, lost))
            counts.update(record.reason for record in lost)
            n_done += len(records)
            n_in_domain += _n_in_domain(found)
            n_without_field += sum(record.lacks_field for record in records)
            progress(_STEP, min(chunk.n_bytes, total), total)
    return PredictSummary(
        n_records=n_done,
        n_in_domain=n_in_domain,
        domain=predictor.domain_state(plan.error_rate),
        n_without_field=n_without_field,
        rejected=dict(counts.most_common()),
    )


def checks_only(progress: Progress) -> Progress:
    """The progress of checking an installation, and no other step's: chunks of a file come with their own."""

    def report(what: str, done: int, total: int) -> None:
        if what == CHECKING:
            progress(what, done, total)

    return report


def _judged(record: InputRecord, form: str | Refusal) -> InputRecord:
    """The record with the reason why its structure has no standard form, unless it has one of its own."""
    if record.reason or not isinstance(form, Refusal):
        return record
    return replace(record, reason=form.value, explanation=REFUSAL_TEXTS[form])


def _n_in_domain(found: PredictionTable) -> int:
    return int((found.domain_p > found.error_rate).sum()) if found.domain is DomainState.JUDGED else 0


def _reject_table(name: str, lost: Sequence[InputRecord]) -> pa.Table:
    return pa.table(
        [
            pa.array([name] * len(lost), pa.string()),
            pa.array([record.row for record in lost], pa.int64()),
            pa.array([record.reason for record in lost], pa.string()),
            pa.array([record.explanation for record in lost], pa.string()),
            pa.array([record.smiles for record in lost], pa.string()),
        ],
        schema=REJECTS,
    )
