"""Concordant pairs of weighted rows, exactly, for many weightings at once."""

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.evaluate.metrics import tie_free_order

Weights = npt.NDArray[np.float64]  # (n_rows, width) how often each row counts, whole numbers
Rows = npt.NDArray[np.intp]

_LEAF = 64  # rows of the small matrices
_FAN_OUT = 32  # children of a node, at most; with 32 columns OpenBLAS then starts no threads, which cost more


class TieRuns:
    """Runs of more than one row that are equal in every key, found in an order that puts them together."""

    def __init__(self, order: Rows, *keys: Vector) -> None:
        """Take (n_rows,) an order of the rows and one or more (n_rows,) keys."""
        same = np.ones(max(order.size - 1, 0), dtype=np.bool_)
        for key in keys:
            same &= key[order][1:] == key[order][:-1]
        starts = np.flatnonzero(np.concatenate([[True], ~same])[: order.size])
        sizes = np.diff(np.append(starts, order.size))
        self._tied = order[np.repeat(sizes > 1, sizes)]
        self._single = order[np.repeat(sizes == 1, sizes)]
        self._starts = np.cumsum(np.append(0, sizes[sizes > 1]))[:-1]

    def sum_of_squares(self, weights: Weights) -> Vector:
        """(width,) sum over all runs, those of one row too, of the squared weight of the run."""
        total: Vector = np.einsum("nr,nr->r", weights[self._single], weights[self._single])
        if self._starts.size:
            runs = np.add.reduceat(weights[self._tied], self._starts, axis=0)
            total += np.einsum("nr,nr->r", runs, runs)
        return total


class PairOrder:
    """The order of rows by measured and by predicted value, reused for every weighting.

    With weights w (how often a row was drawn), the pairs that count are
    sum_ij w_i w_j [y_i > y_j] ([f_i > f_j] + [f_i = f_j] / 2). Ties cost one weighted sum per run of equal
    values; what is left are pairs that strictly ascend in both orders (`tie_free_order`). Those are counted
    level by level: a node is a range of places in the order by f, its rows stand in the order by y, and its
    children are equal parts of its range; each pair is counted in the smallest node that holds both. All
    sums are of whole numbers below 2^53, so every count is exact. O(n log n) for each column of weights.
    """

    def __init__(self, measured: Vector, predicted: Vector) -> None:
        """Take (n_rows,) measured and predicted values, at least one row."""
        by_y, position = tie_free_order(measured, predicted)
        by_f = by_y[position]
        self._f_ties = TieRuns(by_f, predicted)
        self._both_ties = TieRuns(by_y, measured, predicted)
        rank_f = np.empty(by_y.size, dtype=np.int64)
        rank_f[by_f] = np.arange(by_y.size)
        self._levels = [_Level(by_y, rank_f, 1, _LEAF)]
        n_leaves = -(-by_y.size // _LEAF)
        depth = 1
        while _FAN_OUT**depth < n_leaves:
            depth += 1
        fan_out = max(2, int(np.ceil(n_leaves ** (1 / depth))))
        while self._levels[-1].node_size < by_y.size:
            child = self._levels[-1].node_size
            self._levels.append(_Level(by_y, rank_f, child, fan_out))

    def concordant(self, weights: Weights) -> Vector:
        """(width,) concordant pairs plus half the pairs tied in the prediction only."""
        ties = self._f_ties.sum_of_squares(weights) - self._both_ties.sum_of_squares(weights)
        return 0.25 * ties + sum(level.ascending(weights) for level in self._levels)


class _Level:
    """The nodes of one size, each parted into children of one size."""

    def __init__(self, by_y: Rows, rank_f: npt.NDArray[np.int64], child_size: int, fan_out: int) -> None:
        """Take the rows by y, each row's place by f, the places of a child and the children of a node."""
        self.node_size = child_size * fan_out
        n_nodes = -(-by_y.size // self.node_size)
        self._order = by_y[np.argsort(rank_f[by_y] // self.node_size, kind="stable")]
        child = np.full(n_nodes * self.node_size, -1, dtype=np.int64)  # the fill ascends from nothing
        child[: by_y.size] = rank_f[self._order] // child_size % fan_out
        blocks = child.reshape(-1, _LEAF)
        later = np.tri(_LEAF, k=-1, dtype=np.bool_)
        masks = later & (blocks[:, :, None] > blocks[:, None, :])
        self._shape = (n_nodes, self.node_size // _LEAF, fan_out)
        if self.node_size > _LEAF:  # sums per child too, for pairs of different blocks of one node
            members = np.arange(fan_out)[:, None] == blocks[:, None, :]
            masks = np.concatenate([masks, members], axis=1)
        self._masks = masks.astype(np.float64)

    def ascending(self, weights: Weights) -> Vector:
        """(width,) weighted pairs that ascend by y, and by f from one child to a later one."""
        blocks = np.zeros((self._masks.shape[0], _LEAF, weights.shape[1]))
        blocks.reshape(-1, weights.shape[1])[: self._order.size] = weights[self._order]
        products = np.matmul(self._masks, blocks)
        total: Vector = np.einsum("kmr,kmr->r", blocks, products[:, :_LEAF])
        if self.node_size > _LEAF:
            sums = products[:, _LEAF:].reshape(*self._shape, weights.shape[1])
            before = sums[:, :-1, :-1].cumsum(axis=1).cumsum(axis=2)
            total += np.einsum("ncdr,ncdr->r", sums[:, 1:, 1:], before)
        return total
