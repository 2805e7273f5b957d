"""Sharing out the rows between partners: who measured what."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import PartitionError
from pharmonia.data.interactions import Interactions

Owners = npt.NDArray[np.int16]
MAX_PARTNERS = 1_000


class PartitionKind(StrEnum):
    """By what the rows are shared out."""

    IID = "iid"  # rows at random, in equal numbers
    TARGET = "target"  # each target with all its rows to one partner
    COMPOUND = "compound"  # each compound with all its rows to one partner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Which partner owns each row.

    Args:
        kind: By what the rows were shared out.
        n_partners: At least 1.
        owner: (n_rows,) int16, partner of each row, counted from 0.

    Raises:
        PartitionError: A partner owns no row.
    """

    kind: PartitionKind
    n_partners: int
    owner: Owners

    def __post_init__(self) -> None:
        rows = np.bincount(self.owner, minlength=self.n_partners)
        if rows.size != self.n_partners or (rows == 0).any():
            raise PartitionError(f"every one of the {self.n_partners} partners must own a row; use fewer partners")
        object.__setattr__(self, "owner", frozen_copy(self.owner))

    @property
    def names(self) -> tuple[str, ...]:
        """Partner 1, Partner 2, ..."""
        return partner_names(self.n_partners)


def partner_names(n_partners: int) -> tuple[str, ...]:
    """Display names of partners in a simulation."""
    return tuple(f"Partner {index + 1}" for index in range(n_partners))


def partition_rows(
    interactions: Interactions, kind: PartitionKind, n_partners: int, rng: np.random.Generator
) -> Partition:
    """Share out the rows between partners.

    By target and by compound, entities in random order go each to the partner with the fewest rows so far, which
    packs equal shares of rows (Mittone et al. 2023, arXiv:2302.07684, section 4).

    Raises:
        PartitionError: The number of partners is out of range, or there are more partners than entities.
    """
    if not 1 <= n_partners <= MAX_PARTNERS:
        raise PartitionError(f"the number of partners must be 1 to {MAX_PARTNERS}, got {n_partners}")
    match kind:
        case PartitionKind.IID:
            owner = _iid(len(interactions.pairs), n_partners, rng)
        case PartitionKind.TARGET:
            owner = _by_entity(interactions.pairs.target, interactions.n_targets, "target", n_partners, rng)
        case PartitionKind.COMPOUND:
            owner = _by_entity(interactions.pairs.compound, interactions.n_compounds, "compound", n_partners, rng)
    return Partition(kind=kind, n_partners=n_partners, owner=owner)


def _iid(n_rows: int, n_partners: int, rng: np.random.Generator) -> Owners:
    if n_partners > n_rows:
        raise PartitionError(f"{n_partners} partners cannot share {n_rows} rows; use at most {n_rows}")
    owner = np.empty(n_rows, dtype=np.int16)
    owner[rng.permutation(n_rows)] = np.arange(n_rows) % n_partners
    return owner


def _by_entity(
    entity: npt.NDArray[np.int32], n_entities: int, word: str, n_partners: int, rng: np.random.Generator
) -> Owners:
    rows = np.bincount(entity, minlength=n_entities)
    measured = np.flatnonzero(rows)
    if n_partners > measured.size:
        raise PartitionError(
            f"{n_partners} partners cannot share {measured.size} {word}s; use at most {measured.size} partners "
            "or partition iid"
        )
    owner_of_entity = np.zeros(n_entities, dtype=np.int16)
    shares = np.zeros(n_partners, dtype=np.int64)
    for index in rng.permutation(measured):
        smallest = int(shares.argmin())
        owner_of_entity[index] = smallest
        shares[smallest] += rows[index]
    return owner_of_entity[entity]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """What partners have in common.

    Args:
        n_shared_compounds: (n_partners, n_partners) int64; the diagonal counts a partner's own compounds.
        n_shared_targets: (n_partners, n_partners) int64, likewise.
    """

    n_shared_compounds: npt.NDArray[np.int64]
    n_shared_targets: npt.NDArray[np.int64]


def overlap(interactions: Interactions, partition: Partition) -> Overlap:
    """Compounds and targets that each two partners both measured."""
    pairs = interactions.pairs
    return Overlap(
        n_shared_compounds=_shared(partition, pairs.compound, interactions.n_compounds),
        n_shared_targets=_shared(partition, pairs.target, interactions.n_targets),
    )


def _shared(partition: Partition, entity: npt.NDArray[np.int32], n_entities: int) -> npt.NDArray[np.int64]:
    owned = np.zeros((partition.n_partners, n_entities), dtype=np.int64)
    owned[partition.owner, entity] = 1
    shared: npt.NDArray[np.int64] = owned @ owned.T
    return shared


def majority_owner(groups: npt.NDArray[np.int64], n_groups: int, partition: Partition) -> Owners:
    """(n_groups,) int16: the partner that owns most rows of each group; the first of equals."""
    counts = np.zeros((n_groups, partition.n_partners), dtype=np.int64)
    np.add.at(counts, (groups, partition.owner), 1)
    owners: Owners = counts.argmax(axis=1).astype(np.int16)
    return owners
