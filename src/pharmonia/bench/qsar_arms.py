"""The runs of a comparison on many tasks: who trains on what; loads no PyTorch."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pharmonia.base.canonical import Json, digest_json
from pharmonia.bench.arms import PARTITION_STREAM, RUN_ID_DIGITS
from pharmonia.bench.qsar_settings import QsarSettings
from pharmonia.bench.qsar_world import open_world
from pharmonia.data.ownership import Owners
from pharmonia.data.qsar import (
    TEST_FOLD,
    VALID_FOLD,
    LeakCheck,
    PartnerShare,
    QsarWorld,
    Rows,
    Sharing,
    TaskQuorum,
    as_catalogue,
    check_leaks,
    common_tasks,
    label_owners,
    pooled_share,
    shares,
)
from pharmonia.data.qsar_sets import QsarSet
from pharmonia.data.tasks import Labels, TaskKind
from pharmonia.evaluate.qsar import QsarArm
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Method
from pharmonia.run.records import Training

_TRAINING_RULES = 2  # raised whenever rounds of equal settings come out otherwise; 1 validated by test counts


@dataclass(frozen=True, slots=True, kw_only=True)
class QsarJob:
    """One training run of partners, of one of them, or of all data in one place.

    Args:
        settings: The comparison.
        seed: One of its seeds.
        arm: Any but the ensemble, which is made of the alone runs.
        partner: Which partner trains alone or has trees; None for the other arms.
    """

    settings: QsarSettings
    seed: int
    arm: QsarArm
    partner: int | None

    @property
    def method(self) -> Method:
        """How the run's partners step; one owner of data trains as with FedAvg."""
        return self.settings.method if self.arm is QsarArm.FEDERATED else Method()

    @property
    def title(self) -> str:
        """What people call it."""
        return self.arm if self.partner is None else f"{self.arm}, partner {self.partner + 1}"

    def to_json(self, data_digest: str) -> dict[str, Json]:
        """Plain values that determine this run; the runs of single owners serve every method."""
        values = self.settings.to_json(self.seed) | {"data": data_digest, "arm": self.arm, "partner": self.partner}
        if self.arm is not QsarArm.BOOSTED:
            values |= {"rules": _TRAINING_RULES}
        if self.arm is QsarArm.FEDERATED:
            values |= {
                "method": str(self.settings.method),
                "aggregation": self.settings.aggregation,
                "catalogue": self.settings.catalogue,
            }
        return values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QsarResult:
    """What a job brought.

    Args:
        job: The job.
        training: How its model came about, which the store keeps; None where nothing was trained in rounds.
        predicted: (n_evaluated,) float32, of `SharedTasks.evaluated`; NaN where the job has no model of the task.
    """

    job: QsarJob
    training: Training | None
    predicted: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedTasks:
    """A data set shared out between partners, under one seed.

    Args:
        world: All that is measured.
        digest: Of it, and of who has what.
        owner: (n_labels,) int16.
        partners: Each one's data.
        leaks: Proof that nobody trains on what anybody is tested on.
        evaluated: (n_evaluated,) int64, labels of the world in the validation and test folds, ascending.
    """

    world: QsarWorld
    digest: str
    owner: Owners
    partners: tuple[PartnerShare, ...]
    leaks: LeakCheck
    evaluated: Rows

    @property
    def pooled(self) -> PartnerShare:
        """Everybody's data in one place."""
        return pooled_share(self.world, self.owner)


def share_out(settings: QsarSettings, seed: int) -> SharedTasks:
    """Share out the data set between partners, as the seed has it; it is prepared already.

    Raises:
        PartitionError: It cannot be shared out so, or a test compound is trained on.
    """
    return _share_out(settings.dataset, settings.n_partners, settings.sharing, settings.quorum, seed)


@lru_cache(maxsize=6)
def _share_out(dataset: QsarSet, n_partners: int, sharing: Sharing, quorum: TaskQuorum, seed: int) -> SharedTasks:
    world = _world(dataset)
    owner = label_owners(world, sharing, n_partners, np.random.default_rng([seed, PARTITION_STREAM]))
    partners = shares(world, owner, n_partners, quorum)
    leaks = check_leaks(world, partners)
    return SharedTasks(
        world=world,
        digest=digest_json([world.prepared.recipe_digest, _digest(world.prepared.labels), owner.tobytes().hex()]),
        owner=owner,
        partners=partners,
        leaks=leaks,
        evaluated=world.prepared.in_folds((VALID_FOLD, TEST_FOLD)),
    )


def _digest(labels: Labels) -> str:
    digest = hashlib.sha256()
    for column in (labels.compound, labels.task, labels.value, labels.censor):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _world(dataset: QsarSet) -> QsarWorld:
    return open_world(dataset)


def federated_shares(settings: QsarSettings, shared: SharedTasks) -> tuple[PartnerShare, ...]:
    """The partners' data as the federated arm reads them: with a catalogue, tasks that several have are shared."""
    if not settings.catalogue:
        return shared.partners
    common = common_tasks(shared.partners)
    return tuple(as_catalogue(share, common) for share in shared.partners)


def federated_settings(settings: QsarSettings, partners: tuple[PartnerShare, ...]) -> MultitaskSettings:
    """How federated partners train: with the catalogue that their tasks make."""
    names: dict[TaskKind, set[str]] = {kind: set() for kind in TaskKind}
    for share in partners:
        for task in share.prepared.tasks:
            if task.catalogue_id is not None:
                names[task.kind].add(task.catalogue_id)
    classification, regression = (tuple(sorted(names[kind])) for kind in TaskKind)
    return settings.federated(classification, regression)


def run_id_of(job: QsarJob) -> str:
    """The name of a job's run in a store: a digest of all that determines it."""
    return digest_json(job.to_json(share_out(job.settings, job.seed).digest))[:RUN_ID_DIGITS]
