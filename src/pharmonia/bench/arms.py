"""The runs of a comparison or battery: who trains with whom, on what, and what comes of it; loads no PyTorch."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import Json, digest_json
from pharmonia.bench.own_scenario import OwnScenario
from pharmonia.bench.public import public_digest
from pharmonia.bench.scenario import Scenario, share_rows
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partition import Partition
from pharmonia.data.splits import Split, SplitKind, split_rows
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.settings import Method
from pharmonia.run.datasets import load
from pharmonia.run.records import Training
from pharmonia.run.store import RunStore, is_store

PARTITION_STREAM, SPLIT_STREAM = 1, 2  # which random numbers of a seed are for what
RUN_ID_DIGITS = 20
PREDICTIONS_FILE = "predictions.safetensors"
FAILED_FILE = "failed.txt"  # why a run cannot be made, in its folder


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

    def exists(self) -> bool:
        """Whether the store is there."""
        return is_store(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmJob:
    """One training run of partners, of one of them, or of all rows in one place.

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

    @property
    def method(self) -> Method:
        """How the run's partners step; one owner of rows trains as with FedAvg."""
        return self.settings.method if self.arm is Arm.FEDERATED else Method()

    @property
    def title(self) -> str:
        """What people call it."""
        return self.arm if self.partner is None else f"{self.arm}, partner {self.partner + 1}"

    def to_json(self, data_digest: str) -> dict[str, Json]:
        """Plain values that determine this run; alone and pooled runs serve every method."""
        values = self.settings.to_json(self.seed) | {"data": data_digest, "arm": self.arm, "partner": self.partner}
        if self.arm is Arm.FEDERATED:
            values |= {"method": self.settings.method.identity, "aggregation": self.settings.aggregation}
        return values


class Baseline(StrEnum):
    """A predictor without a neural network, fitted to all partners' rows in one place."""

    BOOSTED = "boosted"  # gradient-boosted trees on fingerprints
    ADDITIVE = "additive"  # compound mean plus target mean


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineJob:
    """One fit of a baseline."""

    settings: ComparisonSettings
    seed: int
    baseline: Baseline

    @property
    def title(self) -> str:
        """What people call it."""
        return self.baseline.value

    def to_json(self, data_digest: str) -> dict[str, Json]:
        """Plain values that determine this fit."""
        return self.settings.to_json(self.seed) | {"data": data_digest, "arm": self.baseline}


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledJob:
    """One model taught by the ensemble of the alone models on public compounds; needs their runs finished.

    Args:
        settings: The comparison.
        seed: One of its seeds.
        public: Name of the data set or assay table whose compounds are public.
    """

    settings: ComparisonSettings
    seed: int
    public: str

    @property
    def title(self) -> str:
        """What people call it."""
        return "distilled"

    @property
    def teachers(self) -> tuple[ArmJob, ...]:
        """The runs that it learns from."""
        partners = range(self.settings.n_partners)
        return tuple(ArmJob(settings=self.settings, seed=self.seed, arm=Arm.ALONE, partner=one) for one in partners)

    def to_json(self, data_digest: str) -> dict[str, Json]:
        """Plain values that determine this run."""
        public: Json = {"name": self.public, "compounds": public_digest(self.public)}
        values: dict[str, Json] = {"data": data_digest, "arm": "distilled", "public": public}
        return self.settings.to_json(self.seed) | values


Job = ArmJob | BaselineJob | DistilledJob


def run_id_of(job: Job) -> str:
    """The name of a job's run in a store: a digest of all that determines it."""
    return digest_json(job.to_json(share_out(job.settings, job.seed).digest))[:RUN_ID_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobResult:
    """What a job brought.

    Args:
        job: The job.
        training: How its model came about, which the store keeps; None where nothing was trained in rounds.
        predicted: (n_test,) float64, of every test row.
    """

    job: Job
    training: Training | None
    predicted: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """A job that its settings or data make impossible.

    Args:
        job: The job.
        reason: For people.
    """

    job: Job
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedOut:
    """A data set shared out between partners and split, under one seed."""

    encoded: EncodedInteractions
    digest: str
    partition: Partition
    split: Split


def share_out(settings: ComparisonSettings, seed: int) -> SharedOut:
    """Load the data set, share it out between partners and split it, as the seed has it."""
    return _share_out(settings.dataset, settings.scenario, settings.n_partners, settings.split, seed)


@lru_cache(maxsize=16)
def _share_out(
    dataset: str, scenario: Scenario | OwnScenario, n_partners: int, kind: SplitKind, seed: int
) -> SharedOut:
    encoded, digest = _loaded(dataset)
    interactions = encoded.interactions
    rng = np.random.default_rng([seed, PARTITION_STREAM])
    partition = share_rows(scenario, interactions, n_partners, rng)
    split = split_rows(interactions, kind, partition, np.random.default_rng([seed, SPLIT_STREAM]))
    return SharedOut(encoded=encoded, digest=digest, partition=partition, split=split)


@lru_cache(maxsize=2)
def _loaded(dataset: str) -> tuple[EncodedInteractions, str]:
    encoded = load(dataset)
    return encoded, encoded.interactions.digest()
