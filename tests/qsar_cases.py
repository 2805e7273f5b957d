"""A small world of many tasks for tests: compounds in clusters, assays with thresholds and values."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pharmonia.bench.qsar_world import SCAFFOLDS, world_folder
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.catalogue import BIOGEN_ADME
from pharmonia.data.manifest import Manifest
from pharmonia.data.qsar import QsarWorld
from pharmonia.data.qsar_sets import N_BITS, SIMULATION_KEY, QsarSet, simulation_profile
from pharmonia.data.recipe import Recipe
from pharmonia.data.tasks import Labels, PreparedTasks, Task, TaskKind
from pharmonia.run.bundle_export import TaskNote
from pharmonia.run.bundle_runs import notes_table
from pharmonia.run.cache import publish, staging
from pharmonia.run.prepare_files import CANDIDATES, COMPOUND_ROWS, write_prepared

RECIPE = Recipe(
    profile=simulation_profile(), rdkit="2026.09.1", key_commitment=SIMULATION_KEY.commitment(), reference="a" * 64
)
N_ASSAYS = 4
PER_SCAFFOLD = 2
SCAFFOLDS_PER_CLUSTER = 3


def task(assay: int, name: str, kind: TaskKind, aggregation_weight: float) -> Task:
    return Task(
        task_id=f"{kind.value}|a{assay}|{name}", assay_id=f"a{assay}", kind=kind, assay_type=AssayType.OTHER,
        weight=1.0, aggregation_weight=aggregation_weight, auxiliary=aggregation_weight == 0, censored_weight=1.0,
        catalogue_id=None,
    )  # fmt: skip


def world(n_compounds: int = 360, seed: int = 0) -> QsarWorld:
    """Each assay's value is a sum over the compound's bits, with a classification and an auxiliary task beside it."""
    rng = np.random.default_rng(seed)
    scaffold = (np.arange(n_compounds) // PER_SCAFFOLD).astype(np.int32)
    cluster = (scaffold // SCAFFOLDS_PER_CLUSTER).astype(np.int32)
    fold = (scaffold % 5).astype(np.int8)
    used = 60  # so that bits repeat between compounds
    rows = [np.sort(rng.choice(used, size=12, replace=False)).astype(np.int32) for _ in range(n_compounds)]
    effects = rng.normal(size=(used, N_ASSAYS))
    values = np.array([effects[row].sum(axis=0) for row in rows])
    tasks, columns = [], []
    for assay in range(N_ASSAYS):
        median = np.median(values[:, assay])
        for kind, name, weight in (
            (TaskKind.CLASSIFICATION, "median", 1.0),
            (TaskKind.CLASSIFICATION, "aux", 0.0),
            (TaskKind.REGRESSION, "value", 1.0),
        ):
            shift = 1.0 if name == "aux" else 0.0
            is_class = kind is TaskKind.CLASSIFICATION
            columns.append((values[:, assay] > median + shift).astype(float) if is_class else values[:, assay])
            tasks.append(task(assay, name, kind, weight))
    known = np.repeat(rng.random((n_compounds, N_ASSAYS)) < 0.8, 3, axis=1)
    compound, column = np.nonzero(known)
    table = np.array(columns).T
    prepared = PreparedTasks(
        recipe_digest=RECIPE.digest,
        features=CsrMatrix(
            indptr=np.arange(0, 12 * n_compounds + 1, 12, dtype=np.int64),
            indices=np.concatenate(rows),
            n_columns=N_BITS,
        ),
        fold=fold,
        n_folds=5,
        tasks=tuple(tasks),
        labels=Labels(
            compound=compound.astype(np.int32),
            task=column.astype(np.int32),
            value=table[compound, column].astype(np.float32),
            censor=np.zeros(compound.size, dtype=np.int8),
        ),
    )
    return QsarWorld(name="adme", prepared=prepared, scaffold=scaffold, cluster=cluster)


def notes_of(tasks: Sequence[Task]) -> dict[str, TaskNote]:
    """What preparation noted of the tasks of a drawn world."""
    return {
        task.task_id: TaskNote(
            unit=f"unit of {task.assay_id}",
            threshold=0.1 if task.kind is TaskKind.CLASSIFICATION else None,
            direction=Direction.LOW,
        )
        for task in tasks
    }


def put_in_cache(made: QsarWorld) -> Path:
    """Put a world where `pharmonia compare adme` looks for Biogen ADME, prepared; gives its folder."""
    with staging("biogen-adme") as folder:
        prepared = folder / "prepared"
        prepared.mkdir()
        (prepared / "biogen-adme.assays.parquet").write_bytes(b"drawn")
        entry = BIOGEN_ADME
        publish(
            prepared,
            Manifest(
                name=entry.name, title=entry.title, kind=entry.kind, measure=entry.measure, licence=entry.licence,
                citation=entry.citation, notes=(), n_rows=1, n_compounds=1, n_targets=0, n_listed_compounds=1,
                n_listed_targets=0, sources=(), files=(),
            ),
        )  # fmt: skip
    rows = pa.array(np.arange(made.prepared.n_compounds, dtype=np.int32))
    groups = pa.table({"row": rows, "scaffold": made.scaffold, "cluster": made.cluster})
    folder = world_folder(QsarSet.ADME)
    folder.parent.mkdir(parents=True, exist_ok=True)
    candidates = notes_table(notes_of(made.prepared.tasks), made.prepared.tasks)
    forms = pa.table(
        {
            "input_compound_id": [str(row) for row in rows.to_pylist()],
            "standard_smiles": [form_of(row) for row in rows.to_pylist()],
            "row": rows,
            "fold": made.prepared.fold,
        }
    )
    others = {SCAFFOLDS: groups, CANDIDATES: candidates, COMPOUND_ROWS: forms}
    write_prepared(folder, made.prepared, RECIPE, others)
    return folder


def form_of(row: int) -> str:
    """What stands for the structure of a drawn compound."""
    return "C" * (row + 1)
