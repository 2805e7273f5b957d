"""The user's own file of measurements to a data set on the shelf, and its rejected rows to a file."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from pharmonia.base.canonical import Json
from pharmonia.base.errors import DataFileError, InputError, OptionError
from pharmonia.data.catalogue import CATALOGUE
from pharmonia.data.columnar import encode, interactions_manifest
from pharmonia.data.importing import REJECTS, Columns, Importer, Tally
from pharmonia.data.interactions import Interactions
from pharmonia.data.manifest import Manifest
from pharmonia.data.qsar_sets import QsarSet
from pharmonia.data.units import Conversion
from pharmonia.run.cache import is_ready, publish, require_name, staging, writing
from pharmonia.run.datasets import graph_ticker, write_encoded
from pharmonia.run.fetch import Progress
from pharmonia.run.files import cannot_write
from pharmonia.run.rows import RowFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What to import, and how.

    Args:
        path: The file: .csv, .csv.gz or .parquet.
        columns: Which column holds what.
        conversion: What to do with each value.
        name: Of the data set; None for the file's.
        measure: What a value is; None for its unit or, without one, its column.
        tolerance: Largest difference between repeated measurements that agree, in the unit of the result.
        rejects: File for rejected rows; None for NAME.rejects.csv beside the imported file.
        again: Whether to replace a data set of that name.

    Raises:
        OptionError: The tolerance is negative or no number.
    """

    path: Path
    columns: Columns
    conversion: Conversion
    name: str | None
    measure: str | None
    tolerance: float
    rejects: Path | None
    again: bool

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf"):
            raise OptionError(f"the tolerance must be 0 or more, got {self.tolerance}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Args:
        manifest: The data set as it now lies on the shelf.
        tally: What became of all rows.
        rejects: The file of rejected rows; without any it holds its header only.
        warnings: What a person should look at.
    """

    manifest: Manifest
    tally: Tally
    rejects: Path
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """The report for machines."""
        return {
            "name": self.manifest.name,
            "measure": self.manifest.measure,
            "n_read": self.tally.n_read,
            "n_kept": self.tally.n_kept,
            "n_merged": self.tally.n_merged,
            "n_rejected": self.tally.n_rejected,
            "rejected": {reason.value: count for reason, count in self.tally.rejected.items()},
            "n_compounds": self.manifest.n_compounds,
            "n_targets": self.manifest.n_targets,
            "rejects": str(self.rejects),
            "warnings": list(self.warnings),
        }


def import_file(plan: ImportPlan, progress: Progress) -> ImportReport:
    """Read, check and join the rows of a file and put them on the shelf as a data set.

    The file is streamed: memory grows with its unique compounds and targets and by 24 bytes per accepted row.
    Until all is done, no data set is changed; the file of rejected rows is complete or absent.

    Raises:
        DataFileError: The file cannot be read, or no row of it is left.
        UnknownNameError: A column does not exist.
        OptionError: The name is not fit for a data set, or belongs to the catalogue or to public data of many tasks.
        InputError: A data set of that name exists, or a file cannot be written.
    """
    file = RowFile(plan.path, plan.columns, progress)
    name = _free_name(plan, file.stem)
    measure = plan.measure or plan.conversion.unit or plan.columns.value
    rejects = plan.rejects or plan.path.with_name(f"{name}.rejects.csv")
    if rejects.resolve() == plan.path.resolve():
        raise OptionError(f"the rejected rows cannot go into the imported file {plan.path}")
    importer = Importer(plan.columns, plan.conversion)
    with _rejects_writer(rejects) as writer:
        for batch in file.batches():
            writer.write_table(importer.add(batch))
        pa.default_memory_pool().release_unused()
        outcome = importer.finish(name, measure, plan.tolerance)
        writer.write_table(outcome.rejects)
    if outcome.interactions is None:
        raise DataFileError(f"no row of {plan.path.name} is left; {outcome.tally.statement()}; see {rejects}")
    manifest = _publish(plan, file, outcome.interactions, outcome.tally, progress)
    return ImportReport(manifest=manifest, tally=outcome.tally, rejects=rejects, warnings=outcome.warnings)


def _free_name(plan: ImportPlan, stem: str) -> str:
    name = plan.name or re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    require_name(name)
    if name in CATALOGUE:
        raise OptionError(f"{name!r} is a data set of the catalogue; choose another name with --name")
    if name in set(QsarSet):
        raise OptionError(
            f"`pharmonia compare {name}` takes public data of many tasks; choose another name with --name"
        )
    if is_ready(name) and not plan.again:
        raise InputError(
            f"a data set named {name!r} exists; choose another name with --name, or replace it with --again"
        )
    return name


def _publish(plan: ImportPlan, file: RowFile, interactions: Interactions, tally: Tally, progress: Progress) -> Manifest:
    unit = plan.conversion.unit
    manifest = interactions_manifest(
        interactions,
        title=f"own data from {plan.path.name}",
        licence="the owner's",
        citation="",
        notes=(
            tally.statement(),
            f"columns {', '.join(plan.columns.named())}; values in {unit or 'the unit of the file'}",
            f"repeated measurements: their median where they differ by at most {plan.tolerance:g}, else none",
        ),
        sources=(file.record(),),
    )
    encoded = encode(interactions, tick=graph_ticker(interactions.n_compounds, progress))
    with staging(interactions.name) as folder:
        prepared = folder / "prepared"
        with writing():
            prepared.mkdir()
            write_encoded(prepared, encoded)
        return publish(prepared, manifest)


@contextmanager
def _rejects_writer(path: Path) -> Iterator[pa_csv.CSVWriter]:
    """A writer into a file beside `path`, which takes its place when all went well and vanishes otherwise."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file with --rejects")
    partial = path.with_name(f"{path.name}.partial")
    try:
        try:
            with partial.open("wb") as sink, pa_csv.CSVWriter(sink, REJECTS) as writer:
                yield writer
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        unwritable = cannot_write(path, error)
        raise type(unwritable)(f"{unwritable}; name another file with --rejects") from error
