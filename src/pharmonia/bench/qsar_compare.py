"""The comparison on many tasks: federated against what partners can do without, on the same test compounds."""

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pharmonia import __version__
from pharmonia.bench.compare import BOOTSTRAP_STREAM
from pharmonia.bench.machine import machine
from pharmonia.bench.progress import Progress, RunSize, results_of
from pharmonia.bench.qsar_arms import QsarJob, QsarResult, SharedTasks, run_id_of, share_out
from pharmonia.bench.qsar_hand_over import partner_folder
from pharmonia.bench.qsar_settings import QsarSettings
from pharmonia.bench.qsar_world import prepare_world
from pharmonia.bench.workplace import Workplace
from pharmonia.data.qsar import TEST_FOLD, VALID_FOLD, PartnerShare, common_tasks
from pharmonia.data.qsar_sets import SIMULATION_KEY
from pharmonia.evaluate.qsar import Kind, PartnerTask, QsarArm, QsarOutcome
from pharmonia.evaluate.qsar_report import (
    ArmCost,
    QsarDescription,
    QsarHolding,
    QsarReport,
    Untrained,
    build_qsar_report,
)
from pharmonia.evaluate.qsar_scores import score
from pharmonia.run.bundle_runs import ALONE, KEY_FILE, RUNS_FILE
from pharmonia.run.cache import describe
from pharmonia.run.fetch import Progress as Steps
from pharmonia.run.files import write_whole
from pharmonia.run.prepare_key import write_preparation_key
from pharmonia.run.records import RoundRecord

AUXILIARY = "auxiliary: it helps training only"
_OWN_RUNS = (QsarArm.ALONE, QsarArm.BOOSTED)
_TRAINED = (QsarArm.ALONE, QsarArm.FEDERATED, QsarArm.POOLED)


