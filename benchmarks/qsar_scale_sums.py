"""What a federated step of the large network sends and costs: rows that partners have in common, and masks."""

from dataclasses import dataclass

import numpy as np

from figures import cpu_s
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.secagg.header import Layout, Tier
from pharmonia.secagg.sparse import MIN_COUNT
from secagg import Group, vector

N_PARTNERS = 10
BATCHES = (64, 400, 4000)  # compounds of a partner in a step; 400 of ten partners are a minibatch of 4,000
BYTES_A_VALUE, BYTES_A_COUNT = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRows:
    """Rows of the input layer in a step of ten partners, each with compounds of its own drawn at random.

    Args:
        batch: Compounds of each.
        n_touched: Rows that a partner's compounds touch, in the mean.
        n_summed: Rows that `MIN_COUNT` partners touch or more, and sparse rounds therefore sum.
    """

    batch: int
    n_touched: float
    n_summed: float

    def sparse_bytes(self, n_columns: int, width: int) -> int:
        """What a partner sends in a sparse round: counts of all rows, values of those summed, and the bias."""
        return round(BYTES_A_COUNT * n_columns + BYTES_A_VALUE * width * (self.n_summed + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCost:
    """CPU seconds of one partner among ten for one masked vector."""

    n_params: int
    mask_s: float  # while the partner trains
    add_s: float  # encoding the gradient and adding the masks


def shared_rows(columns: CsrMatrix, rng: np.random.Generator, n_steps: int = 3) -> list[SharedRows]:
    """For each size of minibatch."""
    found = []
    for batch in BATCHES:
        touched, summed = [], []
        for _ in range(n_steps):
            chosen = rng.permutation(columns.n_rows)[: N_PARTNERS * batch].reshape(N_PARTNERS, batch)
            counts = np.zeros(columns.n_columns, dtype=np.int64)
            for rows in chosen:
                one = np.unique(np.concatenate([columns.row(row) for row in rows.tolist()]))
                counts[one] += 1
                touched.append(one.size)
            summed.append(int((counts >= MIN_COUNT).sum()))
        found.append(SharedRows(batch=batch, n_touched=float(np.mean(touched)), n_summed=float(np.mean(summed))))
    return found


def mask_cost(n_params: int) -> MaskCost:
    """Of a vector of the trunk's length, without dropout recovery (tier A)."""
    layout = Layout(names=("trunk",), lengths=(n_params,))
    sessions, server = Group(N_PARTNERS, n_colluders=2, ring_degree=6).begin(layout, Tier.COMMIT_THEN_MASK)
    session, values = sessions["partner-04"], vector(n_params)
    prepared = []
    mask_s = cpu_s(lambda: prepared.append(session.prepare_mask(server.header)))
    add_s = cpu_s(lambda: session.masked_update(prepared.pop(), values, 7))
    return MaskCost(n_params=n_params, mask_s=mask_s, add_s=add_s)
