"""Splitting rows into train, valid and test, so that no partner trains on what anyone tests on."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import PartitionError
from pharmonia.data.interactions import TEST_FOLD, Interactions
from pharmonia.data.partition import Partition, majority_owner

TEST_SHARE = 0.2  # of a partner's rows
VALID_SHARE = 0.1  # of a partner's rows that are not test rows


class SplitKind(StrEnum):
    """What the test rows have that the training rows do not."""

    PUBLISHED = "published"  # the data set's own test fold
    RANDOM = "random"  # other pairs
    COLD_TARGET = "cold-target"  # other targets
    COLD_COMPOUND = "cold-compound"  # other compounds


class Part(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    UNUSED = 3  # the same structure and sequence as a published test row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """What each row is used for, by every partner alike.

    Args:
        kind: The protocol.
        part: (n_rows,) int8 of `Part`.
    """

    kind: SplitKind
    part: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        object.__setattr__(self, "part", frozen_copy(self.part))

    def rows(self, part: Part) -> npt.NDArray[np.int64]:
        """Rows of this part, in order."""
        return np.flatnonzero(self.part == part)


def split_rows(interactions: Interactions, kind: SplitKind, partition: Partition, rng: np.random.Generator) -> Split:
    """Split each partner's rows; whole groups move together, so that none is on both sides.

    A group is a pair (structure and sequence) for `random` and `published`, a target or a compound for the cold
    protocols. Within each partner, groups in random order fill test (20 % of its rows; the published fold where
    asked), then valid (10 % of the rest), then train. A group that several partners own is split with the one
    that owns most of it.

    Raises:
        PartitionError: No published fold, or a partner would be left without train, valid or test rows.
    """
    if kind is SplitKind.PUBLISHED and not interactions.has_published_folds:
        raise PartitionError(
            f"data set {interactions.name} has no published fold; split random, cold-target or cold-compound"
        )
    _, groups = np.unique(_group_keys(interactions, kind), return_inverse=True)
    if kind is SplitKind.PUBLISHED:
        part = _published(interactions, groups, partition, rng)
    else:
        part = _fill(groups, partition, rng, test_share=TEST_SHARE)[groups]
    split = Split(kind=kind, part=part)
    _check(split, groups, partition)
    return split


def _group_keys(interactions: Interactions, kind: SplitKind) -> npt.NDArray[np.integer]:
    match kind:
        case SplitKind.COLD_TARGET:
            return interactions.pairs.target
        case SplitKind.COLD_COMPOUND:
            return interactions.pairs.compound
        case SplitKind.PUBLISHED | SplitKind.RANDOM:
            return interactions.pair_keys()


def _published(
    interactions: Interactions, groups: npt.NDArray[np.int64], partition: Partition, rng: np.random.Generator
) -> npt.NDArray[np.int8]:
    is_test = interactions.fold == TEST_FOLD
    tested = np.zeros(int(groups.max()) + 1, dtype=bool)
    tested[groups[is_test]] = True
    part = _fill(groups, partition, rng, test_share=0.0, taken=tested)[groups]
    part[tested[groups]] = Part.UNUSED
    part[is_test] = Part.TEST
    return part


def _fill(
    groups: npt.NDArray[np.int64],
    partition: Partition,
    rng: np.random.Generator,
    *,
    test_share: float,
    taken: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int8]:
    """(n_groups,) parts; each partner gets at least one group of each part while it has groups."""
    n_groups = int(groups.max()) + 1
    owner = majority_owner(groups, n_groups, partition)
    sizes = np.bincount(groups, minlength=n_groups)
    free = np.ones(n_groups, dtype=bool) if taken is None else ~taken
    part = np.full(n_groups, Part.TRAIN, dtype=np.int8)
    for partner in range(partition.n_partners):
        mine = rng.permutation(np.flatnonzero((owner == partner) & free))
        before = np.cumsum(sizes[mine]) - sizes[mine]
        n_rows = int(sizes[mine].sum())
        n_test = max(1, int((before < test_share * n_rows).sum())) if test_share else 0
        valid_until = before[n_test] + VALID_SHARE * (n_rows - before[n_test]) if n_test < mine.size else 0
        n_valid = max(1, int((before[n_test:] < valid_until).sum()))
        part[mine[:n_test]] = Part.TEST
        part[mine[n_test : n_test + n_valid]] = Part.VALID
    return part


def _check(split: Split, groups: npt.NDArray[np.int64], partition: Partition) -> None:
    for part in (Part.TRAIN, Part.VALID, Part.TEST):
        rows = np.bincount(partition.owner[split.part == part], minlength=partition.n_partners)
        if (rows == 0).any():
            name = partition.names[int(rows.argmin())]
            raise PartitionError(
                f"{name} is left with no {part.name.lower()} row; use fewer partners, another partition or split"
            )
    require_no_leak(split, groups)


def require_no_leak(split: Split, groups: npt.NDArray[np.integer]) -> None:
    """Prove that no group with a test row has a train or valid row, at any partner.

    Raises:
        PartitionError: One has.
    """
    tested = np.isin(groups, groups[split.part == Part.TEST])
    leaked = tested & ((split.part == Part.TRAIN) | (split.part == Part.VALID))
    if leaked.any():
        raise PartitionError(f"{int(leaked.sum())} training rows belong to groups that are tested on")
