"""What a comparison on many tasks left for its partners, read for export; docs/qsar.md describes the folder."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import BundleError, CacheError, InputError, StoreError
from pharmonia.data.assays import Direction
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.contract_report import decode_report
from pharmonia.data.tasks import Task
from pharmonia.evaluate.tasks import Floats
from pharmonia.learn.messages import vector_digest
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.bundle_environments import StructureReader
from pharmonia.run.bundle_export import Folds, RunNote, TaskNote, TrainedPartner
from pharmonia.run.bundle_tasks import decode_settings
from pharmonia.run.prepare_files import CANDIDATES, MANIFEST, REPORT, open_prepared, read_prepared_manifest

RUNS_FILE, RUN_FILE, KEY_FILE = "federated.json", "run.json", "simulation.key"
MODEL_FILE, PRIVATE_FILE = "model.safetensors", "private.safetensors"
PREPARED, ALONE = "prepared", "alone.npy"
RUN_FORMAT = ("pharmonia run on many tasks", 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeftRun:
    """One federated run, as its folder describes it.

    Args:
        folder: Where it is.
        partners: Names, in the order of their folders.
        settings: Of the network.
        method: How the partners' steps became one.
        folds: What each was used for.
        model_digest: SHA-256 of the shared vector of the best round.
    """

    folder: Path
    partners: tuple[str, ...]
    settings: MultitaskSettings
    method: str
    folds: Folds
    model_digest: str

    def home(self, partner: str) -> Path:
        """A partner's folder.

        Raises:
            UnknownNameError: No such partner.
        """
        if partner not in self.partners:
            raise unknown_name("partner of this run", partner, self.partners)
        return self.folder / f"partner-{self.partners.index(partner) + 1}"


def find_run(out: Path, seed: int) -> LeftRun:
    """The federated run of a seed in the folder that `pharmonia compare` wrote, or in a run's own folder.

    Raises:
        InputError: There is none, or none of that seed.
        StoreError: A file is damaged.
    """
    if (out / RUN_FILE).is_file():
        return _run(out)
    runs = _document(out / RUNS_FILE)
    place = runs.get(str(seed))
    if not isinstance(place, str):
        raise unknown_name("seed of this comparison", str(seed), [str(name) for name in runs])
    return _run(out / place)


def read_partner(
    run: LeftRun, partner: str, structures: StructureReader | None
) -> tuple[TrainedPartner, RunNote, dict[str, TaskNote]]:
    """What a run left at one partner, as `export_bundle` takes it.

    Args:
        run: The run.
        partner: Its name.
        structures: Reads its compounds once more, for the domain; None to leave that unknown.

    Raises:
        UnknownNameError: No such partner.
        InputError: A file cannot be read.
        StoreError: The model is damaged, or not that of the run's best round.
        CacheError: The prepared data are.
        RecipeError: They cannot be read once more: another key, or an installation that makes other columns.
    """
    home = run.home(partner)
    prepared = open_prepared(home / PREPARED)
    shared = _array(run.folder / MODEL_FILE, "parameters")
    if vector_digest(shared) != run.model_digest:
        raise StoreError(
            f"{run.folder / MODEL_FILE} is not the model of the run's best round; run the comparison again"
        )
    recipe = read_prepared_manifest(home / PREPARED).recipe
    trained = TrainedPartner(
        name=partner,
        settings=run.settings,
        shared=shared,
        private=_array(home / PRIVATE_FILE, "private"),
        prepared=prepared,
        recipe=recipe,
        folds=run.folds,
        alone=_alone(home / ALONE, prepared.in_folds(run.folds.test), len(prepared.labels)),
        environments=structures.environments(home / PREPARED, prepared, recipe) if structures else None,
    )
    note = RunNote(
        run_id=run.folder.resolve().name,
        method=run.method,
        data_digest=digest_file(home / PREPARED / MANIFEST),
        plan_digest=None,
        agreement_digest=None,
    )
    return trained, note, task_notes(home / PREPARED)


def task_notes(prepared: Path) -> dict[str, TaskNote]:
    """Units, thresholds and directions of the tasks of a prepared folder, as far as its reports tell; by task.

    Raises:
        CacheError: A report is damaged.
    """
    units: dict[str, str] = {}
    if (prepared / REPORT).is_file():
        report = decode_report((prepared / REPORT).read_bytes(), str(prepared / REPORT))
        units = {assay.assay_id: assay.unit for assay in report.assays}
    if not (prepared / CANDIDATES).is_file():
        return {}
    try:
        with (prepared / CANDIDATES).open(encoding="utf-8", newline="") as file:
            return {row["task_id"]: _note(row, units) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise CacheError(f"{prepared / CANDIDATES} is damaged: {error}; prepare again") from error


def notes_table(notes: Mapping[str, TaskNote], tasks: Sequence[Task]) -> pa.Table:
    """What `task_notes` reads, of those of the tasks that have a note: for `CANDIDATES` where no candidates are."""
    known = [(task, notes[task.task_id]) for task in tasks if task.task_id in notes]
    return pa.table(
        {
            "task_id": pa.array([task.task_id for task, _ in known], pa.string()),
            "assay_id": pa.array([task.assay_id for task, _ in known], pa.string()),
            "unit": pa.array([note.unit for _, note in known], pa.string()),
            "threshold": pa.array([note.threshold for _, note in known], pa.float64()),
            "direction": pa.array([note.direction for _, note in known], pa.string()),
        }
    )


def _note(row: Mapping[str, str], units: Mapping[str, str]) -> TaskNote:
    threshold = float(row["threshold"]) if row["threshold"] else math.nan
    direction = row.get("direction")  # no column of it before it was kept
    return TaskNote(
        unit=row.get("unit") or units.get(row["assay_id"], ""),
        threshold=threshold if math.isfinite(threshold) else None,
        direction=Direction(direction) if direction else None,
    )


def _run(folder: Path) -> LeftRun:
    path = folder / RUN_FILE
    document = _document(path)
    try:
        kind = (document["format"], document["format_version"])
        if kind != RUN_FORMAT:
            raise StoreError(
                f"{path} is of {kind[0]!r} version {kind[1]!r}, expected {RUN_FORMAT[0]!r} {RUN_FORMAT[1]}"
            )
        partners, train = document["partners"], document["train_folds"]
        if not isinstance(partners, list) or not isinstance(train, list):
            raise TypeError("partners and train_folds should be lists")
        return LeftRun(
            folder=folder,
            partners=tuple(str(name) for name in partners),
            settings=decode_settings(json.dumps(document["settings"]).encode(), str(path)),
            method=str(document["method"]),
            folds=Folds(
                train=tuple(int(fold) for fold in train),
                valid=(int(str(document["valid_fold"])),),
                test=(int(str(document["test_fold"])),),
            ),
            model_digest=str(document["model_digest"]),
        )
    except (KeyError, TypeError, ValueError, BundleError) as error:
        raise StoreError(f"{path} is damaged: {error}; run the comparison again") from error


def _document(path: Path) -> Mapping[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.parent} holds no federated run on many tasks: {path.name} cannot be read") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}; run the comparison again") from error
    if not isinstance(document, dict):
        raise StoreError(f"{path} is damaged: it should hold a table; run the comparison again")
    return document


def _array(path: Path, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if not path.is_file():
        raise InputError(f"there is no file {path}; run the comparison again")
    arrays, _ = read_arrays(path)
    if name not in arrays or arrays[name].ndim != 1:
        raise StoreError(f"{path} holds no vector {name!r}; run the comparison again")
    return arrays[name].astype(np.float64)


def _alone(path: Path, test: np.ndarray[tuple[int], np.dtype[np.int64]], n_labels: int) -> Floats | None:
    """The partner's own model's predictions of test labels; None where the run kept none."""
    if not path.is_file():
        return None
    try:
        every = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if every.shape != (n_labels,):
        raise StoreError(f"{path} should hold {n_labels} predictions, found {every.shape}")
    found: Floats = every[test].astype(np.float32)
    return found
