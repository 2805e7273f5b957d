"""Doing one job of a comparison on many tasks, in a process that loads PyTorch."""

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pharmonia.bench.arms import PREDICTIONS_FILE, StorePlace
from pharmonia.bench.qsar_arms import (
    QsarJob,
    QsarResult,
    SharedTasks,
    federated_settings,
    federated_shares,
    run_id_of,
    share_out,
)
from pharmonia.bench.qsar_boosted import boosted_predictions
from pharmonia.bench.qsar_hand_over import hand_over, read_private, write_private
from pharmonia.bench.simulation import simulate
from pharmonia.data.qsar import VALID_FOLD, PartnerShare, Rows
from pharmonia.data.tasks import Labels, PreparedTasks
from pharmonia.evaluate.qsar import QsarArm
from pharmonia.learn.learner import Learner
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import partner_tasks, predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore

Predicted = npt.NDArray[np.float32]


def run_job(
    job: QsarJob, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> QsarResult:
    """Do the job, or find it finished in the store, and predict the labels that it is judged by."""
    shared = share_out(job.settings, job.seed)
    run_id = run_id_of(job)
    store = place.open()
    folder = store.folder(run_id)
    status = store.open_run(run_id, job.to_json(shared.digest), now)
    if job.arm is QsarArm.BOOSTED:
        predicted = _once(folder, lambda: _boosted(job, shared))
        store.finish_without_model(run_id)
        return QsarResult(job=job, training=None, predicted=predicted)
    owners = _owners(job, shared)
    settings = _settings(job, owners)
    if status is RunStatus.FINISHED and not store.has_model(run_id):  # lost since; made again
        store.reopen(run_id)
        status = RunStatus.RUNNING
    if status is RunStatus.FINISHED:
        model = store.model(run_id)
    else:
        model = _train(job, owners, settings, shared, store, performance, on_round)
    predicted = _once(folder, lambda: _predict(job, owners, settings, shared, model, folder))
    if job.arm is QsarArm.FEDERATED:
        hand_over(job, owners, settings, shared, model, folder)
    return QsarResult(job=job, training=model.training, predicted=predicted)


def _once(folder: Path, predict_all: Callable[[], Predicted]) -> Predicted:
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        write_arrays(path, {"predicted": predict_all()}, {})
    return read_arrays(path)[0]["predicted"]


def _owners(job: QsarJob, shared: SharedTasks) -> tuple[PartnerShare, ...]:
    """Whose data a job trains on."""
    if job.arm is QsarArm.POOLED:
        return (shared.pooled,)
    if job.partner is not None:
        return (shared.partners[job.partner],)
    return federated_shares(job.settings, shared)


def _settings(job: QsarJob, owners: Sequence[PartnerShare]) -> MultitaskSettings:
    if job.arm is QsarArm.FEDERATED:
        return federated_settings(job.settings, tuple(owners))
    return job.settings.local


def _train(
    job: QsarJob,
    owners: Sequence[PartnerShare],
    settings: MultitaskSettings,
    shared: SharedTasks,
    store: RunStore,
    performance: Performance,
    on_round: Callable[[RoundRecord], None],
) -> TrainedModel:
    run_id, train_folds = run_id_of(job), shared.world.train_folds
    folder = store.folder(run_id)
    plan = TrainingPlan(local=settings, method=job.method, schedule=job.settings.schedule, seed=job.seed)
    learners: list[tuple[int, str, Learner]] = []
    for index, share in enumerate(owners):
        number = index if job.partner is None else job.partner
        data = partner_tasks(share.name, share.prepared, settings, train_folds=train_folds, valid_folds=(VALID_FOLD,))
        learners.append((number, share.name, MultitaskLearner(data, settings, plan.method, (plan.seed, number))))
    is_federated = job.arm is QsarArm.FEDERATED
    aggregation = job.settings.aggregation if is_federated else Aggregation.PLAIN
    simulation = simulate(learners, aggregation, folder)
    sum_error = simulation.sum_error if is_federated else None
    coordinator = Coordinator(plan, simulation.sums, store, run_id, performance, sum_error)

    def keep(_: TrainedModel) -> None:
        write_private(folder, {name: party.best_private_part for name, party in simulation.parties.items()})

    model = coordinator.train(on_round, keep)
    for home in folder.glob("party-*"):
        shutil.rmtree(home)  # the partners' states serve a resume, and the run is finished
    return model


def _predict(
    job: QsarJob,
    owners: Sequence[PartnerShare],
    settings: MultitaskSettings,
    shared: SharedTasks,
    model: TrainedModel,
    folder: Path,
) -> Predicted:
    """What the job's models give for the evaluated labels.

    Federated, a label by its owner's model; else every label of the tasks that the model has, so that the alone
    models can be asked about each other's compounds.
    """
    result = np.full(shared.evaluated.size, np.nan, dtype=np.float32)
    task = shared.world.prepared.labels.task[shared.evaluated]
    private = read_private(folder)
    for index, share in enumerate(owners):
        asked = np.isin(task, share.task)
        if job.arm is QsarArm.FEDERATED:
            asked &= shared.owner[shared.evaluated] == index
        places = np.flatnonzero(asked)
        view = world_view(shared, share, shared.evaluated[places])
        network = trained_network(
            settings, task_places(share.prepared, settings).sizes, model.parameters, private[share.name]
        )
        chosen = np.arange(places.size, dtype=np.int64)
        result[places] = predict_labels(network, view, task_places(view, settings), chosen)
    return result


def world_view(shared: SharedTasks, share: PartnerShare, label: Rows) -> PreparedTasks:
    """Labels of the world, whoever owns them, as of a partner's tasks.

    Args:
        shared: The world.
        share: The partner, who has all of their tasks.
        label: Indices of labels of the world, ascending.
    """
    prepared = shared.world.prepared
    place = np.zeros(len(prepared.tasks), dtype=np.int32)
    place[share.task] = np.arange(share.task.size)
    labels = prepared.labels
    return PreparedTasks(
        recipe_digest=prepared.recipe_digest,
        features=prepared.features,
        fold=prepared.fold,
        n_folds=prepared.n_folds,
        tasks=share.prepared.tasks,
        labels=Labels(
            compound=labels.compound[label],
            task=place[labels.task[label]],
            value=labels.value[label],
            censor=labels.censor[label],
        ),
    )


def _boosted(job: QsarJob, shared: SharedTasks) -> Predicted:
    (share,) = _owners(job, shared)
    result = np.full(shared.evaluated.size, np.nan, dtype=np.float32)
    found = boosted_predictions(share.prepared, shared.world.train_folds, job.seed)
    _, asked, own = np.intersect1d(shared.evaluated, share.label, assume_unique=True, return_indices=True)
    result[asked] = found[own]
    return result
