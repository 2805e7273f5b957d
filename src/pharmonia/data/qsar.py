"""Sharing out prepared tasks between partners: by scaffold, by assay, or in blocks of both; and proof of no leak."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import PartitionError
from pharmonia.data import ownership
from pharmonia.data.assays import EXACT, AssayType, Index
from pharmonia.data.compounds import take_rows
from pharmonia.data.ownership import NOBODY, Owners
from pharmonia.data.partition import partner_names, require_partners
from pharmonia.data.tasks import ACTIVE, Labels, PreparedTasks, Task, TaskKind

TEST_FOLD, VALID_FOLD = 0, 4  # as in MELLODDY's first phase; the other folds are trained on

Rows = npt.NDArray[np.int64]


class Sharing(StrEnum):
    """How labels are shared out between partners."""

    SCAFFOLD = "scaffold"  # each cluster of like scaffolds to one partner; every partner may have every assay
    ASSAY = "assay"  # each assay to one partner; a compound may be at several
    BOTH = "both"  # groups of scaffold clusters times groups of assays: one block to each partner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QsarWorld:
    """All that is measured, before anybody owns it.

    Args:
        name: Of the data set.
        prepared: Compounds, tasks and labels; a task's aggregation weight is 0 only where it is auxiliary.
        scaffold: (n_compounds,) int32, equal for compounds of one scaffold, counted from 0.
        cluster: (n_compounds,) int32, equal for compounds of like scaffolds, counted from 0; a partner's own chemistry.

    Raises:
        PartitionError: Other numbers of scaffolds or clusters than compounds, a scaffold in two clusters, or too few
            folds to test and to validate on.
    """

    name: str
    prepared: PreparedTasks
    scaffold: Index
    cluster: Index

    def __post_init__(self) -> None:
        if not self.scaffold.shape == self.cluster.shape == (self.prepared.n_compounds,):
            raise PartitionError(f"{self.name}: {self.scaffold.size} scaffolds for {self.prepared.n_compounds} rows")
        if np.unique(np.stack([self.scaffold, self.cluster]), axis=1).shape[1] != np.unique(self.scaffold).size:
            raise PartitionError(f"{self.name}: a scaffold is in two clusters")
        if self.prepared.n_folds <= max(TEST_FOLD, VALID_FOLD):
            raise PartitionError(f"{self.name}: {self.prepared.n_folds} folds; {VALID_FOLD + 1} are needed")
        object.__setattr__(self, "scaffold", frozen_copy(self.scaffold))
        object.__setattr__(self, "cluster", frozen_copy(self.cluster))

    @property
    def assay_ids(self) -> tuple[str, ...]:
        """The assays, each once, sorted."""
        return tuple(sorted({task.assay_id for task in self.prepared.tasks}))

    @property
    def assay(self) -> Rows:
        """(n_tasks,) int64: the assay of each task, an index into `assay_ids`."""
        place = {name: index for index, name in enumerate(self.assay_ids)}
        return np.array([place[task.assay_id] for task in self.prepared.tasks], dtype=np.int64)

    @property
    def train_folds(self) -> tuple[int, ...]:
        """The folds that are trained on."""
        return tuple(fold for fold in range(self.prepared.n_folds) if fold not in (TEST_FOLD, VALID_FOLD))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuorum:
    """How many labels of a partner a task needs.

    Args:
        train_class: Actives, and inactives, in the training folds.
        train_values: Unqualified values in the training folds, of a regression task.
        test_class: Actives, and inactives, in the test fold, for its scores to count.
        test_values: Unqualified values in the test fold.
        test_std: Their standard deviation, but for assays of type ADME, as in MELLODDY: R2 says little about values
            that hardly differ.
    """

    train_class: int = 5
    train_values: int = 20
    test_class: int = 5
    test_values: int = 20
    test_std: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A task that a partner does not train, or whose scores do not count, and why."""

    partner: str
    task_id: str
    is_trained: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnerShare:
    """One partner's data.

    Args:
        name: The partner.
        prepared: Its compounds, its tasks and their labels; nothing of anybody else's.
        compound: (n_compounds,) int64, row in the world of each of its compounds.
        task: (n_tasks,) int64, index in the world of each of its tasks.
        label: (n_labels,) int64, index in the world of each of its labels.
        left_out: Tasks that it has labels of and does not train, or that do not count.
    """

    name: str
    prepared: PreparedTasks
    compound: Rows
    task: Rows
    label: Rows
    left_out: tuple[LeftOut, ...]

    def __post_init__(self) -> None:
        for field in ("compound", "task", "label"):
            object.__setattr__(self, field, frozen_copy(getattr(self, field)))


