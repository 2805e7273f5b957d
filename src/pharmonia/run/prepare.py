"""Tables of assays to a folder of prepared tasks; every row is used, merged or turned away with its reason."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pharmonia.base.errors import InputError, OptionError
from pharmonia.chem.ecfp_matrix import permute_columns
from pharmonia.chem.folds import without_stereo
from pharmonia.chem.folds_settings import fold_label, folds_of
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise_qsar import RDKIT_VERSION
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.assays import Assay, Results
from pharmonia.data.assays_reading import RawResults, named_assays, read_assays, read_catalogue, read_results
from pharmonia.data.assays_rejects import RejectLog, RowReason
from pharmonia.data.assays_replicates import JoinedResults, is_credible, join_results
from pharmonia.data.assays_tables import PlainLayout, SortedTables, SourceTable, sort_tables
from pharmonia.data.assays_units import in_one_unit, keep_rows, log_rows, without_concentrations
from pharmonia.data.compounds import (
    REFUSED,
    CompoundRows,
    Compounds,
    ListedCompounds,
    group_rows,
    list_compounds,
    resolve,
    take_rows,
)
from pharmonia.data.contract import statistics_of
from pharmonia.data.contract_report import Counts, PrepareReport, candidates_table, count_kinds
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import PreparedTasks
from pharmonia.data.tasks_build import BuiltTasks, build_tasks
from pharmonia.data.units import plain_unit
from pharmonia.run.fetch import Progress
from pharmonia.run.prepare_cache import StructureCache
from pharmonia.run.prepare_files import (
    CANDIDATES,
    COMPOUND_ROWS,
    MANIFEST,
    REJECTED,
    REPORT,
    read_table,
    write_prepared,
)
from pharmonia.run.prepare_structures import Featurised, StructurePipeline

_NOT_CREDIBLE = "the value lies outside the credible range of its assay's type, or is not -1 or 1 where it should be"
_DISAGREE = 'as many repeated results are qualified "<" as ">"'


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePlan:
    """What to prepare, and how.

    Args:
        tables: Files.
        layout: Columns of plain tables; None for TUNER's.
        key: The consortium's key.
        profile: The settings.
        wanted: The consortium's recipe, whose settings are those of `profile`; None where none is agreed yet.
        out: Folder to write.
        cache: File of structures met before; None to compute all.
        n_workers: Processes.
        again: Whether to replace prepared tasks in that folder.

    Raises:
        OptionError: No table, or no process.
    """

    tables: tuple[Path, ...]
    layout: PlainLayout | None
    key: PreparationKey
    profile: PrepareProfile
    wanted: Recipe | None
    out: Path
    cache: Path | None
    n_workers: int
    again: bool

    def __post_init__(self) -> None:
        if not self.tables:
            raise OptionError("name at least one table to prepare")
        if self.n_workers < 1:
            raise OptionError(f"at least 1 worker is needed, got {self.n_workers}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preparation:
    """Everything that tables come to.

    Args:
        prepared: For trainers.
        report: In numbers.
        rejects: Rows turned away, as `REJECTS`.
        candidates: Tasks that could be made.
        compounds: id, standard form, row and fold of each compound.
    """

    prepared: PreparedTasks
    report: PrepareReport
    rejects: pa.Table
    candidates: pa.Table
    compounds: pa.Table


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare(plan: PreparePlan, progress: Progress) -> PrepareReport:
    """Prepare the tables of a plan and write the folder; until all is done, nothing is changed.

    Raises:
        InputError: A file cannot be read or written, or the folder is there already.
        RecipeError: This installation or key cannot follow the consortium's recipe; names the differences.
        CacheError: The cache of structures is damaged.
    """
    _require_free(plan)
    cache = StructureCache(plan.cache) if plan.cache else None
    try:
        with StructurePipeline(plan.profile, cache, plan.n_workers, progress) as pipeline:
            recipe = installed_recipe(plan.profile, plan.key, pipeline)
            if plan.wanted is not None:
                recipe.require_same(plan.wanted)
            log = RejectLog()
            tables = [read_table(path, log) for path in plan.tables]
            made = prepare_tables(tables, plan.layout, recipe, plan.key, pipeline, log)
    finally:
        if cache is not None:
            cache.close()
    others = {
        REPORT: made.report.encode(),
        REJECTED: made.rejects,
        CANDIDATES: made.candidates,
        COMPOUND_ROWS: made.compounds,
    }
    write_prepared(plan.out, made.prepared, recipe, others)
    return made.report


def installed_recipe(profile: PrepareProfile, key: PreparationKey, pipeline: StructurePipeline) -> Recipe:
    """The recipe that this installation follows under a profile and key."""
    return Recipe(profile=profile, rdkit=RDKIT_VERSION, key_commitment=key.commitment(), reference=pipeline.reference())


def make_recipe(
    profile: PrepareProfile, key: PreparationKey, cache: Path, n_workers: int, progress: Progress
) -> Recipe:
    """The recipe for partners to agree on, made without any data.

    Raises:
        InputError: The cache cannot be opened.
        CacheError: It is damaged.
    """
    structures = StructureCache(cache)
    try:
        with StructurePipeline(profile, structures, n_workers, progress) as pipeline:
            return installed_recipe(profile, key, pipeline)
    finally:
        structures.close()


def prepare_tables(
    tables: Sequence[SourceTable],
    layout: PlainLayout | None,
    recipe: Recipe,
    key: PreparationKey,
    pipeline: StructurePipeline,
    log: RejectLog,
) -> Preparation:
    """Prepare tables that were read.

    Raises:
        DataFileError: There is no table of structures or of results.
    """
    profile = recipe.profile
    listed = sort_tables(tables, layout)
    catalogue = read_catalogue(listed.catalogue, log)
    assays, numbers = _assays(listed, layout, log)
    structures = list_compounds(listed.compounds, log)
    compounds, rows = _compounds(structures, profile, key, pipeline, log)
    row_of = {
        name: int(rows.row_of_form[form]) if form != REFUSED else REFUSED for name, form in compounds.form_of.items()
    }
    raw = read_results(listed.results, numbers, row_of, log)
    assays, joined, n_credible = _join(raw, assays, profile, log)
    built = build_tasks(joined.results, assays, rows.fold, profile, catalogue)
    prepared = PreparedTasks(
        recipe_digest=recipe.digest,
        features=permute_columns(rows.features, key),
        fold=rows.fold,
        n_folds=profile.folds.n_folds,
        tasks=built.tasks,
        labels=built.labels,
    )
    return Preparation(
        prepared=prepared,
        report=PrepareReport(
            recipe_digest=recipe.digest,
            counts=_counts(structures, compounds, rows, raw, joined, built, len(assays)),
            rejected=log.counts(),
            refused_assays=built.refused,
            refused_tasks=tuple((one.task_id, one.refusal) for one in built.candidates if one.refusal),
            fold_rows=_per_fold(prepared.fold, prepared.n_folds),
            fold_labels=_per_fold(prepared.fold[prepared.labels.compound], prepared.n_folds),
            assays=statistics_of(joined.results, assays, n_credible, built.candidates),
        ),
        rejects=log.table(),
        candidates=candidates_table(built.candidates),
        compounds=_compounds_table(compounds, rows, row_of),
    )


def _counts(
    structures: ListedCompounds,
    compounds: Compounds,
    rows: CompoundRows,
    raw: RawResults,
    joined: JoinedResults,
    built: BuiltTasks,
    n_assays: int,
) -> Counts:
    n_classes, n_regressions = count_kinds(built.candidates)
    return Counts(
        compounds_listed=len(structures.ids),
        structures_listed=len(structures.smiles),
        forms=len(compounds.forms),
        rows=rows.features.n_rows,
        torn=rows.n_torn,
        results_listed=raw.value.size,
        results_merged=joined.n_merged,
        results=len(joined.results),
        assays=n_assays,
        classification=n_classes,
        regression=n_regressions,
        labels=len(built.labels),
    )


def _assays(
    listed: SortedTables, layout: PlainLayout | None, log: RejectLog
) -> tuple[tuple[Assay, ...], dict[str, int]]:
    """Assays of tables T0, then those that only plain tables mention; and their indices, `REFUSED` of refused ones."""
    assays = list(read_assays(listed.assays, log))
    known = named_assays(listed.assays, log)  # one that T0 turned away never comes back under default rules
    if layout is not None:
        new = [name for name in listed.plain_assays if name not in known]
        kind, direction, unit = layout.assay_type, layout.direction, layout.to or ""
        assays += [Assay(assay_id=name, assay_type=kind, direction=direction, unit=unit) for name in new]
    numbers = {assay.assay_id: number for number, assay in enumerate(assays)}
    return tuple(assays), {**dict.fromkeys(known, REFUSED), **numbers}


def _compounds(
    structures: ListedCompounds,
    profile: PrepareProfile,
    key: PreparationKey,
    pipeline: StructurePipeline,
    log: RejectLog,
) -> tuple[Compounds, CompoundRows]:
    standard = pipeline.standardise(structures.smiles)
    forms = sorted({form for form in standard if not isinstance(form, Refusal)})
    made = pipeline.featurise(forms)
    crashed = {forms[index] for index in made.crashed}
    standard = [Refusal.CRASHED if form in crashed else form for form in standard]
    compounds = resolve(structures, standard, log)
    whole = np.setdiff1d(np.arange(len(forms)), made.crashed)
    matrix = take_rows(made.matrix, whole)
    labels = _fold_labels(compounds.forms, made, whole.tolist(), profile)
    return compounds, group_rows(matrix, folds_of(labels, key, profile.folds.n_folds))


def _fold_labels(forms: Sequence[str], made: Featurised, rows: Sequence[int], profile: PrepareProfile) -> list[str]:
    if profile.standard.keep_stereo:
        forms = [without_stereo(form) for form in forms]
    return [
        fold_label(made.scaffolds[row], form, made.matrix.row(row), profile.folds)
        for form, row in zip(forms, rows, strict=True)
    ]


def _join(
    raw: RawResults, assays: Sequence[Assay], profile: PrepareProfile, log: RejectLog
) -> tuple[tuple[Assay, ...], JoinedResults, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The assays with their units, the joined results, and the credible results of each assay."""
    converted = in_one_unit(raw, assays, log)
    assays = _with_units(assays, converted)
    converted = without_concentrations(converted, assays, profile, log)
    results = Results(
        compound=converted.compound, assay=converted.assay, value=converted.value, qualifier=converted.qualifier
    )
    credible = is_credible(results, assays, profile) if assays else np.zeros(0, dtype=bool)
    log_rows(converted, np.flatnonzero(~credible), RowReason.NOT_CREDIBLE, _NOT_CREDIBLE, log)
    good = np.flatnonzero(credible)
    joined = join_results(results.take(good), assays, profile)
    log_rows(keep_rows(converted, good), joined.disagreeing, RowReason.DISAGREE, _DISAGREE, log)
    return tuple(assays), joined, np.bincount(results.assay[good], minlength=len(assays))