def compare_tasks(
    settings: QsarSettings,
    workplace: Workplace,
    *,
    command: str,
    now: datetime,
    steps: Steps,
    on_progress: Callable[[Progress], None],
) -> QsarReport:
    """Train every arm under every seed, resuming what the store has, and evaluate them on the same test compounds.

    Args:
        settings: What to compare.
        workplace: Where and how to run.
        command: As it was typed, for the report.
        now: For the report and the store.
        steps: Told how far the preparation of the data set is, where it was never prepared.
        on_progress: Told how far the runs are.

    Raises:
        PharmoniaError: The data set or partition is not to be had as asked.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    prepare_world(settings.dataset, steps)
    for seed in settings.seeds:  # refuse what cannot be shared out before anything trains
        share_out(settings, seed)
    workplace.place.open()
    jobs = _jobs(settings)
    work = partial(_do, workplace=workplace, now=now)
    results = results_of(jobs, work, _sizes(jobs), n_workers=workplace.n_workers, on_progress=on_progress)
    _leave_own_predictions(results, workplace)
    seeds = [score(_outcome(settings, seed, results)) for seed in settings.seeds]
    description = _describe(settings, results, command=command, now=now)
    return build_qsar_report(seeds, description, np.random.default_rng([settings.seeds[0], BOOTSTRAP_STREAM]))


def _do(job: QsarJob, on_round: Callable[[RoundRecord], None], *, workplace: Workplace, now: datetime) -> QsarResult:
    from pharmonia.bench.qsar_training import run_job  # noqa: PLC0415 - PyTorch is for workers only

    return run_job(job, workplace.place, workplace.performance, now, on_round)


def write_federated_runs(settings: QsarSettings, workplace: Workplace, folder: Path) -> None:
    """Write which folder holds the federated run of each seed, and the key of preparation, for export and predict.

    The key is the one that everybody knows; as a file it is read like a consortium's, which nobody else may read.

    Raises:
        InputError: A file cannot be written.
    """
    store = workplace.place.open()
    runs = {str(job.seed): store.folder(run_id_of(job)) for job in _jobs(settings) if job.arm is QsarArm.FEDERATED}
    named = {seed: os.path.relpath(home, folder) for seed, home in runs.items()}
    write_whole(folder / RUNS_FILE, (json.dumps(named, indent=1) + "\n").encode())
    if not (folder / KEY_FILE).exists():
        write_preparation_key(folder / KEY_FILE, SIMULATION_KEY)


def _leave_own_predictions(results: dict[QsarJob, QsarResult], workplace: Workplace) -> None:
    """Put what each partner's own model gives for its labels beside its share of the federated run, for its card.

    (n_labels,) float32 each; NaN for labels trained on.
    """
    store = workplace.place.open()
    federated = {job.seed: store.folder(run_id_of(job)) for job in results if job.arm is QsarArm.FEDERATED}
    for job, result in results.items():
        if job.arm is not QsarArm.ALONE or job.partner is None:
            continue
        shared = share_out(job.settings, job.seed)
        share = shared.partners[job.partner]
        _, place, own = np.intersect1d(shared.evaluated, share.label, assume_unique=True, return_indices=True)
        every = np.full(share.label.size, np.nan, dtype=np.float32)
        every[own] = result.predicted[place]
        content = io.BytesIO()
        np.save(content, every, allow_pickle=False)
        write_whole(partner_folder(federated[job.seed], job.partner) / ALONE, content.getvalue())


def _jobs(settings: QsarSettings) -> list[QsarJob]:
    """The long runs first, so that the short ones fill the gaps."""
    jobs = []
    for arm in (QsarArm.FEDERATED, QsarArm.POOLED, *_OWN_RUNS):
        partners = range(settings.n_partners) if arm in _OWN_RUNS else [None]
        jobs += [
            QsarJob(settings=settings, seed=seed, arm=arm, partner=partner)
            for seed in settings.seeds
            for partner in partners
        ]
    return jobs


def _sizes(jobs: Sequence[QsarJob]) -> list[RunSize]:
    return [
        RunSize(title=f"{job.title}, seed {job.seed}", rows=_weight(job), rounds=job.settings.schedule.rounds)
        for job in jobs
    ]


def _weight(job: QsarJob) -> int:
    """What a round of a job costs about, in compounds: a federated one costs a sum a minibatch."""
    if job.partner is not None:
        return share_out(job.settings, job.seed).partners[job.partner].prepared.n_compounds
    n_compounds = sum(share.prepared.n_compounds for share in share_out(job.settings, job.seed).partners)
    return 4 * n_compounds if job.arm is QsarArm.FEDERATED else n_compounds


def _outcome(settings: QsarSettings, seed: int, results: dict[QsarJob, QsarResult]) -> QsarOutcome:
    shared = share_out(settings, seed)
    found = {(job.arm, job.partner): result.predicted for job, result in results.items() if job.seed == seed}
    n_partners = settings.n_partners
    alone = np.stack([found[QsarArm.ALONE, index] for index in range(n_partners)])
    n_models = np.isfinite(alone).sum(axis=0)
    total = np.where(np.isfinite(alone), alone, 0).sum(axis=0, dtype=np.float32)
    nobody = np.full(total.shape, np.nan, dtype=np.float32)
    everywhere = {
        QsarArm.ENSEMBLE: np.divide(total, n_models, out=nobody, where=n_models > 0),
        QsarArm.FEDERATED: found[QsarArm.FEDERATED, None],
        QsarArm.POOLED: found[QsarArm.POOLED, None],
    }
    tasks: list[PartnerTask] = []
    parts = []
    for index, share in enumerate(shared.partners):
        _, place, own = np.intersect1d(shared.evaluated, share.label, assume_unique=True, return_indices=True)
        arms = everywhere | {arm: found[arm, index] for arm in _OWN_RUNS}
        labels = share.prepared.labels
        parts.append(
            _Part(
                task=labels.task[own] + len(tasks),
                measured=labels.value[own],
                censor=labels.censor[own],
                is_test=share.prepared.fold[labels.compound[own]] == TEST_FOLD,
                predicted={arm: column[place] for arm, column in arms.items()},
            )
        )
        tasks += _partner_tasks(shared, share)
    return QsarOutcome(
        seed=seed,
        tasks=tuple(tasks),
        task=np.concatenate([part.task for part in parts]).astype(np.int32),
        measured=np.concatenate([part.measured for part in parts]),
        censor=np.concatenate([part.censor for part in parts]),
        is_test=np.concatenate([part.is_test for part in parts]),
        predicted={arm: np.concatenate([part.predicted[arm] for part in parts]) for arm in QsarArm},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One partner's rows of an outcome."""

    task: npt.NDArray[np.int32]
    measured: npt.NDArray[np.float32]
    censor: npt.NDArray[np.int8]
    is_test: npt.NDArray[np.bool_]
    predicted: dict[QsarArm, npt.NDArray[np.float32]]


def _partner_tasks(shared: SharedTasks, share: PartnerShare) -> list[PartnerTask]:
    prepared = share.prepared
    train = prepared.labels.task[prepared.in_folds(shared.world.train_folds)]
    n_train = np.bincount(train, minlength=len(prepared.tasks)).tolist()
    reasons = {one.task_id: one.reason for one in share.left_out if one.is_trained}
    return [
        PartnerTask(
            partner=share.name,
            task_id=task.task_id,
            assay_id=task.assay_id,
            assay_type=task.assay_type,
            kind=Kind(task.kind.value),
            n_train=count,
            uncounted=reasons.get(task.task_id, "" if task.aggregation_weight > 0 else AUXILIARY),
        )
        for task, count in zip(prepared.tasks, n_train, strict=True)
    ]


def _describe(
    settings: QsarSettings, results: dict[QsarJob, QsarResult], *, command: str, now: datetime
) -> QsarDescription:
    shared = share_out(settings, settings.seeds[0])
    return QsarDescription(
        facts=_facts(settings, shared, command=command, now=now),
        title=f"{settings.dataset} shared out between {settings.n_partners} partners by {settings.sharing}",
        n_seeds=len(settings.seeds),
        n_common_tasks=len(common_tasks(shared.partners)),
        holdings=tuple(_holding(shared, share) for share in shared.partners),
        untrained=tuple(one for seed in settings.seeds for one in _untrained(seed, share_out(settings, seed))),
        leaks=tuple(_leaks(settings, seed) for seed in settings.seeds),
        costs=tuple(_cost(arm, [r for job, r in results.items() if job.arm is arm]) for arm in _TRAINED),
    )


