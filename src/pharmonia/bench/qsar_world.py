"""Public data sets prepared as many tasks, once; later calls map the folder from the cache."""

import csv
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pharmonia.base.canonical import digest_json
from pharmonia.base.errors import CacheError
from pharmonia.bench.qsar_clusters import scaffold_clusters
from pharmonia.chem.standardise_qsar import RDKIT_VERSION
from pharmonia.data.assays_rejects import RejectLog
from pharmonia.data.assays_tables import SourceTable
from pharmonia.data.qsar import QsarWorld
from pharmonia.data.qsar_sets import (
    KIBA_THRESHOLD,
    SIMULATION_KEY,
    QsarSet,
    adme_tables,
    interaction_tables,
    simulation_profile,
)
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_codec import plain
from pharmonia.data.tasks import PreparedTasks
from pharmonia.run.cache import cache_dir, read_manifest, structures_file
from pharmonia.run.datasets import load, load_assays
from pharmonia.run.fetch import Progress
from pharmonia.run.prepare import Preparation, available_cpus, installed_recipe, prepare_tables
from pharmonia.run.prepare_cache import StructureCache
from pharmonia.run.prepare_files import (
    CANDIDATES,
    COMPOUND_ROWS,
    MANIFEST,
    REJECTED,
    REPORT,
    open_prepared,
    read_prepared_manifest,
    write_prepared,
)
from pharmonia.run.prepare_structures import StructurePipeline

SCAFFOLDS = "scaffolds.csv"
_GROUPS = ("scaffold", "cluster")
_VERSION = 4  # raised whenever the folder would hold something else


def world_folder(name: QsarSet) -> Path:
    """Where the prepared data set lies, or will lie: its name says how it was made.

    Raises:
        UnknownNameError: One of its sources has not been fetched; names the command that fetches it.
    """
    sources = [[record.sha256 for record in read_manifest(source).files] for source in name.sources]
    digest = digest_json([_VERSION, RDKIT_VERSION, plain(simulation_profile()), sources])
    return cache_dir() / "qsar" / f"{name}-{digest[:16]}"


def world_recipe(name: QsarSet) -> Recipe:
    """The recipe of a data set that is prepared."""
    return read_prepared_manifest(world_folder(name)).recipe


def open_world(name: QsarSet) -> QsarWorld:
    """The prepared data set, verified.

    Raises:
        InputError: It is not prepared.
        CacheError: A file is damaged.
    """
    folder = world_folder(name)
    prepared = open_prepared(folder)
    try:
        with (folder / SCAFFOLDS).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        scaffold, cluster = (np.array([int(row[name]) for row in rows], dtype=np.int32) for name in _GROUPS)
    except (OSError, ValueError, KeyError) as error:
        raise CacheError(f"{folder / SCAFFOLDS} is damaged: {error}; delete {folder} and run again") from error
    return QsarWorld(name=name, prepared=prepared, scaffold=scaffold, cluster=cluster)


def prepare_world(name: QsarSet, progress: Progress) -> QsarWorld:
    """The prepared data set; prepared now if it never was.

    The key is one that everybody knows: public data have no secret to keep, and the same folds come out everywhere.

    Raises:
        UnknownNameError: One of its sources has not been fetched.
        CacheError: The cache of structures or the folder is damaged.
    """
    if not (world_folder(name) / MANIFEST).is_file():
        _prepare(name, progress)
    return open_world(name)


def _prepare(name: QsarSet, progress: Progress) -> None:
    profile = simulation_profile()
    with (
        closing(StructureCache(structures_file())) as cache,
        StructurePipeline(profile, cache, available_cpus(), progress) as pipeline,
    ):
        recipe = installed_recipe(profile, SIMULATION_KEY, pipeline)
        made = prepare_tables(_tables(name), None, recipe, SIMULATION_KEY, pipeline, RejectLog())
        scaffolds = _scaffolds(made, pipeline)
    others = {
        REPORT: made.report.encode(),
        REJECTED: made.rejects,
        CANDIDATES: made.candidates,
        COMPOUND_ROWS: made.compounds,
        SCAFFOLDS: scaffolds,
    }
    write_prepared(world_folder(name), _all_main_tasks_count(made), recipe, others)


def _tables(name: QsarSet) -> list[SourceTable]:
    tables = []
    if name is not QsarSet.ADME:
        tables += interaction_tables(load("kiba").interactions, KIBA_THRESHOLD)
    if name is not QsarSet.KIBA:
        tables += adme_tables(load_assays("biogen-adme"))
    return tables


def _all_main_tasks_count(made: Preparation) -> PreparedTasks:
    """The tasks with an aggregation weight of 1 unless they are auxiliary: quorums are for each partner to judge."""
    tasks = tuple(replace(task, aggregation_weight=0.0 if task.auxiliary else 1.0) for task in made.prepared.tasks)
    return replace(made.prepared, tasks=tasks)


def _scaffolds(made: Preparation, pipeline: StructurePipeline) -> pa.Table:
    """Row, scaffold by which it has its fold, and cluster of each compound; one without a ring is by itself."""
    form_of_row = dict(zip(*(made.compounds[column].to_pylist() for column in ("row", "standard_smiles")), strict=True))
    rows = sorted(form_of_row)
    found = pipeline.featurise([form_of_row[row] for row in rows]).scaffolds
    names = [scaffold or f"acyclic {form_of_row[row]}" for row, scaffold in zip(rows, found, strict=True)]
    number = {scaffold: index for index, scaffold in enumerate(sorted(set(names)))}
    scaffold = np.array([number[one] for one in names], dtype=np.int32)
    cluster = scaffold_clusters(made.prepared.features, scaffold)
    return pa.table({"row": pa.array(rows, pa.int32()), "scaffold": scaffold, "cluster": cluster})
