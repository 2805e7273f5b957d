"""Preparing data: full KIBA from raw files to a loaded data set, and importing millions of rows of one's own.

Usage: python benchmarks/prepare_data.py [--quick] [--rows N] [--mirror DIR] [--save]

Each figure comes from a process of its own, so that peak memory is its own. KIBA needs the raw files: name
their directory with --mirror or PHARMONIA_MIRROR. The imported file is made of the pairs of kiba-sample,
drawn with replacement, written in blocks and read as a stream; peak memory is the importing process's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from figures import Figure, at_least, at_most, publish

FULL_ROWS, QUICK_ROWS = 10_000_000, 300_000
BLOCK_ROWS = 20_000

FETCH = """
import json, resource, time
from pathlib import Path
from pharmonia.run.datasets import fetch, load
manifest = fetch("kiba")
cpu_s = time.process_time()
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
disk_mb = sum(file.n_bytes for file in manifest.files) / 1e6
print(json.dumps({"cpu_s": cpu_s, "peak_mb": peak_mb, "disk_mb": disk_mb}))
"""

LOAD = """
import json, time
from pharmonia.run.datasets import load
seconds = []
for _ in range(5):
    start = time.perf_counter()
    load("kiba")
    seconds.append(time.perf_counter() - start)
print(json.dumps({"first_ms": 1e3 * seconds[0], "warm_ms": 1e3 * min(seconds[1:])}))
"""

IMPORT = """
import json, resource, sys, time
from pathlib import Path
from pharmonia.data.importing import Columns
from pharmonia.data.units import conversion
from pharmonia.run.fetch import no_progress
from pharmonia.run.importing import ImportPlan, import_file
columns = Columns(smiles="smiles", sequence="sequence", value="value",
                  compound_id="compound", target_id="target")
plan = ImportPlan(path=Path(sys.argv[1]), columns=columns, conversion=conversion(None, None), name="own",
                  measure="KIBA score", tolerance=0.5, rejects=None, again=False)
report = import_file(plan, no_progress)
print(json.dumps({"cpu_s": time.process_time(), "n_read": report.tally.n_read, "n_kept": report.tally.n_kept,
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"import {QUICK_ROWS:,} rows instead of millions")
    parser.add_argument("--rows", type=int, help="rows to import")
    parser.add_argument("--mirror", help="directory with the raw files of KIBA")
    parser.add_argument("--save", action="store_true", help="write results/prepare_data.json")
    options = parser.parse_args()
    mirror = options.mirror or os.environ.get("PHARMONIA_MIRROR")
    if not mirror:
        parser.error("name the directory with the raw files of KIBA: --mirror DIR or PHARMONIA_MIRROR")
    n_rows = options.rows or (QUICK_ROWS if options.quick else FULL_ROWS)
    figures = [*_kiba(mirror), *_import(n_rows)]
    publish("prepare_data", figures, save=options.save)


def _kiba(mirror: str) -> list[Figure]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {"PHARMONIA_CACHE": cache, "PHARMONIA_MIRROR": mirror}
        made = _run(FETCH, environment)
        loaded = _run(LOAD, environment)
    return [
        at_most("prepare full KIBA, CPU s (imports included)", made["cpu_s"], 5),
        at_most("prepare full KIBA, peak memory MB", made["peak_mb"], 150),
        at_most("full KIBA on disk, MB", made["disk_mb"], 10),
        at_most("load full KIBA, first time in a process, ms", loaded["first_ms"], 50),
        at_most("load full KIBA, warm, ms", loaded["warm_ms"], 50),
    ]


def _import(n_rows: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.csv"
        write_rows(path, n_rows)
        size_mb = path.stat().st_size / 1e6
        print(f"importing {n_rows:,} rows, {size_mb:,.0f} MB", file=sys.stderr)
        made = _run(IMPORT, {"PHARMONIA_CACHE": folder}, str(path))
    if made["n_read"] != n_rows:
        raise SystemExit(f"{made['n_read']} rows were read, not {n_rows}")
    return [
        at_most(f"import {n_rows:,} rows ({size_mb:,.0f} MB), peak memory MB", made["peak_mb"], 1_000),
        at_least(f"import {n_rows:,} rows, rows per CPU second", n_rows / made["cpu_s"], 50_000),
    ]


def write_rows(path: Path, n_rows: int) -> None:
    """Write a CSV of pairs of kiba-sample drawn with replacement, each value with a little noise."""
    from pharmonia.run.datasets import load  # noqa: PLC0415 (not for the processes that are measured)

    sample = load("kiba-sample").interactions
    pairs = sample.pairs
    compounds = [f"{i},{text}" for i, text in zip(sample.compound_ids, sample.smiles, strict=True)]
    targets = [f"{i},{text}" for i, text in zip(sample.target_ids, sample.sequences, strict=True)]
    drawn = zip(pairs.compound.tolist(), pairs.target.tolist(), strict=True)
    fields = [f"{compounds[compound]},{targets[target]}" for compound, target in drawn]
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("compound,smiles,target,sequence,value\n")
        for first in range(0, n_rows, BLOCK_ROWS):
            rows = rng.integers(len(fields), size=min(BLOCK_ROWS, n_rows - first))
            values = pairs.value[rows] + rng.uniform(-0.2, 0.2, size=rows.size)
            block = zip(rows.tolist(), values.tolist(), strict=True)
            file.writelines(f"{fields[row]},{value:.3f}\n" for row, value in block)


def _run(code: str, environment: dict[str, str], *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
