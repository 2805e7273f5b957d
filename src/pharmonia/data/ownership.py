"""Who measured which row: the ways in which rows are shared out between partners.

Each function returns one owner per row; `pharmonia.bench.scenario` gives them names. A *group* is what rows have in
common: their target, their compound, its scaffold, its family. All of them are vectorised over rows.
"""

import re

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import PartitionError

Owners = npt.NDArray[np.int16]
NOBODY = -1  # owner of a row that no partner has
MASTER_SHARE = 0.5  # of all rows, held by the first partner where the others are weak
FARTHEST = 2.0  # where the Gaussian of a diffusion is read for the partner farthest from the owner


def iid(n_rows: int, n_partners: int, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: rows at random, in numbers that differ by at most one.

    Raises:
        PartitionError: More partners than rows.
    """
    _require_enough(n_rows, "rows", n_partners, f"use at most {n_rows}")
    owner = np.empty(n_rows, dtype=np.int16)
    owner[rng.permutation(n_rows)] = np.arange(n_rows) % n_partners
    return owner


def by_group(group: npt.NDArray[np.integer], things: str, n_partners: int, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: each group with all its rows to one partner.

    Groups in random order go each to the partner with the fewest rows so far, which packs equal shares of rows
    (Mittone et al. 2023, arXiv:2302.07684, section 4).

    Args:
        group: (n_rows,) group of each row, counted from 0.
        things: What groups are, such as "targets", for the message.
        n_partners: At least 1.
        rng: Order of the groups.

    Raises:
        PartitionError: More partners than groups.
    """
    rows = np.bincount(group)
    measured = np.flatnonzero(rows)
    advice = f"use at most {measured.size} partners or another partition"
    _require_enough(measured.size, things, n_partners, advice)
    owner_of_group = np.zeros(rows.size, dtype=np.int16)
    shares = np.zeros(n_partners, dtype=np.int64)
    for index in rng.permutation(measured):
        smallest = int(shares.argmin())
        owner_of_group[index] = smallest
        shares[smallest] += rows[index]
    owners: Owners = owner_of_group[group]
    return owners


def diffused(
    group: npt.NDArray[np.integer], things: str, n_partners: int, variance: float, rng: np.random.Generator
) -> Owners:
    """(n_rows,) int16: between `by_group` (variance to 0) and `iid` (variance to infinity).

    Each group has a home, dealt out by `by_group` with the same random numbers, and partner p gets the share
    w(d) / sum of all w of its rows, with w(d) = exp(-x(d)^2 / (2 variance)), x(d) = 2 d / floor(n_partners / 2),
    d the distance from p to the home around the circle of partners. For an odd number of partners this is the density
    of N(0, variance) at linspace(-2, 2, n_partners), shifted around the circle, as in Mittone et al. 2023
    (arXiv:2302.07684). For an even number that grid misses 0, so that two partners tie and a small variance divides
    0 by 0; here the home always stands at 0.

    Args:
        group: (n_rows,) group of each row, counted from 0.
        things: What groups are, such as "targets", for the message.
        n_partners: At least 1.
        variance: Above 0.
        rng: Homes, and which rows of a group go where.

    Raises:
        PartitionError: More partners than groups.
    """
    home = np.zeros(int(group.max()) + 1, dtype=np.int64)
    home[group] = by_group(group, things, n_partners, rng)
    weights = diffusion_weights(n_partners, variance)
    away = (np.arange(n_partners) - home[:, None]) % n_partners
    return _allot(group, weights[away], rng)


def diffusion_weights(n_partners: int, variance: float) -> Vector:
    """(n_partners,) float64 summing to 1: share of a group for the partner d steps further round the circle."""
    step = np.arange(n_partners)
    distance = np.minimum(step, n_partners - step)
    x = FARTHEST * distance / max(n_partners // 2, 1)
    weights = np.exp(-(x**2) / (2 * variance))
    shares: Vector = weights / weights.sum()
    return shares


def dirichlet(group: npt.NDArray[np.integer], n_partners: int, alpha: float, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: the rows of each group in shares drawn from Dirichlet(alpha, ..., alpha), anew for each group.

    Yurochkin et al. 2019 (arXiv:1905.12022, section 4.1), with groups in place of classes. A small alpha gives nearly
    each group to one partner, in unequal numbers of rows; a large one approaches `iid`.
    """
    return _allot(group, rng.dirichlet(np.full(n_partners, alpha), size=int(group.max()) + 1), rng)


def size_skewed(n_rows: int, n_partners: int, ratio: float, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: rows at random; the first partner has `ratio` times as many as the last.

    Partner p of n, counted from 0, gets rows in proportion to ratio^(-p / (n - 1)).

    Raises:
        PartitionError: The last partner would have no row.
    """
    shares = ratio ** (-np.arange(n_partners) / max(n_partners - 1, 1))
    until = np.rint(n_rows * np.cumsum(shares) / shares.sum()).astype(np.int64)
    counts = np.diff(until, prepend=0)
    if (counts == 0).any():
        raise PartitionError(
            f"{n_partners} partners of sizes 1 to {ratio:g} cannot share {n_rows} rows; use fewer partners or less skew"
        )
    owner = np.empty(n_rows, dtype=np.int16)
    owner[rng.permutation(n_rows)] = np.repeat(np.arange(n_partners), counts)
    return owner


def weak(n_rows: int, n_partners: int, share: float, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: the first partner has half of the rows, the others a share of the rest; nobody has what remains.

    After the weak clients of Mittone et al. 2023 (arXiv:2302.07684). All rows at random, the others' in numbers that
    differ by at most one. With the same random numbers, the first partner's rows are the same for every share, and
    the others hold together all that they hold for a smaller one.

    Args:
        n_rows: Rows to share out.
        n_partners: At least 2.
        share: Of the rows that the first partner does not have; above 0, at most 1.
        rng: Order of the rows.

    Raises:
        PartitionError: One partner, or too few rows for so many.
    """
    if n_partners < 2:
        raise PartitionError("a weak scenario needs a master and at least 1 other partner; use 2 partners or more")
    n_master = round(MASTER_SHARE * n_rows)
    n_others = round(share * (n_rows - n_master))
    advice = "use fewer partners or a larger share"
    _require_enough(min(n_others + 1, n_rows), "rows, one of them with the master,", n_partners, advice)
    owner = np.full(n_rows, NOBODY, dtype=np.int16)
    order = rng.permutation(n_rows)
    owner[order[:n_master]] = 0
    owner[order[n_master : n_master + n_others]] = 1 + np.arange(n_others) % (n_partners - 1)
    return owner


def _require_enough(n_there: int, things: str, n_partners: int, advice: str) -> None:
    if n_partners > n_there == 1:
        thing = re.sub(r"ies\b|s\b", lambda end: "y" if end[0] == "ies" else "", things, count=1)
        raise PartitionError(f"{n_partners} partners cannot share 1 {thing}; at least 2 are needed")
    if n_partners > n_there:
        raise PartitionError(f"{n_partners} partners cannot share {n_there} {things}; {advice}")


def _allot(group: npt.NDArray[np.integer], shares: Vector, rng: np.random.Generator) -> Owners:
    """(n_rows,) int16: the rows of each group in these shares, which rows at random.

    Systematic sampling: with one uniform U per group, n rows and cumulative shares C(p), partners 0 to p get
    ceil(n C(p) - U) rows. So each partner's number is n times its share rounded up or down, and that on average:
    no partner loses by rounding, however small the groups are.

    Args:
        group: (n_rows,) group of each row, counted from 0.
        shares: (n_groups, n_partners) float64, each row summing to 1.
        rng: Rounding, and the order of rows.
    """
    n_groups, n_partners = shares.shape
    rows = np.bincount(group, minlength=n_groups)
    until = np.ceil(rows[:, None] * np.cumsum(shares, axis=1) - rng.random((n_groups, 1))).astype(np.int64)
    until = np.clip(until, 0, rows[:, None])
    until[:, -1] = rows
    counts = np.diff(until, axis=1, prepend=0)
    order = np.lexsort((rng.permutation(group.size), group))
    owner = np.empty(group.size, dtype=np.int16)
    owner[order] = np.repeat(np.tile(np.arange(n_partners, dtype=np.int16), n_groups), counts.ravel())
    return owner
