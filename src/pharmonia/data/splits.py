"""Splitting rows into train, valid and test, so that no partner trains on what anyone tests on."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import PartitionError
from pharmonia.chem.scaffolds import scaffold_groups
from pharmonia.data.interactions import TEST_FOLD, Interactions
from pharmonia.data.ownership import NOBODY
from pharmonia.data.partition import Partition, majority_owner

TEST_SHARE = 0.2  # of a partner's rows
VALID_SHARE = 0.1  # of a partner's rows that are not test rows


class SplitKind(StrEnum):
    """What the test rows have that the training rows do not."""

    PUBLISHED = "published"  # the data set's own test fold
    RANDOM = "random"  # other pairs
    COLD_TARGET = "cold-target"  # other targets
    COLD_COMPOUND = "cold-compound"  # other compounds
    COLD_SCAFFOLD = "cold-scaffold"  # other scaffolds
    COLD_BOTH = "cold-both"  # other targets and other compounds


class Part(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    UNUSED = 3  # nobody's; or too near to test rows: the same pair as a published one, or one side of cold-both


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

    A group is a pair (structure and sequence) for `random` and `published`, a target, a compound or a scaffold for the
    cold protocols. Within each partner, groups in random order fill test (20 % of its rows; the published fold where
    asked), then valid (10 % of the rest), then train. A group that several partners own is split with the one
    that owns most of it. Rows that nobody owns are not used.

    For `cold-both`, targets are split so, and compounds by themselves. Rows of a test target and a test compound are
    tested on (about 4 % of all), rows of one of the two are not used, and of the others those of a valid target are
    valid (new targets, known compounds). With any protocol, only the groups decide: a partner that owns no group for
    the most part may have few rows of a part, and none is an error.

    Raises:
        PartitionError: No published fold, or a partner would be left without train, valid or test rows.
    """
    if kind is SplitKind.PUBLISHED and not interactions.has_published_folds:
        others = ", ".join(other for other in SplitKind if other is not kind)
        raise PartitionError(f"data set {interactions.name} has no published fold; choose {others}")
    if kind is SplitKind.COLD_BOTH:
        part = _cold_both(interactions, partition, rng)
    else:
        _, groups = np.unique(_held_out(interactions, kind)[0], return_inverse=True)
        if kind is SplitKind.PUBLISHED:
            part = _published(interactions, groups, partition, rng)
        else:
            part = _fill(groups, partition, rng, test_share=TEST_SHARE)[groups]
    part[partition.owner == NOBODY] = Part.UNUSED
    split = Split(kind=kind, part=part)
    _require_all_parts(split, partition)
    require_no_leak(split, interactions)
    return split


def _held_out(interactions: Interactions, kind: SplitKind) -> tuple[npt.NDArray[np.integer], ...]:
    """What no test row has in common with a row that is trained or validated on, each as (n_rows,) keys."""
    pairs = interactions.pairs
    match kind:
        case SplitKind.PUBLISHED | SplitKind.RANDOM:
            return (interactions.pair_keys(),)
        case SplitKind.COLD_TARGET:
            return (pairs.target,)
        case SplitKind.COLD_COMPOUND:
            return (pairs.compound,)
        case SplitKind.COLD_SCAFFOLD:
            return (scaffold_groups(interactions.smiles)[pairs.compound],)
        case SplitKind.COLD_BOTH:
            return (pairs.target, pairs.compound)


def _cold_both(interactions: Interactions, partition: Partition, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    by_target, by_compound = (
        _fill(groups, partition, rng, test_share=TEST_SHARE)[groups]
        for groups in (np.unique(keys, return_inverse=True)[1] for keys in _held_out(interactions, SplitKind.COLD_BOTH))
    )
    part = np.where(by_compound == Part.TEST, Part.UNUSED, by_target).astype(np.int8)
    part[by_target == Part.TEST] = np.where(by_compound == Part.TEST, Part.TEST, Part.UNUSED)[by_target == Part.TEST]
    return part


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
    sizes = np.bincount(groups[partition.owner != NOBODY], minlength=n_groups)
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


def _require_all_parts(split: Split, partition: Partition) -> None:
    for part in (Part.TRAIN, Part.VALID, Part.TEST):
        rows = np.bincount(partition.owner[split.part == part], minlength=partition.n_partners)
        if (rows == 0).any():
            name = partition.names[int(rows.argmin())]
            raise PartitionError(
                f"{name} is left with no {part.name.lower()} row by the split {split.kind}; "
                f"use fewer partners, another partition or {_ADVICE[split.kind]}"
            )


_ADVICE = {
    SplitKind.PUBLISHED: "the split random",
    SplitKind.RANDOM: "more rows",
    SplitKind.COLD_TARGET: "the split random or cold-compound",
    SplitKind.COLD_COMPOUND: "the split random or cold-target",
    SplitKind.COLD_SCAFFOLD: "the split cold-compound",
    SplitKind.COLD_BOTH: "the split cold-target or cold-compound",
}


def require_no_leak(split: Split, interactions: Interactions) -> None:
    """Prove that no test row's pair is trained or validated on by anybody, nor what its protocol holds out.

    A pair is a structure and a sequence. `cold-target` holds out the target, `cold-compound` the compound,
    `cold-scaffold` the scaffold, `cold-both` target and compound.

    Raises:
        PartitionError: One is.
    """
    tested = split.part == Part.TEST
    seen = (split.part == Part.TRAIN) | (split.part == Part.VALID)
    for keys in (interactions.pair_keys(), *_held_out(interactions, split.kind)):
        leaked = seen & np.isin(keys, keys[tested])
        if leaked.any():
            raise PartitionError(
                f"{int(leaked.sum())} training or validation rows have in common with test rows what the split "
                f"{split.kind} holds out; the first is row {int(leaked.argmax())} (counted from 0)"
            )
