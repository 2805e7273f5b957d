"""Who measured what: the owner of each row, and what partners have in common."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import PartitionError
from pharmonia.data.interactions import Interactions
from pharmonia.data.ownership import NOBODY, Owners

MAX_PARTNERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Which partner owns each row.

    Args:
        n_partners: 1 to 1,000.
        owner: (n_rows,) int16, partner of each row, counted from 0; -1 (`NOBODY`) where no partner has it.

    Raises:
        PartitionError: A number is out of range, or a partner owns no row.
    """

    n_partners: int
    owner: Owners

    def __post_init__(self) -> None:
        require_partners(self.n_partners)
        if self.owner.min(initial=0) < NOBODY or self.owner.max(initial=0) >= self.n_partners:
            raise PartitionError(f"owners must be 0 to {self.n_partners - 1}, or {NOBODY} for nobody")
        rows = np.bincount(self.owner[self.owner != NOBODY], minlength=self.n_partners)
        if (rows == 0).any():
            raise PartitionError(
                f"every one of the {self.n_partners} partners must own a row, and {self.names[int(rows.argmin())]} "
                "owns none; use fewer partners or share out more evenly"
            )
        object.__setattr__(self, "owner", frozen_copy(self.owner))

    @property
    def names(self) -> tuple[str, ...]:
        """Partner 1, Partner 2, ..."""
        return partner_names(self.n_partners)


def partner_names(n_partners: int) -> tuple[str, ...]:
    """Display names of partners in a simulation."""
    return tuple(f"Partner {index + 1}" for index in range(n_partners))


def require_partners(n_partners: int) -> None:
    """Refuse a number of partners that is out of range.

    Raises:
        PartitionError: It is not 1 to 1,000.
    """
    if not 1 <= n_partners <= MAX_PARTNERS:
        raise PartitionError(f"the number of partners must be 1 to {MAX_PARTNERS}, got {n_partners}")


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
    has_owner = partition.owner != NOBODY
    owned[partition.owner[has_owner], entity[has_owner]] = 1
    shared: npt.NDArray[np.int64] = owned @ owned.T
    return shared


def majority_owner(groups: npt.NDArray[np.int64], n_groups: int, partition: Partition) -> Owners:
    """(n_groups,) int16: the partner that owns most rows of each group, the first of equals; -1 where nobody does."""
    counts = np.zeros((n_groups, partition.n_partners), dtype=np.int64)
    has_owner = partition.owner != NOBODY
    np.add.at(counts, (groups[has_owner], partition.owner[has_owner]), 1)
    owners: Owners = counts.argmax(axis=1).astype(np.int16)
    owners[counts.sum(axis=1) == 0] = NOBODY
    return owners
