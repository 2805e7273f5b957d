"""One arm of a comparison: who trains with whom, and what the resulting model predicts for the test rows."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import digest_json
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partition import Partition, partition_rows
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part, Split, split_rows
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.local import LocalLearner, predict
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator, Performance
from pharmonia.run.datasets import load
from pharmonia.run.party import Party
from pharmonia.run.records import RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore

POOL_NAME = "all partners' data in one place"
RUN_ID_DIGITS = 20
PARTITION_STREAM, SPLIT_STREAM = 1, 2  # which random numbers of a seed are for what


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """Where runs are kept.

    Args:
        url: SQLAlchemy URL of the database.
        folder: Directory of the arrays.
    """

    url: str
    folder: Path

    def open(self) -> RunStore:
        """The store, created if it is not there."""
        return RunStore(self.url, self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmJob:
    """One training run of a comparison.

    Args:
        settings: The comparison.
        seed: One of its seeds.
        arm: Alone, pooled or federated.
        partner: Which partner trains alone; None for the other arms.
    """

    settings: ComparisonSettings
    seed: int
    arm: Arm
    partner: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmResult:
    """What a training run brought.

    Args:
        job: The run.
        model: The best round's model and all rounds.
        predicted: (n_test,) float64, of every test row of the comparison.
    """

    job: ArmJob
    model: TrainedModel
    predicted: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedOut:
    """A data set shared out between partners and split, under one seed."""

    encoded: EncodedInteractions
    digest: str
    partition: Partition
    split: Split


@lru_cache(maxsize=2)
def share_out(settings: ComparisonSettings, seed: int) -> SharedOut:
    """Load the data set, share it out between partners and split it, as the seed has it."""
    encoded = load(settings.dataset)
    interactions = encoded.interactions
    partition = partition_rows(
        interactions, settings.partition, settings.n_partners, np.random.default_rng([seed, PARTITION_STREAM])
    )
    split = split_rows(interactions, settings.split, partition, np.random.default_rng([seed, SPLIT_STREAM]))
    return SharedOut(encoded=encoded, digest=interactions.digest(), partition=partition, split=split)


def run_arm(
    job: ArmJob, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> ArmResult:
    """Train the arm's model, or find it finished in the store, and predict the test rows with it."""
    shared = share_out(job.settings, job.seed)
    settings = {**job.settings.to_json(job.seed), "data": shared.digest, "arm": job.arm, "partner": job.partner}
    run_id = digest_json(settings)[:RUN_ID_DIGITS]
    store = place.open()
    folder = store.folder(run_id)
    if store.open_run(run_id, settings, now) is RunStatus.FINISHED:
        model = store.model(run_id)
    else:
        engine = InProcessEngine(_parties(job, shared, folder))
        plan = TrainingPlan(local=job.settings.local, schedule=job.settings.schedule, seed=job.seed)
        model = Coordinator(plan, engine, store, run_id, performance).train(on_round)
        for private in folder.glob("party-*"):
            shutil.rmtree(private)  # the partners' states serve a resume, and the run is finished
    return ArmResult(job=job, model=model, predicted=_predictions(job, shared, model, folder))


def _parties(job: ArmJob, shared: SharedOut, folder: Path) -> dict[str, Party]:
    parties = {}
    for index, dataset in _datasets(job, shared):
        learner = LocalLearner(dataset, job.settings.local, (job.seed, index))
        parties[dataset.name] = Party(learner, folder / f"party-{index}")
    return parties


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
        test = shared.encoded.interactions.pairs.take(shared.split.rows(Part.TEST))
        predicted = predict(model.parameters, job.settings.local.norm, shared.encoded, test)
        write_arrays(path, {"predicted": predicted}, {})
    return read_arrays(path)[0]["predicted"]