def label_owners(world: QsarWorld, sharing: Sharing, n_partners: int, rng: np.random.Generator) -> Owners:
    """(n_labels,) int16: who measured what, each partner about as many labels as the others.

    Raises:
        PartitionError: Too many partners for so few clusters or assays, or a number that makes no blocks.
    """
    require_partners(n_partners)
    labels = world.prepared.labels
    cluster, assay = world.cluster[labels.compound], world.assay[labels.task]
    match sharing:
        case Sharing.SCAFFOLD:
            owner = ownership.by_group(cluster, "clusters of scaffolds", n_partners, rng)
        case Sharing.ASSAY:
            owner = ownership.by_group(assay, "assays", n_partners, rng)
        case Sharing.BOTH:
            n_clusters, n_assays = blocks(n_partners)
            if n_assays > (n_there := np.unique(assay).size):
                raise PartitionError(
                    f"{n_partners} partners are {n_clusters} groups of scaffold clusters times {n_assays} of assays, "
                    f"and there are {n_there} assays; choose another number, or partition by scaffold"
                )
            of_cluster = ownership.by_group(cluster, "clusters of scaffolds", n_clusters, rng)
            owner = of_cluster * n_assays + ownership.by_group(assay, "assays", n_assays, rng)
    there = np.unique(owner)
    if there.size < n_partners:
        missing = partner_names(n_partners)[int(np.setdiff1d(np.arange(n_partners), there)[0])]
        raise PartitionError(f"{missing} would have no label at all; use fewer partners")
    return owner


def blocks(n_partners: int) -> tuple[int, int]:
    """Groups of clusters, and groups of assays, whose product is the number of partners; as square as can be.

    Raises:
        PartitionError: The number has no divisor but 1 and itself.
    """
    n_clusters = max(n for n in range(1, int(n_partners**0.5) + 1) if n_partners % n == 0)
    if n_clusters == 1:
        raise PartitionError(
            f"{n_partners} partners make no blocks of scaffolds and assays; choose 4, 6, 8, 9, 10 or another number "
            "that is a product, or partition by scaffold or assay"
        )
    return n_clusters, n_partners // n_clusters


def shares(world: QsarWorld, owner: Owners, n_partners: int, quorum: TaskQuorum) -> tuple[PartnerShare, ...]:
    """Each partner's data.

    Raises:
        PartitionError: A partner has no task to train, or no label to validate on.
    """
    names = partner_names(n_partners)
    return tuple(_share(world, np.flatnonzero(owner == index), names[index], quorum) for index in range(n_partners))


def _share(world: QsarWorld, own: Rows, name: str, quorum: TaskQuorum) -> PartnerShare:
    prepared = world.prepared
    tasks: list[Task] = []
    kept: list[int] = []
    left_out: list[LeftOut] = []
    counts, spread = _counts(world, own), _test_spread(world, own)
    for index in np.unique(prepared.labels.task[own]).tolist():
        task = prepared.tasks[index]
        untrained, unscored = _judge(task, counts[:, :, index], float(spread[index]), quorum)
        if untrained or unscored:
            left_out.append(
                LeftOut(partner=name, task_id=task.task_id, is_trained=not untrained, reason=untrained or unscored)
            )
        if not untrained:
            kept.append(index)
            tasks.append(replace(task, aggregation_weight=0.0) if unscored else task)
    chosen = np.array(kept, dtype=np.int64)
    label = own[np.isin(prepared.labels.task[own], chosen)]
    share = _restricted(world, name, tuple(tasks), chosen, label, tuple(left_out))
    for folds, what in ((world.train_folds, "train"), ((VALID_FOLD,), "validate")):
        if not share.prepared.in_folds(folds).size:
            raise PartitionError(
                f"{name} has no label to {what} on in the tasks that it could train; use fewer partners"
            )
    return share


