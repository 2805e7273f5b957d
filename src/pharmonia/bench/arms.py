"""The arms of a comparison: who trains with whom, on what, and what comes of it; loads no PyTorch."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import Json
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partition import Partition, partition_rows
from pharmonia.data.splits import Split, split_rows
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.settings import Method
from pharmonia.run.datasets import load
from pharmonia.run.records import TrainedModel
from pharmonia.run.store import RunStore

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

    @property
    def method(self) -> Method:
        """How the run's partners step; one owner of rows trains as with FedAvg."""
        return self.settings.method if self.arm is Arm.FEDERATED else Method()

    def to_json(self, data_digest: str) -> dict[str, Json]:
        """Plain values that determine this run, for its digest; alone and pooled runs serve every method."""
        values = self.settings.to_json(self.seed) | {"data": data_digest, "arm": self.arm, "partner": self.partner}
        if self.arm is Arm.FEDERATED:
            values |= {"method": str(self.settings.method), "aggregation": self.settings.aggregation}
        return values


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
