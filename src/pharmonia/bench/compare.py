"""The comparison: federated against what partners can do without pooling, on the same test rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from pharmonia import __version__
from pharmonia.base.canonical import Json, digest_json
from pharmonia.base.errors import StoreError
from pharmonia.bench.arms import ArmJob, JobResult, SharedOut, run_id_of, share_out
from pharmonia.bench.charter import read_papers
from pharmonia.bench.delivery import federated_job, warrant_of
from pharmonia.bench.machine import machine
from pharmonia.bench.pool import do_job
from pharmonia.bench.progress import Progress, results_of, sizes_of
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.workplace import Workplace
from pharmonia.data.partition import overlap
from pharmonia.data.splits import Part
from pharmonia.evaluate.outcome import Arm, Cost, Curve, Holding, Holdings, RunDescription, SeedOutcome, mean_curve
from pharmonia.evaluate.report import Report, build_report
from pharmonia.nn.choices import Model
from pharmonia.run.cache import describe
from pharmonia.run.records import Training
from pharmonia.run.store import RunStore
from pharmonia.run.transcript import require_recordable, transcript_of

MODEL_NAMES = {
    Model.GIN: "GraphDTA GIN",
    Model.GCN: "GraphDTA GCN",
    Model.GAT: "GraphDTA GAT",
    Model.GAT_GCN: "GraphDTA GAT-GCN",
    Model.DEEPDTA: "DeepDTA",
    Model.LIGAND_ONLY: "GraphDTA GIN without the target",
    Model.TARGET_ONLY: "GraphDTA GIN without the compound",
}
BOOTSTRAP_STREAM = 3  # which random numbers of the first seed are for resampling


def compare(
    settings: ComparisonSettings,
    workplace: Workplace,
    *,
    command: str,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> Report:
    """Train every arm under every seed, resuming what the store has, and evaluate them on the same test rows.

    Raises:
        PharmoniaError: The data set, partition or split is not to be had as asked.
        OptionError: A transcript is asked for of a federated run that has begun without it.
        RefusedError: A partner, its policy or the agreement forbids the federated run; the ledger says so.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    mandate = workplace.performance.mandate
    if mandate is not None:
        read_papers(mandate, settings, now)
    for seed in settings.seeds:  # refuse what cannot be shared out before anything trains
        share_out(settings, seed)
    store = workplace.place.open()
    jobs = _jobs(settings)
    _require_recordable(jobs, store, workplace.performance.transcripts)
    work = partial(do_job, place=workplace.place, performance=workplace.performance, now=now)
    results = results_of(jobs, work, sizes_of(jobs), n_workers=workplace.n_workers, on_progress=on_progress)
    outcomes = [_outcome(settings, seed, results) for seed in settings.seeds]
    pooled = next(job for job in jobs if job.arm is Arm.POOLED)
    n_params = _training(results[pooled]).n_params
    description = _describe(settings, n_params=n_params, command=command, now=now)
    if mandate is not None:
        warrant = warrant_of(mandate, settings, _training(results[federated_job(settings)]))
        description = replace(description, agreement=warrant.agreement, plan=warrant.plan, ledger=warrant.ledger)
    return build_report(outcomes, description, np.random.default_rng([settings.seeds[0], BOOTSTRAP_STREAM]))


def _require_recordable(jobs: list[ArmJob], store: RunStore, transcripts: Path | None) -> None:
    if transcripts is None:
        return
    for job in jobs:
        if job.arm is Arm.FEDERATED:
            require_recordable(store.folder(run_id_of(job)), transcript_of(transcripts, job.seed))


def _jobs(settings: ComparisonSettings) -> list[ArmJob]:
    """The long runs first, so that the short ones fill the gaps."""
    jobs = []
    for arm in (Arm.FEDERATED, Arm.POOLED, Arm.ALONE):
        partners = range(settings.n_partners) if arm is Arm.ALONE else [None]
        jobs += [
            ArmJob(settings=settings, seed=seed, arm=arm, partner=partner)
            for seed in settings.seeds
            for partner in partners
        ]
    return jobs


