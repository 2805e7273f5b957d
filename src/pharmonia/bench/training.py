"""Training one arm of a comparison, in a process that loads PyTorch."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import digest_json
from pharmonia.bench.arms import ArmJob, ArmResult, SharedOut, StorePlace, share_out
from pharmonia.bench.simulation import simulate
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.network import predict
from pharmonia.learn.settings import Private
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore

POOL_NAME = "all partners' data in one place"
RUN_ID_DIGITS = 20
PRIVATE_FILE = "private.safetensors"  # what each partner kept to itself; in one place only because this simulates


def run_arm(
    job: ArmJob, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> ArmResult:
    """Train the arm's model, or find it finished in the store, and predict the test rows with it."""
    shared = share_out(job.settings, job.seed)
    settings = job.to_json(shared.digest)
    run_id = digest_json(settings)[:RUN_ID_DIGITS]
    store = place.open()
    folder = store.folder(run_id)
    if store.open_run(run_id, settings, now) is RunStatus.FINISHED:
        model = store.model(run_id)
    else:
        model = _train(job, shared, store, run_id, performance, on_round)
    return ArmResult(job=job, model=model, predicted=_predictions(job, shared, model, folder))


def _train(
    job: ArmJob,
    shared: SharedOut,
    store: RunStore,
    run_id: str,
    performance: Performance,
    on_round: Callable[[RoundRecord], None],
) -> TrainedModel:
    folder = store.folder(run_id)
    settings = job.settings
    plan = TrainingPlan(local=settings.local, method=job.method, schedule=settings.schedule, seed=job.seed)
    transcript = None
    if performance.transcripts is not None and job.arm is Arm.FEDERATED:
        transcript = performance.transcripts / f"seed-{job.seed}"
    simulation = simulate(_datasets(job, shared), plan, settings.aggregation, folder, transcript)
    sum_error = simulation.sum_error if job.arm is Arm.FEDERATED else None
    coordinator = Coordinator(plan, simulation.engine, simulation.sums, store, run_id, performance, sum_error)
    model = coordinator.train(on_round)
    private = {name: party.best_private_part for name, party in simulation.parties.items()}
    write_arrays(folder / PRIVATE_FILE, private, {})
    for home in folder.glob("party-*"):
        shutil.rmtree(home)  # the partners' states serve a resume, and the run is finished
    return model


def _datasets(job: ArmJob, shared: SharedOut) -> list[tuple[int, PartnerDataset]]:
    train, valid = shared.split.rows(Part.TRAIN), shared.split.rows(Part.VALID)
    if job.arm is Arm.POOLED:
        return [(0, partner_dataset(shared.encoded, POOL_NAME, train=train, valid=valid))]
    owner = shared.partition.owner
    partners = range(shared.partition.n_partners) if job.partner is None else [job.partner]
    return [
        (
            index,
            partner_dataset(
                shared.encoded,
                shared.partition.names[index],
                train=train[owner[train] == index],
                valid=valid[owner[valid] == index],
            ),
        )
        for index in partners
    ]


def _predictions(job: ArmJob, shared: SharedOut, model: TrainedModel, folder: Path) -> Vector:
    path = folder / "predictions.safetensors"
    if not path.exists():
        write_arrays(path, {"predicted": _predict(job, shared, model, folder)}, {})
    return read_arrays(path)[0]["predicted"]


def _predict(job: ArmJob, shared: SharedOut, model: TrainedModel, folder: Path) -> Vector:
    """Every test row; where partners keep tensors to themselves, each row by its owner's model."""
    rows = shared.split.rows(Part.TEST)
    test = shared.encoded.interactions.pairs.take(rows)
    local, method = job.settings.local, job.method
    if method.private is Private.NOTHING:
        return predict(local, method, model.parameters, np.empty(0), shared.encoded, test)
    private, _ = read_arrays(folder / PRIVATE_FILE)
    predicted = np.empty(rows.size)
    for index, name in enumerate(shared.partition.names):
        own = np.flatnonzero(shared.partition.owner[rows] == index)
        part = private[name].astype(np.float64)
        predicted[own] = predict(local, method, model.parameters, part, shared.encoded, test.take(own))
    return predicted
