"""How novelty and the domain go with error on test labels: the figures of docs/predict.md.

pharmonia compare adme --partners 2 --partition scaffold --seeds 1 --out out
pharmonia export out --partner "Partner 1" --out bundle.zip
python scripts/predict_domain.py out bundle.zip
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
from scipy.stats import spearmanr

from pharmonia.data.tasks import TaskKind
from pharmonia.run.bundle_runs import PREPARED, find_run
from pharmonia.run.predict import Predictor
from pharmonia.run.prepare_files import COMPOUND_ROWS, open_prepared
from pharmonia.run.prepare_key import read_preparation_key

ERROR_RATE = 0.2


def main(out: Path, bundle: Path) -> None:
    """Print, of all partners' test labels by one partner's bundle, errors in and out of domain."""
    run = find_run(out, 0)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("novelty", "inside", "is_class", "error", "held")}
    with Predictor.open(bundle, read_preparation_key(out / "simulation.key")) as predictor:
        for partner in run.partners:
            folder = run.home(partner) / PREPARED
            prepared = open_prepared(folder)
            chosen = prepared.in_folds(run.folds.test)
            listed = pa_csv.read_csv(folder / COMPOUND_ROWS)
            forms = dict(zip(listed["row"].to_pylist(), listed["standard_smiles"].to_pylist(), strict=True))
            compounds = np.unique(prepared.labels.compound[chosen])
            found = predictor.predict([forms[row] for row in compounds.tolist()], error_rate=ERROR_RATE)
            number = {task.task_id: place for place, task in enumerate(found.tasks)}
            row = np.searchsorted(compounds, prepared.labels.compound[chosen])
            task = np.array([number[prepared.tasks[one].task_id] for one in prepared.labels.task[chosen].tolist()])
            value, predicted = prepared.labels.value[chosen], found.predicted[row, task]
            is_class = np.array([one.kind is TaskKind.CLASSIFICATION for one in found.tasks])[task]
            held = (found.lower[row, task] <= value) & (value <= found.upper[row, task])
            right = (predicted >= 0.5) == (value == 1)
            columns["novelty"].append(found.novelty[row])
            columns["inside"].append(found.in_domain[row, task])
            columns["is_class"].append(is_class)
            columns["error"].append(np.where(is_class, right, np.abs(value - predicted)))
            columns["held"].append(held)
    novelty, inside, is_class, error, held = (np.concatenate(parts) for parts in columns.values())
    for name, where in (("in domain", inside), ("not", ~inside)):
        values, classes = where & ~is_class, where & is_class
        print(
            f"{name}: values: mean error {error[values].mean():.2f}, intervals that hold {held[values].mean():.2f}, of "
            f"{values.sum():,}; classes: right {error[classes].mean():.2f} of {classes.sum():,}"
        )
    for name, where in (("values", ~is_class), ("classes", is_class)):
        print(
            f"{name}: rank correlation of novelty with error {spearmanr(novelty[where], error[where]).statistic:+.3f}"
        )
    bounds = np.quantile(novelty[~is_class], [0.25, 0.5, 0.75])
    quarters = np.digitize(novelty[~is_class], bounds)
    means = [f"{error[~is_class][quarters == quarter].mean():.2f}" for quarter in range(4)]
    print(f"values: mean error by quarter of novelty (bounds {np.round(bounds, 2).tolist()}): {', '.join(means)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
