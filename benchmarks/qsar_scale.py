"""Multi-task QSAR from results to scores, at ever more compounds: CPU seconds and largest resident set of each phase.

Run: python benchmarks/qsar_scale.py [--quick] [--save]. The last line is JSON. Each size is a process of its own on one
thread. It draws compounds and results (not counted), prepares and writes them, opens what was written as mapped files,
trains one pass on three folds of five, and predicts and scores every label of the other two. The largest size takes
part in a whole round of FedAvg too, for its memory. 32,000 bits, 2,000 units, minibatches of up to 4,000 compounds,
Adam. Needs Linux, whose kernel says how large a process has been. --save also measures and writes what
`qsar_scale_runs.Measured` holds.
"""

import argparse
import contextlib
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from figures import Figure, at_most, publish
from pharmonia.base.arrays import Vector
from pharmonia.chem.ecfp_matrix import permute_columns
from pharmonia.chem.folds_settings import folds_of
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.assays_replicates import is_credible, join_results
from pharmonia.data.compounds import group_rows
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import PreparedTasks, TaskKind
from pharmonia.data.tasks_build import build_tasks
from pharmonia.evaluate.classification import classification_scores
from pharmonia.evaluate.regression import regression_scores
from pharmonia.evaluate.tasks import TaskRows
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import PartnerTasks, partner_tasks, predict_labels
from pharmonia.learn.multitask_network import centre_head, label_sums, make_network, shared_layout
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.multitask_steps import LocalSteps
from pharmonia.learn.settings import Method, Optimiser
from pharmonia.nn.multitask import MultitaskNetwork
from pharmonia.nn.parameters import to_vector
from pharmonia.run.prepare_files import open_prepared, write_prepared
from qsar_scale_data import Drawn, assays, draw
from qsar_scale_runs import RUNS, Measured, Phase, Run, write_runs
from qsar_scale_sums import mask_cost, shared_rows

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_SIZES = (10_000, 30_000)
USUAL, MANY = 4.5, 40.0  # results a compound; the latter gives about as many labels as MELLODDY had points
MANY_SIZE = 100_000
TRAIN_FOLDS, VALID_FOLDS, HELD_OUT = (1, 2, 3), (4,), (0, 4)
FEDAVG = Method.parse("fedavg")
KEY = PreparationKey(secret=bytes(range(32)))
PROFILE = PrepareProfile()
SETTINGS = MultitaskSettings(
    n_bits=PROFILE.ecfp.n_bits,
    trunk=(2000,),
    head=(),
    dropout=0.2,
    regression_weight=0.5,
    catalogue_classification=(),
    catalogue_regression=(),
    optimiser=Optimiser.ADAM,
    learning_rate=1e-3,
    drop_round=1,
    batch_size=4000,
    local_epochs=1,
)
PEAK_GOAL_GB, SLOPE_GOAL, SECONDS_GOAL = 6.0, 1.1, 150.0
KIB_PER_GB = 1e9 / 1024


class Clock:
    """Phases by name."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the largest resident set is that of now
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.phases[name] = Phase(
            cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall, peak_gb=largest_resident_gb()
        )


def largest_resident_gb() -> float:
    """Largest resident set of this process since it started, or since it was set back."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / KIB_PER_GB


def prepare(drawn: Drawn, folder: Path) -> None:
    """From results to verified files, as `pharmonia prepare` does once structures are standardised."""
    fold = folds_of([f"scaffold {one}" for one in drawn.series.tolist()], KEY, PROFILE.folds.n_folds)
    rows = group_rows(drawn.columns, fold)
    listed = assays()
    good = is_credible(drawn.results, listed, PROFILE)
    joined = join_results(drawn.results.take(good), listed, PROFILE)
    built = build_tasks(joined.results, listed, rows.fold, PROFILE, ())
    prepared = PreparedTasks(
        recipe_digest=recipe().digest,
        features=permute_columns(rows.features, KEY),
        fold=rows.fold,
        n_folds=PROFILE.folds.n_folds,
        tasks=built.tasks,
        labels=built.labels,
    )
    write_prepared(folder, prepared, recipe(), {})


