"""Doing one job of a comparison or battery, in a process that loads PyTorch."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError, OptionError, PartitionError, StoreError, UpdateError
from pharmonia.bench.arms import (
    FAILED_FILE,
    PREDICTIONS_FILE,
    ArmJob,
    Baseline,
    BaselineJob,
    DistilledJob,
    FailedJob,
    Job,
    JobResult,
    SharedOut,
    StorePlace,
    run_id_of,
    share_out,
)
from pharmonia.bench.charter import Charter, charter_of, clock
from pharmonia.bench.public import public_interactions
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.baselines import fit_additive, fit_boosted
from pharmonia.learn.network import predict
from pharmonia.learn.settings import Method, Private
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.files import write_whole
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore
from pharmonia.run.transcript import transcript_of

POOL_NAME = "all partners' data in one place"
PUBLIC_STREAM = 4  # which random numbers of a seed choose public pairs

PRIVATE_FILE = "private.safetensors"  # what each partner kept to itself; in one place only because this simulates


def run_job(
    job: Job, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> JobResult:
    """Do the job, or find it finished in the store, and predict the test rows with what came of it."""
    shared = share_out(job.settings, job.seed)
    run_id = run_id_of(job)
    store = place.open()
    folder = store.folder(run_id)
    status = store.open_run(run_id, job.to_json(shared.digest), now)
    if isinstance(job, BaselineJob):
        predicted = _once(folder, lambda: _fit(job, shared))
        store.finish_without_model(run_id)
        return JobResult(job=job, training=None, predicted=predicted)
    if status is RunStatus.FINISHED and _can_be_made_again(performance) and _is_lost(job, store, run_id):
        store.reopen(run_id)
        status = RunStatus.RUNNING
    if status is RunStatus.FINISHED:
        model = store.model(run_id)
    elif isinstance(job, ArmJob) and job.arm is Arm.FEDERATED:
        model = _federate(job, shared, store, run_id, performance, on_round)
    elif isinstance(job, ArmJob):
        model = _train(job, _datasets(job, shared), store, run_id, performance, on_round)
    else:
        model = _train(job, [(0, _taught(job, shared, store))], store, run_id, performance, on_round)
    predicted = _once(folder, lambda: _predict(job, shared, model, folder))
    return JobResult(job=job, training=model.training, predicted=predicted)


def _can_be_made_again(performance: Performance) -> bool:
    """Whether nobody outside the store has seen the run's rounds: neither a ledger nor a transcript."""
    return performance.mandate is None and performance.transcripts is None


def _is_lost(job: ArmJob | DistilledJob, store: RunStore, run_id: str) -> bool:
    """Whether a finished run no longer has what it predicts with."""
    folder = store.folder(run_id)
    keeps_private = _method(job).private is not Private.NOTHING and not (folder / PREDICTIONS_FILE).exists()
    return not store.has_model(run_id) or (keeps_private and not (folder / PRIVATE_FILE).exists())