def _restricted(
    world: QsarWorld, name: str, tasks: tuple[Task, ...], chosen: Rows, label: Rows, left_out: tuple[LeftOut, ...]
) -> PartnerShare:
    prepared, labels = world.prepared, world.prepared.labels
    compound, row = np.unique(labels.compound[label], return_inverse=True)
    place = np.zeros(len(prepared.tasks), dtype=np.int32)
    place[chosen] = np.arange(chosen.size)
    return PartnerShare(
        name=name,
        prepared=PreparedTasks(
            recipe_digest=prepared.recipe_digest,
            features=take_rows(prepared.features, compound.astype(np.int64)),
            fold=prepared.fold[compound],
            n_folds=prepared.n_folds,
            tasks=tasks,
            labels=Labels(
                compound=row.astype(np.int32),
                task=place[labels.task[label]],
                value=labels.value[label],
                censor=labels.censor[label],
            ),
        ),
        compound=compound.astype(np.int64),
        task=chosen,
        label=label,
        left_out=left_out,
    )


def _counts(world: QsarWorld, own: Rows) -> Rows:
    """(2, 2, n_tasks): in training folds and in the test fold, the actives or exact values, and the inactives."""
    labels, n_tasks = world.prepared.labels, len(world.prepared.tasks)
    fold, task = world.prepared.fold[labels.compound[own]], labels.task[own]
    is_class = np.array([one.kind is TaskKind.CLASSIFICATION for one in world.prepared.tasks])[task]
    first = np.where(is_class, labels.value[own] == ACTIVE, labels.censor[own] == EXACT)
    parts = (np.isin(fold, world.train_folds), fold == TEST_FOLD)
    return np.array([[np.bincount(task[part & side], minlength=n_tasks) for side in (first, ~first)] for part in parts])


def _test_spread(world: QsarWorld, own: Rows) -> Vector:
    """(n_tasks,) standard deviation of the unqualified values in the test fold; 0 below two."""
    labels, n_tasks = world.prepared.labels, len(world.prepared.tasks)
    chosen = own[(world.prepared.fold[labels.compound[own]] == TEST_FOLD) & (labels.censor[own] == EXACT)]
    task, value = labels.task[chosen], labels.value[chosen].astype(np.float64)
    n = np.bincount(task, minlength=n_tasks)
    mean = np.bincount(task, value, n_tasks) / np.maximum(n, 1)
    squares = np.bincount(task, np.square(value - mean[task]), n_tasks)
    spread: Vector = np.sqrt(squares / np.maximum(n - 1, 1))
    return spread


def _judge(task: Task, counts: Rows, spread: float, quorum: TaskQuorum) -> tuple[str, str]:
    """Why a partner does not train a task, and why its scores do not count; empty where it does, and they do."""
    (train, train_other), (test, test_other) = counts.tolist()
    if task.kind is TaskKind.CLASSIFICATION:
        untrained = _lacking_class(train, train_other, quorum.train_class, "training folds")
        unscored = _lacking_class(test, test_other, quorum.test_class, "test fold")
    else:
        untrained = _lacking(train, quorum.train_values, "training folds")
        unscored = _lacking(test, quorum.test_values, "test fold")
        if not unscored and task.assay_type is not AssayType.ADME and spread < quorum.test_std:
            unscored = f"a standard deviation of {spread:.2g} in the test fold, {quorum.test_std:g} is needed"
    return untrained, "" if task.auxiliary else unscored


