"""The comparison: federated against what partners can do without pooling, on the same test rows."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pharmonia import __version__
from pharmonia.base.canonical import Json, digest_json
from pharmonia.base.errors import OptionError, StoreError
from pharmonia.bench.arms import ArmJob, ArmResult, SharedOut, StorePlace, share_out
from pharmonia.bench.pool import RoundDone, run_jobs
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.data.partition import overlap
from pharmonia.data.splits import Part
from pharmonia.evaluate.outcome import Arm, Cost, Curve, Holding, Holdings, RunDescription, SeedOutcome, mean_curve
from pharmonia.evaluate.report import Report, build_report
from pharmonia.nn.choices import Model
from pharmonia.run.cache import describe
from pharmonia.run.records import Performance

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """How to run a comparison; none of it changes results.

    Args:
        place: Where runs are kept.
        n_workers: Processes side by side, at least 1.
        performance: Settings of each run.
    """

    place: StorePlace
    n_workers: int
    performance: Performance = field(default_factory=Performance)

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise OptionError(f"at least 1 worker is needed, got {self.n_workers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a comparison is, in training rows gone through.

    Args:
        done: Rows times rounds finished.
        total: Rows times rounds at most; arms that stop early count as done.
        what: The arm and round that moved last, for people.
    """

    done: int
    total: int
    what: str


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
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    for seed in settings.seeds:  # refuse what cannot be shared out before anything trains
        share_out(settings, seed)
    workplace.place.open()
    jobs = _jobs(settings)
    results: dict[ArmJob, ArmResult] = {}
    tracker = _Tracker(jobs, on_progress)

    def keep(index: int, result: ArmResult) -> None:
        results[jobs[index]] = result
        tracker.finished(index)

    run_jobs(
        jobs,
        workplace.place,
        now=now,
        n_workers=min(workplace.n_workers, len(jobs)),
        performance=workplace.performance,
        on_event=tracker.round_done,
        on_result=keep,
    )
    outcomes = [_outcome(settings, seed, results) for seed in settings.seeds]
    n_params = next(r.model.parameters.size for job, r in results.items() if job.arm is Arm.POOLED)
    description = _describe(settings, n_params=n_params, command=command, now=now)
    return build_report(outcomes, description, np.random.default_rng([settings.seeds[0], BOOTSTRAP_STREAM]))


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


class _Tracker:
    """Turns finished rounds into progress, each round weighted by the rows it went through."""

    def __init__(self, jobs: list[ArmJob], on_progress: Callable[[Progress], None]) -> None:
        self._jobs = jobs
        self._on_progress = on_progress
        self._rows = [_training_rows(job) for job in jobs]
        self._done = [0] * len(jobs)
        self._rounds = [job.settings.schedule.rounds for job in jobs]

    def round_done(self, event: RoundDone) -> None:
        self._done[event.job] = max(self._done[event.job], event.record.round_index + 1)
        record = event.record
        self._report(event.job, f"round {record.round_index + 1}, validation MSE {record.valid_mse:.3f}")

    def finished(self, index: int) -> None:
        self._done[index] = self._rounds[index]
        self._report(index, "done")

    def _report(self, index: int, state: str) -> None:
        job = self._jobs[index]
        name = job.arm if job.partner is None else f"{job.arm}, partner {job.partner + 1}"
        seed = f", seed {job.seed}" if len(job.settings.seeds) > 1 else ""
        self._on_progress(
            Progress(
                done=sum(rows * done for rows, done in zip(self._rows, self._done, strict=True)),
                total=sum(rows * rounds for rows, rounds in zip(self._rows, self._rounds, strict=True)),
                what=f"{name}{seed}: {state}",
            )
        )


def _training_rows(job: ArmJob) -> int:
    shared = share_out(job.settings, job.seed)
    owner = shared.partition.owner[shared.split.rows(Part.TRAIN)]
    return owner.size if job.partner is None else int((owner == job.partner).sum())


def _outcome(settings: ComparisonSettings, seed: int, results: dict[ArmJob, ArmResult]) -> SeedOutcome:
    shared = share_out(settings, seed)
    test = shared.split.rows(Part.TEST)
    of_seed = {(job.arm, job.partner): result for job, result in results.items() if job.seed == seed}
    alone = [of_seed[Arm.ALONE, index] for index in range(settings.n_partners)]
    federated, pooled = of_seed[Arm.FEDERATED, None], of_seed[Arm.POOLED, None]
    holdings = _holdings(shared)
    names = shared.partition.names
    alone_curves = [_curve(result, name) for result, name in zip(alone, names, strict=True)]
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
        curves=(_curve(federated), _curve(pooled), mean_curve(alone_curves, n_valid), *alone_curves),
        costs=tuple(_cost(arm, [r for (a, _), r in of_seed.items() if a is arm]) for arm in _TRAINED_ARMS),
    )


_TRAINED_ARMS = (Arm.ALONE, Arm.FEDERATED, Arm.POOLED)


def _holdings(shared: SharedOut) -> Holdings:
    common = overlap(shared.encoded.interactions, shared.partition)
    n_partners = shared.partition.n_partners
    rows = {part: np.bincount(shared.partition.owner[shared.split.rows(part)], minlength=n_partners) for part in Part}
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


def _curve(result: ArmResult, partner: str | None = None) -> Curve:
    best_round = result.model.selection.best_round
    if best_round is None:
        raise StoreError(f"the {result.job.arm} run of seed {result.job.seed} kept no model; delete it and run again")
    return Curve(
        arm=result.job.arm,
        partner=partner,
        valid_mse=np.array([record.valid_mse for record in result.model.rounds]),
        best_round=best_round,
    )


def _cost(arm: Arm, results: list[ArmResult]) -> Cost:
    """What an arm took over all its runs; alone and pooled send no frame from one organisation to another."""
    rounds = [record for result in results for record in result.model.rounds]
    crosses = arm is Arm.FEDERATED
    return Cost(
        arm=arm,
        n_rounds=max(len(result.model.rounds) for result in results),
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
        partition=settings.partition,
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
        machine=f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, PyTorch {version('torch')}",
        digests=(("data", shared.digest), ("settings", digest_json(per_seed))),
    )


def default_place(folder: Path) -> StorePlace:
    """One SQLite file and a directory of arrays in an output folder."""
    return StorePlace(url=f"sqlite:///{folder / 'runs.sqlite'}", folder=folder / "runs")