def recipe() -> Recipe:
    """How drawn compounds are prepared."""
    return Recipe(profile=PROFILE, rdkit="drawn", key_commitment=KEY.commitment(), reference="0" * 64)


def load(folder: Path) -> tuple[PreparedTasks, PartnerTasks]:
    """What was written, and what a partner trains on."""
    prepared = open_prepared(folder, recipe())
    data = partner_tasks("p", prepared, SETTINGS, train_folds=TRAIN_FOLDS, valid_folds=VALID_FOLDS)
    return prepared, data


def start(data: PartnerTasks) -> tuple[MultitaskNetwork, LocalSteps]:
    """The network before its first step, and its optimiser; none of it depends on the number of compounds."""
    network = make_network(SETTINGS, data.places.sizes, 0)
    for name, labels in data.train.labels.items():
        centre_head(network.head(name), label_sums(labels))
    return network, LocalSteps(network, shared_layout(network), SETTINGS, FEDAVG)


def take_part(data: PartnerTasks) -> None:
    """A whole round of FedAvg: the shared vector comes, is validated and trained from, and its change goes."""
    learner = MultitaskLearner(data, SETTINGS, FEDAVG, (0, 0))
    made = make_network(SETTINGS, {}, 0)
    parameters = to_vector(made, shared_layout(made))
    del made
    learner.contribute(_broadcast(parameters))


def _broadcast(parameters: Vector) -> Broadcast:
    return Broadcast(
        sum_index=0,
        magnitudes=False,
        round_index=0,
        step=0,
        n_steps=1,
        train=True,
        save=False,
        best_round=-1,
        parameters=parameters,
    )


def evaluate(network: MultitaskNetwork, prepared: PreparedTasks, data: PartnerTasks) -> tuple[float, float]:
    """Medians of AUROC and R2 over the tasks that count, on the two folds that were not trained on."""
    chosen = prepared.in_folds(HELD_OUT)
    predicted = predict_labels(network, prepared, data.places, chosen)
    is_class = np.array([task.kind is TaskKind.CLASSIFICATION for task in prepared.tasks])
    counts = np.array([task.aggregation_weight > 0 for task in prepared.tasks])
    inside = is_class[prepared.labels.task[chosen]]
    auroc = classification_scores(_task_rows(prepared, chosen[inside], predicted[inside])).auroc
    r2 = regression_scores(_task_rows(prepared, chosen[~inside], predicted[~inside])).r2
    return float(np.nanmedian(auroc[is_class & counts])), float(np.nanmedian(r2[~is_class & counts]))


def _task_rows(prepared: PreparedTasks, rows: npt.NDArray[np.int64], predicted: npt.NDArray[np.float32]) -> TaskRows:
    labels = prepared.labels
    return TaskRows(
        task=labels.task[rows],
        measured=labels.value[rows],
        predicted=predicted,
        censor=labels.censor[rows],
        n_tasks=len(prepared.tasks),
    )