def _with_units(assays: Sequence[Assay], results: RawResults) -> list[Assay]:
    """Assays that state no unit take the one that their results state."""
    named = np.flatnonzero(results.unit > 0)
    pairs = np.unique(np.stack([results.assay[named], results.unit[named]]), axis=1).T.tolist()
    units = {assay: plain_unit(results.units[unit]) for assay, unit in pairs}
    return [assay if assay.unit else replace(assay, unit=units.get(i, "")) for i, assay in enumerate(assays)]


def _per_fold(fold: np.ndarray[tuple[int], np.dtype[np.int8]], n_folds: int) -> tuple[int, ...]:
    return tuple(np.bincount(fold, minlength=n_folds).tolist())


def _compounds_table(compounds: Compounds, rows: CompoundRows, row_of: dict[str, int]) -> pa.Table:
    kept = [(name, form) for name, form in compounds.form_of.items() if form != REFUSED]
    numbers = [row_of[name] for name, _ in kept]
    return pa.table(
        {
            "input_compound_id": pa.array([name for name, _ in kept], pa.string()),
            "standard_smiles": pa.array([compounds.forms[form] for _, form in kept], pa.string()),
            "row": pa.array(numbers, pa.int32()),
            "fold": pa.array(rows.fold[np.array(numbers, dtype=np.int64)], pa.int8()),
        }
    )


def _require_free(plan: PreparePlan) -> None:
    if not plan.out.exists():
        return
    if not (plan.out / MANIFEST).is_file():
        raise InputError(f"{plan.out} exists and holds no prepared tasks; choose another folder with --out")
    if not plan.again:
        raise InputError(f"{plan.out} holds prepared tasks; choose another folder, or replace them with --again")