def _untrained(seed: int, shared: SharedTasks) -> list[Untrained]:
    return [
        Untrained(seed=seed, partner=one.partner, task_id=one.task_id, reason=one.reason)
        for share in shared.partners
        for one in share.left_out
        if not one.is_trained
    ]


def _holding(shared: SharedTasks, share: PartnerShare) -> QsarHolding:
    prepared = share.prepared
    folds = (shared.world.train_folds, (VALID_FOLD,), (TEST_FOLD,))
    n_train, n_valid, n_test = (prepared.in_folds(part).size for part in folds)
    return QsarHolding(
        partner=share.name,
        n_compounds=prepared.n_compounds,
        n_train=n_train,
        n_valid=n_valid,
        n_test=n_test,
        n_tasks=len(prepared.tasks),
        n_counting=sum(task.aggregation_weight > 0 for task in prepared.tasks),
    )


def _leaks(settings: QsarSettings, seed: int) -> str:
    leaks = share_out(settings, seed).leaks
    return (
        f"seed {seed}: {leaks.n_trained:,} compounds trained or validated on by any partner (SHA-256 of their rows "
        f"{leaks.trained_digest[:16]}), {leaks.n_tested:,} tested on ({leaks.tested_digest[:16]}); {leaks.n_common} "
        f"compounds and {leaks.n_common_scaffolds} scaffolds in common, {leaks.n_equal_fingerprints} tested compounds "
        "with the fingerprint of a trained one"
    )


def _cost(arm: QsarArm, results: list[QsarResult]) -> ArmCost:
    trainings = [result.training for result in results if result.training is not None]
    rounds = [record for training in trainings for record in training.rounds]
    crosses = arm is QsarArm.FEDERATED
    return ArmCost(
        arm=arm,
        n_rounds=max(len(training.rounds) for training in trainings),
        cpu_s=sum(record.cpu_s for record in rounds),
        bytes_sent=sum(r.bytes_to_partners + r.bytes_from_partners for r in rounds) if crosses else 0,
        n_clipped=sum(record.n_clipped for record in rounds),
        sum_error=max((r.sum_error for r in rounds if r.sum_error is not None), default=None),
    )


def _facts(settings: QsarSettings, shared: SharedTasks, *, command: str, now: datetime) -> tuple[tuple[str, str], ...]:
    return (
        *_data_facts(settings, shared),
        *_training_facts(settings),
        ("Command", command),
        ("Made with", f"pharmonia {__version__}, {now.date().isoformat()}, on {machine()}"),
        ("SHA-256 of data and partition", shared.digest),
    )  # fmt: skip


def _data_facts(settings: QsarSettings, shared: SharedTasks) -> tuple[tuple[str, str], ...]:
    prepared, quorum = shared.world.prepared, settings.quorum
    n_class = sum(task.kind.value == Kind.CLASSIFICATION for task in prepared.tasks)
    sources = [describe(name) for name in settings.dataset.sources]
    return (
        ("Data", f"{settings.dataset}: {prepared.n_compounds:,} compounds, {len(shared.world.assay_ids)} assays, "
         f"{n_class} classification and {len(prepared.tasks) - n_class} regression tasks, "
         f"{len(prepared.labels):,} labels"),
        ("Key", "of preparation: one that everybody knows; a simulation on public data has nothing to hide"),
        ("Folds", f"by scaffold: {TEST_FOLD} for testing, {VALID_FOLD} for choosing the round and calibrating, the "
         "rest for training; the same under every seed"),
        ("Partition", f"{settings.n_partners} partners by {settings.sharing}, another one under each of "
         f"{len(settings.seeds)} seeds"),
        ("Quorum", f"training: {quorum.train_class} actives and inactives or {quorum.train_values} values; scores: "
         f"{quorum.test_class} actives and inactives, or {quorum.test_values} values with a standard deviation of "
         f"{quorum.test_std:g} (ADME: any)"),
        *((f"Licence of {about.summary.name}", about.summary.licence) for about in sources),
        *((f"Citation of {about.summary.name}", about.citation) for about in sources),
    )  # fmt: skip


def _training_facts(settings: QsarSettings) -> tuple[tuple[str, str], ...]:
    local = settings.local
    heads = "one head for all partners of a common task" if settings.catalogue else "private heads"
    return (
        ("Network", f"{local.n_bits:,} bits, shared trunk {'-'.join(map(str, local.trunk))}, dropout "
         f"{local.dropout:g}, {heads}"),
        ("Training", f"{local.optimiser} {local.learning_rate:g}, 0.3 of it from round {local.drop_round + 1}; batches "
         f"of {local.batch_size} (federated: {settings.federated_batch_size} in a step); at most "
         f"{settings.schedule.rounds} rounds, patience {settings.schedule.patience}"),
        ("Federated", f"{settings.method}, {settings.aggregation} sums"),
    )  # fmt: skip