def _lacking_class(active: int, inactive: int, needed: int, where: str) -> str:
    if min(active, inactive) >= needed:
        return ""
    if not active and not inactive:
        return f"no label in the {where}"
    if not active or not inactive:
        return f"one class in the {where}: {active} actives, {inactive} inactives"
    return f"{active} actives and {inactive} inactives in the {where}, {needed} of each are needed"


def _lacking(exact: int, needed: int, where: str) -> str:
    if exact >= needed:
        return ""
    return f"{exact} unqualified values in the {where}, {needed} are needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakCheck:
    """Proof that what partners are tested on is nobody's training or validation data.

    Args:
        n_trained: Compounds that some partner trains on.
        n_tested: Compounds that some partner is tested on.
        n_common: Compounds that are both; 0, or the check refuses.
        n_common_scaffolds: Scaffolds that are on both sides; 0, or the check refuses.
        n_equal_fingerprints: Tested compounds with the columns of a trained one of another scaffold.
        trained_digest: SHA-256 of the world's rows that are trained on, int32, ascending.
        tested_digest: The same of those that are tested on.
    """

    n_trained: int
    n_tested: int
    n_common: int
    n_common_scaffolds: int
    n_equal_fingerprints: int
    trained_digest: str
    tested_digest: str


def check_leaks(world: QsarWorld, partners: Sequence[PartnerShare]) -> LeakCheck:
    """Look for a tested compound or scaffold among all that any partner trains or validates on.

    Raises:
        PartitionError: There is one.
    """
    trained, tested = _compounds_in(partners, (*world.train_folds, VALID_FOLD)), _compounds_in(partners, (TEST_FOLD,))
    common = np.intersect1d(trained, tested)
    scaffolds = np.intersect1d(world.scaffold[trained], world.scaffold[tested])
    if common.size or scaffolds.size:
        raise PartitionError(
            f"{common.size} compounds and {scaffolds.size} scaffolds are trained on by one partner and tested on by "
            "another; prepare all partners' data under one key"
        )
    features = world.prepared.features
    known = {features.row(row).tobytes() for row in trained.tolist()}
    return LeakCheck(
        n_trained=trained.size,
        n_tested=tested.size,
        n_common=common.size,
        n_common_scaffolds=scaffolds.size,
        n_equal_fingerprints=sum(features.row(row).tobytes() in known for row in tested.tolist()),
        trained_digest=_digest(trained),
        tested_digest=_digest(tested),
    )


def _compounds_in(partners: Sequence[PartnerShare], folds: tuple[int, ...]) -> Rows:
    parts = [
        share.compound[np.unique(share.prepared.labels.compound[share.prepared.in_folds(folds)])] for share in partners
    ]
    return np.unique(np.concatenate(parts))


def _digest(rows: Rows) -> str:
    return hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()


def as_catalogue(share: PartnerShare, shared: frozenset[str]) -> PartnerShare:
    """The share with its tasks of these identifiers as catalogue tasks, which have one head for all partners."""
    tasks = tuple(
        replace(task, catalogue_id=task.task_id) if task.task_id in shared else task for task in share.prepared.tasks
    )
    return replace(share, prepared=replace(share.prepared, tasks=tasks))


def common_tasks(partners: Sequence[PartnerShare]) -> frozenset[str]:
    """Identifiers of the tasks that at least two partners train."""
    names = [task.task_id for share in partners for task in share.prepared.tasks]
    return frozenset(name for name in set(names) if names.count(name) > 1)


def pooled_share(world: QsarWorld, owner: Owners) -> PartnerShare:
    """All partners' labels in one place, each task of the world one column."""
    everything = np.flatnonzero(owner != NOBODY)
    quorum = TaskQuorum(train_class=1, train_values=1, test_class=0, test_values=0, test_std=0.0)
    return _share(world, everything, "all partners' data in one place", quorum)
