"""Drawn compounds and results of a thousand assays, from results to files; prints what it took as one line of JSON.

Usage: python benchmarks/prepare_scale.py N
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pharmonia.chem.ecfp_matrix import CsrMatrix, permute_columns
from pharmonia.chem.folds_settings import folds_of
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.assays import Assay, AssayType, Results
from pharmonia.data.assays_replicates import is_credible, join_results
from pharmonia.data.compounds import group_rows
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import PreparedTasks
from pharmonia.data.tasks_build import build_tasks
from pharmonia.run.prepare_files import open_prepared, write_prepared

KEY = PreparationKey(secret=bytes(range(32)))
N_ASSAYS, RESULTS_PER_COMPOUND, COLUMNS_PER_COMPOUND = 1_000, 10, 60
BLOCK = 50_000


def draw_features(rng: np.random.Generator, n: int, n_columns: int) -> CsrMatrix:
    """About 60 columns per compound, frequencies falling with the rank."""
    frequency = 1 / (np.arange(n_columns) + 30.0)
    cumulative = np.cumsum(frequency / frequency.sum())
    parts, lengths = [], [0]
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        columns = np.searchsorted(cumulative, rng.random(rows * COLUMNS_PER_COMPOUND)).astype(np.int64)
        codes = np.unique(np.repeat(np.arange(rows), COLUMNS_PER_COMPOUND) * n_columns + columns)
        parts.append((codes % n_columns).astype(np.int32))
        lengths.extend(np.bincount(codes // n_columns, minlength=rows).tolist())
    return CsrMatrix(indptr=np.cumsum(lengths), indices=np.concatenate(parts), n_columns=n_columns)


def draw_results(rng: np.random.Generator, n: int) -> Results:
    """Ten results a compound, a tenth of them qualified, assays of very different sizes."""
    n_results = n * RESULTS_PER_COMPOUND
    size = 1 / (np.arange(N_ASSAYS) + 20.0)
    which = np.searchsorted(np.cumsum(size / size.sum()), rng.random(n_results))
    return Results(
        compound=rng.integers(0, n, n_results, dtype=np.int32),
        assay=np.minimum(which, N_ASSAYS - 1).astype(np.int32),
        value=rng.normal(6.0, 1.2, n_results).round(2),
        qualifier=rng.choice(np.array([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], dtype=np.int8), n_results),
    )


def main() -> None:
    """Draw, prepare, write, open; time what is not drawing."""
    n = int(sys.argv[1])
    rng = np.random.default_rng(0)
    profile = PrepareProfile()
    columns, results = draw_features(rng, n, profile.ecfp.n_bits), draw_results(rng, n)
    kinds = (AssayType.OTHER, AssayType.ADME)
    assays = [Assay(assay_id=f"assay {number}", assay_type=kinds[number % 2]) for number in range(N_ASSAYS)]
    start = time.process_time()
    fold = folds_of([f"scaffold {number // 3}" for number in range(n)], KEY, profile.folds.n_folds)
    rows = group_rows(columns, fold)
    joined = join_results(results.take(is_credible(results, assays, profile)), assays, profile)
    del results, columns
    built = build_tasks(joined.results, assays, rows.fold, profile, ())
    recipe = Recipe(profile=profile, rdkit="drawn", key_commitment=KEY.commitment(), reference="0" * 64)
    prepared = PreparedTasks(
        recipe_digest=recipe.digest,
        features=permute_columns(rows.features, KEY),
        fold=rows.fold,
        n_folds=profile.folds.n_folds,
        tasks=built.tasks,
        labels=built.labels,
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "prepared"
        write_prepared(place, prepared, recipe, {})
        n_bytes = sum(path.stat().st_size for path in place.iterdir())
        opened = open_prepared(place, recipe)
        if len(opened.labels) != len(built.labels):
            raise SystemExit("what was written is not what is read")
    took = {
        "cpu_s": time.process_time() - start,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        "disk_gb": n_bytes / 1e9,
        "labels": len(built.labels),
        "tasks": len(built.tasks),
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main()