def _outcome(settings: ComparisonSettings, seed: int, results: dict[ArmJob, JobResult]) -> SeedOutcome:
    shared = share_out(settings, seed)
    test = shared.split.rows(Part.TEST)
    of_seed = {(job.arm, job.partner): result for job, result in results.items() if job.seed == seed}
    alone = [of_seed[Arm.ALONE, index] for index in range(settings.n_partners)]
    federated, pooled = of_seed[Arm.FEDERATED, None], of_seed[Arm.POOLED, None]
    holdings = _holdings(shared)
    names = shared.partition.names
    alone_curves = [_curve(Arm.ALONE, result, name) for result, name in zip(alone, names, strict=True)]
    n_valid = [holding.n_valid for holding in holdings.partners]
    return SeedOutcome(
        seed=seed,
        partners=names,
        test_rows=test,
        measured=shared.encoded.interactions.pairs.value[test].astype(np.float64),
        owner=shared.partition.owner[test],
        alone=np.stack([result.predicted for result in alone]),
        pooled=pooled.predicted,
        federated=federated.predicted,
        holdings=holdings,
        curves=(
            _curve(Arm.FEDERATED, federated),
            _curve(Arm.POOLED, pooled),
            mean_curve(alone_curves, n_valid),
            *alone_curves,
        ),
        costs=tuple(_cost(arm, [r for (a, _), r in of_seed.items() if a is arm]) for arm in _TRAINED_ARMS),
    )


_TRAINED_ARMS = (Arm.ALONE, Arm.FEDERATED, Arm.POOLED)


def _holdings(shared: SharedOut) -> Holdings:
    common = overlap(shared.encoded.interactions, shared.partition)
    n_partners = shared.partition.n_partners
    rows = {
        part: np.bincount(shared.partition.owner[shared.split.rows(part)], minlength=n_partners)
        for part in (Part.TRAIN, Part.VALID, Part.TEST)
    }
    return Holdings(
        partners=tuple(
            Holding(
                partner=name,
                n_train=int(rows[Part.TRAIN][index]),
                n_valid=int(rows[Part.VALID][index]),
                n_test=int(rows[Part.TEST][index]),
                n_compounds=int(common.n_shared_compounds[index, index]),
                n_targets=int(common.n_shared_targets[index, index]),
            )
            for index, name in enumerate(shared.partition.names)
        ),
        shared_compounds=common.n_shared_compounds,
        shared_targets=common.n_shared_targets,
    )


def _training(result: JobResult) -> Training:
    if result.training is None or result.training.selection.best_round is None:
        raise StoreError(f"the {result.job.title} run of seed {result.job.seed} kept no model; delete it and run again")
    return result.training


def _curve(arm: Arm, result: JobResult, partner: str | None = None) -> Curve:
    training = _training(result)
    return Curve(
        arm=arm,
        partner=partner,
        valid_mse=np.array([record.valid_error for record in training.rounds]),
        best_round=cast(int, training.selection.best_round),
    )


def _cost(arm: Arm, results: list[JobResult]) -> Cost:
    """What an arm took over all its runs; alone and pooled send no frame from one organisation to another."""
    trainings = [_training(result) for result in results]
    rounds = [record for training in trainings for record in training.rounds]
    crosses = arm is Arm.FEDERATED
    return Cost(
        arm=arm,
        n_rounds=max(len(training.rounds) for training in trainings),
        wall_s=sum(record.wall_s for record in rounds),
        cpu_s=sum(record.cpu_s for record in rounds),
        bytes_to_partners=sum(record.bytes_to_partners for record in rounds) if crosses else 0,
        bytes_from_partners=sum(record.bytes_from_partners for record in rounds) if crosses else 0,
        n_clipped=sum(record.n_clipped for record in rounds),
        sum_error=max((r.sum_error for r in rounds if r.sum_error is not None), default=None),
    )


def _describe(settings: ComparisonSettings, *, n_params: int, command: str, now: datetime) -> RunDescription:
    shared = share_out(settings, settings.seeds[0])
    interactions = shared.encoded.interactions
    about = describe(settings.dataset)
    federated = [ArmJob(settings=settings, seed=seed, arm=Arm.FEDERATED, partner=None) for seed in settings.seeds]
    per_seed: list[Json] = [job.to_json(shared.digest) for job in federated]
    return RunDescription(
        dataset=interactions.name,
        measure=interactions.measure,
        n_rows=len(interactions.pairs),
        n_compounds=interactions.n_compounds,
        n_targets=interactions.n_targets,
        licence=about.summary.licence,
        citation=about.citation,
        partition=str(settings.scenario),
        split=settings.split,
        seeds=settings.seeds,
        model=MODEL_NAMES[settings.local.model],
        n_params=n_params,
        norm=settings.local.norm,
        method=str(settings.method),
        aggregation=settings.aggregation,
        n_rounds=settings.schedule.rounds,
        local_epochs=settings.local.local_epochs,
        batch_size=settings.local.batch_size,
        optimiser=settings.local.optimiser,
        learning_rate=settings.local.learning_rate,
        patience=settings.schedule.patience,
        version=__version__,
        command=command,
        date=now.date().isoformat(),
        machine=machine(),
        digests=(("data", shared.digest), ("settings", digest_json(per_seed))),
    )