def run_size(n: int, results_per_compound: float, folder: Path, *, with_round: bool) -> Run:
    """All phases at one size."""
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of dropout
    torch.optim.Adam([torch.zeros(1)])  # the first one imports half of PyTorch
    clock = Clock()
    with clock.phase("draw"):
        drawn = draw(np.random.default_rng(0), n, SETTINGS.n_bits, results_per_compound)
    with clock.phase("prepare"):
        prepare(drawn, folder)
    del drawn
    with clock.phase("load"):
        prepared, data = load(folder)
    with clock.phase("start"):
        network, steps = start(data)
    with clock.phase("train"):
        steps.run(data.train, np.random.default_rng(1), SETTINGS.rate_at(0), np.zeros(0))
    del steps
    with clock.phase("evaluate"):
        auroc, r2 = evaluate(network, prepared, data)
    del network
    if with_round:
        with clock.phase("round"):
            take_part(data)
    return Run(
        n_compounds=prepared.n_compounds,
        n_bits_set=prepared.features.indices.size,
        n_labels=len(prepared.labels),
        n_tasks=len(prepared.tasks),
        n_train=len(data.train),
        n_train_labels=sum(part.column.size for part in data.train.labels.values()),
        n_steps=-(-len(data.train) // SETTINGS.batch_size),
        disk_gb=sum(path.stat().st_size for path in folder.iterdir()) / 1e9,
        median_auroc=auroc,
        median_r2=r2,
        phases=clock.phases,
    )


def _send(n: int, results_per_compound: float, with_round: bool, result: "multiprocessing.SimpleQueue[Run]") -> None:
    with tempfile.TemporaryDirectory() as folder:
        result.put(run_size(n, results_per_compound, Path(folder) / "prepared", with_round=with_round))


def measure(n: int, results_per_compound: float, *, with_round: bool) -> Run:
    """One size in a process of its own."""
    context = multiprocessing.get_context("spawn")
    result: multiprocessing.SimpleQueue[Run] = context.SimpleQueue()
    process = context.Process(target=_send, args=(n, results_per_compound, with_round, result))
    process.start()
    while result.empty():
        process.join(0.5)
        if process.exitcode:
            raise SystemExit(f"{n:,} compounds: the process ended with {process.exitcode}")
    run = result.get()
    process.join()
    parts = ", ".join(f"{name} {one.cpu_s:.1f} s {one.peak_gb:.2f} GB" for name, one in run.phases.items())
    print(
        f"{run.n_compounds:,} compounds, {run.n_labels:,} labels of {run.n_tasks:,} tasks, {run.n_steps} steps: "
        f"{parts}; median AUROC {run.median_auroc:.3f}, R2 {run.median_r2:.3f}",
        flush=True,
    )
    return run


def slopes(runs: Sequence[Run]) -> tuple[float, float]:
    """Of the logarithm of CPU seconds over that of compounds: least squares, and the steepest between neighbours."""
    x, y = np.log([run.n_compounds for run in runs]), np.log([run.cpu_s for run in runs])
    return float(np.polyfit(x, y, 1)[0]), float((np.diff(y) / np.diff(x)).max())


def figures_of(runs: Sequence[Run]) -> list[Figure]:
    """What the page and the JSON line state."""
    slope, steepest = slopes(runs)
    last = runs[-1]
    size = f"{last.n_compounds:,} compounds"
    return [
        at_most(f"peak resident GB, {size}", last.peak_gb, PEAK_GOAL_GB),
        at_most("slope of log CPU s over log compounds", slope, SLOPE_GOAL),
        at_most("the steepest between neighbouring sizes", steepest, SLOPE_GOAL),
        at_most(f"CPU s per million compounds, at {size}", last.cpu_s / last.n_compounds * 1e6, SECONDS_GOAL),
    ]


def main() -> None:
    """Measure, print a line per size and figure, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 and 30,000 compounds, under 50 s on one core")
    parser.add_argument("--save", action="store_true", help="write results/qsar-scale.json and qsar-scale-runs.json")
    options = parser.parse_args()
    sizes = QUICK_SIZES if options.quick else SIZES
    runs = tuple(measure(n, USUAL, with_round=n == sizes[-1]) for n in sizes)
    if options.save:
        columns = draw(np.random.default_rng(1), MANY_SIZE, SETTINGS.n_bits, USUAL).columns
        measured = Measured(
            runs=runs,
            many=measure(MANY_SIZE, MANY, with_round=False),
            rows=tuple(shared_rows(columns, np.random.default_rng(2))),
            masks=mask_cost((SETTINGS.n_bits + 1) * SETTINGS.trunk[0]),
        )
        write_runs(RUNS, measured)
    publish("qsar-scale", figures_of(runs), save=options.save)


if __name__ == "__main__":
    main()
