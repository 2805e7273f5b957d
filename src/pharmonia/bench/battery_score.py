"""From finished runs to a battery's outcomes: every arm scored on the same test rows."""

from functools import lru_cache
from hashlib import sha256

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import Json, digest_json
from pharmonia.bench.arms import PREDICTIONS_FILE, BaselineJob, Job, StorePlace, run_id_of, share_out
from pharmonia.bench.battery import Cell
from pharmonia.data.ownership import Owners
from pharmonia.data.splits import Part
from pharmonia.evaluate.battery import TRAINED_BESIDE, BatteryArm, CellOutcome, arm_score
from pharmonia.evaluate.metrics import score
from pharmonia.learn.settings import LocalSettings
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.records import TrainedModel
from pharmonia.run.store import RunStore


def outcome(cell: Cell, place: StorePlace) -> CellOutcome:
    """What a finished cell brought.

    Raises:
        StoreError: A run of it is not finished, or its files are damaged.
    """
    store = place.open()
    shared = share_out(cell.settings, cell.seed)
    test = shared.split.rows(Part.TEST)
    measured = shared.encoded.interactions.pairs.value[test].astype(np.float64)
    jobs = cell.jobs()
    predicted = {place_: _predictions(store, job) for place_, job in jobs.items()}
    scores = []
    for arm in cell.arms:
        values = _of_arm(arm, cell, store, jobs, predicted, shared.partition.owner[test])
        scores.append(arm_score(arm, score(measured, values)))
    local = cell.settings.local
    is_trained = any(not isinstance(job, BaselineJob) and job.settings.local == local for job in jobs.values())
    federated = jobs.get((BatteryArm.FEDERATED, None))
    rounds = _model(store, federated).rounds if federated else ()
    errors = [record.sum_error for record in rounds if record.sum_error is not None]
    settings: list[Json] = [job.to_json(shared.digest) for job in jobs.values()]
    return CellOutcome(
        key=cell.key,
        seed=cell.seed,
        n_test=test.size,
        test_rows_digest=sha256(test.astype("<i8").tobytes()).hexdigest()[:16],
        scores=tuple(scores),
        rounds_run=len(rounds),
        n_params=_n_params(local) if is_trained else 0,
        bytes_to_partners=sum(record.bytes_to_partners for record in rounds),
        bytes_from_partners=sum(record.bytes_from_partners for record in rounds),
        cpu_s=sum(record.cpu_s for record in rounds),
        wall_s=sum(record.wall_s for record in rounds),
        cpu_s_beside=_cpu_s_beside(store, jobs),
        sum_error=max(errors, default=None),
        curve=np.array([record.valid_error for record in rounds]),
        settings_digest=digest_json(settings),
    )


Predictions = dict[tuple[BatteryArm, int | None], Vector]
Jobs = dict[tuple[BatteryArm, int | None], Job]


def _of_arm(arm: BatteryArm, cell: Cell, store: RunStore, jobs: Jobs, predicted: Predictions, owner: Owners) -> Vector:
    if arm not in (BatteryArm.ALONE, BatteryArm.ENSEMBLE, BatteryArm.ENSEMBLE_WEIGHTED):
        return predicted[arm, None]
    partners = range(cell.settings.n_partners)
    alone = np.stack([predicted[BatteryArm.ALONE, partner] for partner in partners])
    match arm:
        case BatteryArm.ALONE:
            own: Vector = alone[owner, np.arange(alone.shape[1])]
            return own
        case BatteryArm.ENSEMBLE:
            mean: Vector = alone.mean(axis=0)
            return mean
        case _:
            errors = [_model(store, jobs[BatteryArm.ALONE, partner]).selection.best_error for partner in partners]
            return np.average(alone, axis=0, weights=1 / np.maximum(errors, 1e-12))


def _cpu_s_beside(store: RunStore, jobs: Jobs) -> dict[BatteryArm, float]:
    """Processor seconds of the runs of every arm that trains beside the federated one, all partners together."""
    spent: dict[BatteryArm, float] = {}
    for (arm, _), job in jobs.items():
        if arm in TRAINED_BESIDE:
            spent[arm] = spent.get(arm, 0.0) + sum(record.cpu_s for record in store.rounds(run_id_of(job)))
    return spent


def _predictions(store: RunStore, job: Job) -> Vector:
    return read_arrays(store.folder(run_id_of(job)) / PREDICTIONS_FILE)[0]["predicted"]


def _model(store: RunStore, job: Job) -> TrainedModel:
    return store.model(run_id_of(job))


@lru_cache(maxsize=16)
def _n_params(local: LocalSettings) -> int:
    """Parameters and running statistics of the network, whoever keeps them; control variates are not in it."""
    from pharmonia.learn.network import make_network  # noqa: PLC0415 - commands that only look need no PyTorch
    from pharmonia.nn.parameters import Layout  # noqa: PLC0415

    return Layout.of(make_network(local, seed=0)).n_params
