"""Preparing multi-task QSAR data: each step against its plain way, all cores, the cache, and a million compounds.

Usage: python benchmarks/prepare.py [--quick] [--plain-python PATH] [--scale N] [--save]

Structures are those of kiba-sample, results are drawn. The plain ways (`plain_prepare.py`) need pandas, which Pharmonia
does not: name an interpreter that has RDKit and pandas with --plain-python; without it their ratios are left out.
The scale part draws compounds as sparse rows (about 60 of 32,000 columns, frequencies as a power law) and results of
1,000 assays, and takes them from results to files in a process of its own, for memory; structures are not drawn, as
their cost is linear and measured apart.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.chem.ecfp import keyed_ecfp
from pharmonia.chem.ecfp_matrix import EcfpSettings
from pharmonia.chem.folds import _cut_down, fold_scaffold
from pharmonia.chem.folds_settings import folds_of
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise import molecule
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.assays import Assay, AssayType, Results
from pharmonia.data.assays_replicates import join_results
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.run import datasets
from pharmonia.run.fetch import no_progress
from pharmonia.run.prepare_cache import StructureCache
from pharmonia.run.prepare_structures import StructurePipeline

KEY = PreparationKey(secret=bytes(range(32)))
PROFILE = PrepareProfile()
RULES = ("max", "median")
FINGERPRINT_REPEATS = 5  # so that the permutation, made once, weighs as little as with real data
N_TIMES = 3  # the fastest of so many counts, here and in the plain ways


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer structures and results, a small scale")
    parser.add_argument("--plain-python", default=sys.executable, help="interpreter that has RDKit and pandas")
    parser.add_argument("--scale", type=int, help="compounds of the largest scale step")
    parser.add_argument("--save", action="store_true", help="write results/prepare.json")
    options = parser.parse_args()
    scale = options.scale or (30_000 if options.quick else 1_000_000)
    smiles = list(datasets.load("kiba-sample").interactions.smiles)
    n_rows = 3_000 if options.quick else 9_000
    some = smiles[:260]  # enough to start processes
    with StructurePipeline(PROFILE, None, 1, no_progress) as pipeline:
        start = time.process_time()
        forms = pipeline.standardise(some)
        alone = time.process_time() - start
    figures = [
        *_against_plain(smiles, some[:60], forms, n_rows, options.plain_python),
        *_standardising(some, forms, alone),
        *_scale(scale),
    ]
    publish("prepare", figures, save=options.save)


def _against_plain(
    smiles: list[str], raw: list[str], forms: list[str | Refusal], n_rows: int, python: str
) -> list[Figure]:
    results = _results(n_rows)
    made = _plain(smiles, raw, results, python)
    many = smiles * FINGERPRINT_REPEATS
    ecfp = min(cpu_s(lambda: keyed_ecfp(many, EcfpSettings(), KEY)) for _ in range(N_TIMES))
    folds = min(cpu_s(lambda: _folds(smiles)) for _ in range(N_TIMES))
    large = _results(1_000_000)
    assays = _assays(len(RULES))
    joining = cpu_s(lambda: join_results(large, assays, PROFILE))
    figures = [
        at_least("fingerprints under a key, molecules per CPU second", len(many) / ecfp, 1_500),
        at_least("scaffold folds, molecules per CPU second", len(smiles) / folds, 300),
        at_least("joining repeats, rows per CPU second", len(large) / joining, 500_000),
    ]
    if made is None:
        print("no pandas in that interpreter: ratios to the plain ways are left out", file=sys.stderr)
        return figures
    plain, plain_forms = made
    own = join_results(results, assays, PROFILE).results.value.sum()
    if abs(own - plain["sum"]) > 1e-6 * abs(own) or plain_forms != forms[: len(raw)]:
        raise SystemExit("the plain ways come to other results")
    return [
        *figures,
        at_least("fingerprints under a key, times the plain way", plain["fingerprints"] / ecfp, 2.5),
        at_least("scaffold folds, times the plain way", plain["folds"] / folds, 2),
        at_least("joining repeats, times row by row", (plain["replicates"] / n_rows) / (joining / len(large)), 100),
    ]


def _folds(smiles: list[str]) -> object:
    _cut_down.cache_clear()
    return folds_of([fold_scaffold(molecule(text), 3) for text in smiles], KEY, 5)


def _results(n_rows: int) -> Results:
    """Every compound two to four times, in one assay of each rule."""
    rng = np.random.default_rng(0)
    compound = rng.integers(0, max(n_rows // 6, 1), n_rows)
    return Results(
        compound=compound.astype(np.int32),
        assay=rng.integers(0, len(RULES), n_rows).astype(np.int32),
        value=rng.normal(6, 1, n_rows).round(3),
        qualifier=rng.choice([-1, 0, 0, 0, 1], n_rows).astype(np.int8),
    )


def _assays(n: int) -> list[Assay]:
    kinds = (AssayType.OTHER, AssayType.ADME)
    return [Assay(assay_id=f"assay {number}", assay_type=kinds[number % 2]) for number in range(n)]


def _plain(
    smiles: list[str], raw: list[str], results: Results, python: str
) -> tuple[dict[str, float], list[str]] | None:
    given = {
        "secret": KEY.secret.hex(),
        "smiles": smiles,
        "fingerprint_repeats": FINGERPRINT_REPEATS,
        "n_times": N_TIMES,
        "raw": raw,
        "results": {
            "compound": results.compound.tolist(),
            "assay": results.assay.tolist(),
            "value": results.value.tolist(),
            "qualifier": results.qualifier.tolist(),
            "rule": [RULES[number] for number in results.assay.tolist()],
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        command = [python, str(Path(__file__).with_name("plain_prepare.py")), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["times"], answer["forms"]


def _standardising(smiles: list[str], forms: list[str | Refusal], alone: float) -> list[Figure]:
    """In two processes, their start apart, and once more with the cache, against one process."""
    tiny = ["C" * (1 + number % 90) + "O" * (number // 90) for number in range(len(smiles))]
    start, _ = _in_two_processes(tiny, None)
    with tempfile.TemporaryDirectory() as folder:
        cache = StructureCache(Path(folder) / "structures.sqlite")
        both, pair = _in_two_processes(smiles, cache)
        with StructurePipeline(PROFILE, cache, 1, no_progress) as pipeline:
            again = cpu_s(lambda: pipeline.standardise(smiles))
        cache.close()
    if pair != forms:
        raise SystemExit("two processes come to other forms than one")
    speed = len(smiles) / alone
    print(
        f"standardising: {speed:.0f} structures per CPU second; two processes start in {start:.1f} s", file=sys.stderr
    )
    return [
        at_most("standardising in two processes, CPU of one (their start apart)", (both - start) / alone, 1.3),
        at_least("standardising what is in the cache, times computing it", alone / again, 50),
    ]


def _in_two_processes(smiles: list[str], cache: StructureCache | None) -> tuple[float, list[str | Refusal]]:
    """CPU seconds of this process and its children, and the forms."""
    before = time.process_time() + _children_cpu_s()
    with StructurePipeline(PROFILE, cache, 2, no_progress) as pipeline:
        forms = pipeline.standardise(smiles)
    return time.process_time() + _children_cpu_s() - before, forms


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _scale(largest: int) -> list[Figure]:
    steps = [n for n in (10_000, 100_000, 1_000_000) if n < largest] + [largest]
    made = [_run_scale(n) for n in steps]
    for n, one in zip(steps, made, strict=True):
        print(f"scale {n:,}: {one}", file=sys.stderr)
    first, last = made[0]["cpu_s"] / steps[0], made[-1]["cpu_s"] / steps[-1]
    return [
        at_most(f"from results to files, {largest:,} compounds x 1,000 assays, peak memory GB", made[-1]["peak_gb"], 6),
        at_most(f"from results to files, CPU ms a compound at {largest:,}", 1e3 * last, 1),
        at_most(f"from results to files, CPU a compound at {largest:,} over that at 10,000", last / first, 1.2),
    ]


def _run_scale(n: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name("prepare_scale.py")), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