def attempt_job(
    job: Job, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> JobResult | FailedJob:
    """What `run_job` brings, or why nothing, where settings, data or a damaged file make the job impossible.

    The run's folder keeps the reason.

    Raises:
        StoreError: The store fails, which no other job would survive.
    """
    failed = place.folder / run_id_of(job) / FAILED_FILE
    failed.unlink(missing_ok=True)
    try:
        return run_job(job, place, performance, now, on_round)
    except (OptionError, PartitionError, UpdateError, MetricError) as error:
        reason = str(error)
    except StoreError as error:
        place.open().finished()  # fails again if it is the database and not a file
        reason = str(error)
    write_whole(failed, reason.encode())
    return FailedJob(job=job, reason=reason)


def _once(folder: Path, predict_all: Callable[[], Vector]) -> Vector:
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        write_arrays(path, {"predicted": predict_all()}, {})
    return read_arrays(path)[0]["predicted"]


def _fit(job: BaselineJob, shared: SharedOut) -> Vector:
    interactions = shared.encoded.interactions
    train = shared.split.rows(Part.TRAIN)
    test = interactions.pairs.take(shared.split.rows(Part.TEST))
    match job.baseline:
        case Baseline.BOOSTED:
            return fit_boosted(interactions, train, job.seed).predict(test)
        case Baseline.ADDITIVE:
            return fit_additive(interactions, train).predict(test)


def _federate(
    job: ArmJob,
    shared: SharedOut,
    store: RunStore,
    run_id: str,
    performance: Performance,
    on_round: Callable[[RoundRecord], None],
) -> TrainedModel:
    """The federated run; under a mandate, with everybody's leave and on everybody's ledger."""
    datasets = _datasets(job, shared)
    if performance.mandate is None:
        return _train(job, datasets, store, run_id, performance, on_round)
    with charter_of(performance.mandate, job.settings, shared, clock) as charter:
        charter.chronicle.require_recorded([record.aggregate_digest for record in store.rounds(run_id)])
        charter.chronicle.begin({seat.partner: seat.permit.opening for seat in charter.seats})
        with charter.chronicle.recording():
            return _train(job, datasets, store, run_id, performance, on_round, charter)


def _train(
    job: ArmJob | DistilledJob,
    datasets: list[tuple[int, PartnerDataset]],
    store: RunStore,
    run_id: str,
    performance: Performance,
    on_round: Callable[[RoundRecord], None],
    charter: Charter | None = None,
) -> TrainedModel:
    folder, settings = store.folder(run_id), job.settings
    plan = TrainingPlan(local=settings.local, method=_method(job), schedule=settings.schedule, seed=job.seed)
    is_federated = isinstance(job, ArmJob) and job.arm is Arm.FEDERATED
    transcript = None
    if performance.transcripts is not None and is_federated:
        transcript = transcript_of(performance.transcripts, job.seed)
    learners = interaction_learners(datasets, settings.local, plan.method, plan.seed)
    simulation = simulate(learners, settings.aggregation, folder, transcript, charter)
    sum_error = simulation.sum_error if is_federated else None
    on_aggregate = None if charter is None else charter.chronicle.aggregated
    coordinator = Coordinator(plan, simulation.sums, store, run_id, performance, sum_error, on_aggregate)

    def keep(_: TrainedModel) -> None:
        private = {name: party.best_private_part for name, party in simulation.parties.items()}
        write_arrays(folder / PRIVATE_FILE, private, {})

    model = coordinator.train(on_round, keep)
    for home in folder.glob("party-*"):
        shutil.rmtree(home)  # the partners' states serve a resume, and the run is finished
    return model


def _method(job: ArmJob | DistilledJob) -> Method:
    return job.method if isinstance(job, ArmJob) else Method()


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


def _predict(job: ArmJob | DistilledJob, shared: SharedOut, model: TrainedModel, folder: Path) -> Vector:
    """Every test row; where partners keep tensors to themselves, each row by its owner's model."""
    rows = shared.split.rows(Part.TEST)
    test = shared.encoded.interactions.pairs.take(rows)
    local, method = job.settings.local, _method(job)
    if method.private is Private.NOTHING:
        return predict(local, method, model.parameters, np.empty(0), shared.encoded, test)
    private, _ = read_arrays(folder / PRIVATE_FILE)
    predicted = np.empty(rows.size)
    for index, name in enumerate(shared.partition.names):
        own = np.flatnonzero(shared.partition.owner[rows] == index)
        part = private[name].astype(np.float64)
        predicted[own] = predict(local, method, model.parameters, part, shared.encoded, test.take(own))
    return predicted


def _taught(job: DistilledJob, shared: SharedOut, store: RunStore) -> PartnerDataset:
    """Pairs of public compounds and the targets trained on, with the ensemble's predictions as their values.

    As many pairs as the partners have training rows, at random; a tenth of them to validate on. Hinton et al. 2015
    (arXiv:1503.02531), with a mean of several teachers.
    """
    rng = np.random.default_rng([job.seed, PUBLIC_STREAM])
    public = public_interactions(job.public, shared.encoded.interactions, shared.split, rng)
    settings = job.settings
    taught_by = []
    for teacher in job.teachers:
        parameters = store.model(run_id_of(teacher)).parameters
        pairs = public.interactions.pairs
        taught_by.append(predict(settings.local, Method(), parameters, np.empty(0), public, pairs))
    taught = replace(public.interactions.pairs, value=np.mean(taught_by, axis=0).astype(np.float32))
    lesson = replace(public, interactions=replace(public.interactions, pairs=taught))
    rows = rng.permutation(len(taught))
    n_valid = max(1, rows.size // 10)
    return partner_dataset(lesson, "the ensemble's pupil", train=rows[n_valid:], valid=rows[:n_valid])
