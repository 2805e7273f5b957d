"""What a finished federated run leaves for each partner to take home; docs/qsar.md describes the folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from pharmonia import __version__
from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import Json
from pharmonia.bench.qsar_arms import QsarJob, SharedTasks
from pharmonia.bench.qsar_world import world_folder, world_recipe
from pharmonia.data.qsar import TEST_FOLD, VALID_FOLD, PartnerShare
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.bundle_runs import notes_table, task_notes
from pharmonia.run.files import write_whole
from pharmonia.run.prepare_files import CANDIDATES, COMPOUND_ROWS, write_prepared
from pharmonia.run.records import TrainedModel

RUN_FILE = "run.json"
PRIVATE_FILE = "private.safetensors"
PREDICTIONS = "predictions.npy"
PREPARED = "prepared"
FORMAT = "pharmonia run on many tasks"
FORMAT_VERSION = 1


def partner_folder(folder: Path, index: int) -> Path:
    """Where a run keeps what belongs to one partner, counted from 0."""
    return folder / f"partner-{index + 1}"


def write_private(folder: Path, parts: Mapping[str, Vector]) -> None:
    """Keep what each owner kept to itself; in one place only because this simulates."""
    write_arrays(folder / PRIVATE_FILE, parts, {})


def read_private(folder: Path) -> dict[str, Vector]:
    """What `write_private` wrote, by owner.

    Raises:
        StoreError: The file is damaged.
    """
    return {name: part.astype(np.float64) for name, part in read_arrays(folder / PRIVATE_FILE)[0].items()}


def hand_over(
    job: QsarJob,
    owners: Sequence[PartnerShare],
    settings: MultitaskSettings,
    shared: SharedTasks,
    model: TrainedModel,
    folder: Path,
) -> None:
    """Write each partner's folder, and then the file that says that all are there; nothing if it is there."""
    if (folder / RUN_FILE).exists():
        return
    private, recipe = read_private(folder), world_recipe(job.settings.dataset)
    world = world_folder(job.settings.dataset)
    notes = task_notes(world)
    forms = pa_csv.read_csv(world / COMPOUND_ROWS) if (world / COMPOUND_ROWS).is_file() else None
    for index, share in enumerate(owners):
        home = partner_folder(folder, index)
        others = {CANDIDATES: notes_table(notes, share.prepared.tasks)} if notes else {}
        if forms is not None:
            others[COMPOUND_ROWS] = _forms_of(forms, share, shared.world.prepared.n_compounds)
        write_prepared(home / PREPARED, share.prepared, recipe, others)
        write_arrays(home / PRIVATE_FILE, {"private": private[share.name]}, {"partner": share.name})
        places = task_places(share.prepared, settings)
        network = trained_network(settings, places.sizes, model.parameters, private[share.name])
        everything = np.arange(len(share.prepared.labels), dtype=np.int64)
        np.save(home / PREDICTIONS, predict_labels(network, share.prepared, places, everything), allow_pickle=False)
    write_whole(
        folder / RUN_FILE, (json.dumps(_description(job, owners, settings, shared, model), indent=1) + "\n").encode()
    )


def _forms_of(forms: pa.Table, share: PartnerShare, n_world: int) -> pa.Table:
    """Identifiers and standard forms of a share's compounds, with the rows that they have in it."""
    place = np.full(n_world, -1, dtype=np.int64)
    place[share.compound] = np.arange(share.compound.size)
    rows = place[forms["row"].to_numpy()]
    numbered = forms.set_column(forms.column_names.index("row"), "row", pa.array(rows, pa.int32()))
    return numbered.filter(pa.array(rows >= 0))


def _description(
    job: QsarJob,
    owners: Sequence[PartnerShare],
    settings: MultitaskSettings,
    shared: SharedTasks,
    model: TrainedModel,
) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pharmonia": __version__,
        "dataset": job.settings.dataset,
        "sharing": job.settings.sharing,
        "seed": job.seed,
        "method": str(job.method),
        "aggregation": job.settings.aggregation,
        "settings": asdict(settings),
        "recipe_digest": shared.world.prepared.recipe_digest,
        "n_shared": model.parameters.size,
        "best_round": model.selection.best_round,
        "rounds": len(model.rounds),
        "model_digest": next(r.aggregate_digest for r in model.rounds if r.round_index == model.selection.best_round),
        "partners": [share.name for share in owners],
        "train_folds": list(shared.world.train_folds),
        "valid_fold": VALID_FOLD,
        "test_fold": TEST_FOLD,
    }
