"""A wide multi-task network that partners train together, one sum of gradients every step, in three ways of summing.

Bits of compounds -> hidden units -> one output per task. Sums are without masks here: the words that the masked sum
gives, bit for bit, as `secagg_sparse.py` checks on some steps of each run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pharmonia.base.arrays import Vector
from pharmonia.secagg.fixedpoint import WeightedSum, decode_sum, encode_onto, next_exponents
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.sparse import MIN_COUNT, Rows, RowUpdate, common_rows, sparse_layout
from pharmonia.secagg.streams import aligned_words

LEARNING_RATE, EPSILON = 0.01, 1e-8
FIRST_EXPONENTS = (20, 20, 20, 20)
MODEL = bytes(32)
Floats = npt.NDArray[np.float32]


class Arm(StrEnum):
    """How the gradients of a step are summed."""

    PLAIN = "dense plain"  # float32, every row that anybody touched
    SECURE = "dense secure"  # fixed point, every row; those that nobody touched are zero and left out here
    SPARSE = "sparse secure"  # fixed point, rows that MIN_COUNT partners touched; the rest is carried


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tasks:
    """Compounds with their bits and measured values.

    Args:
        bits: (n_compounds, n_bits) float32 CSR of ones.
        values: (n_compounds, n_tasks) float32, standardised per task; NaN where not measured.
    """

    bits: sparse.csr_array
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradient:
    """A partner's gradient: rows of the first layer, and everything behind it as one vector."""

    rows: RowUpdate
    rest: Floats


class Network:
    """Weights of a network of one hidden layer, changed in place."""

    def __init__(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        """Args: bits, hidden units and tasks; random weights."""
        n_bits, n_hidden, n_tasks = shape
        self.first = rng.standard_normal((n_bits, n_hidden), dtype=np.float32)
        self.first *= np.float32(0.05)
        heads = rng.standard_normal(n_hidden * n_tasks, dtype=np.float32) * np.float32(n_hidden**-0.5)
        self.rest = np.concatenate([np.zeros(n_hidden, np.float32), heads, np.zeros(n_tasks, np.float32)])
        self.lengths = (n_hidden, n_hidden * n_tasks, n_tasks)

    def predict(self, bits: sparse.csr_array) -> Floats:
        """(n, n_tasks) float32."""
        bias, heads, offset = self._parts()
        predicted: Floats = np.maximum(bits @ self.first + bias, 0) @ heads + offset
        return predicted

    def _parts(self) -> tuple[Floats, Floats, Floats]:
        n_hidden, n_heads, _ = self.lengths
        heads = self.rest[n_hidden : n_hidden + n_heads].reshape(n_hidden, -1)
        return self.rest[:n_hidden], heads, self.rest[n_hidden + n_heads :]

    def gradient(self, batch: Tasks) -> Gradient:
        """Of the mean over compounds of the mean over their measured tasks of the squared error."""
        bias, heads, offset = self._parts()
        hidden = np.maximum(batch.bits @ self.first + bias, 0)
        is_measured = np.isfinite(batch.values)
        weight = 2 / (np.maximum(is_measured.sum(axis=1, keepdims=True), 1) * is_measured.shape[0])
        error = hidden @ heads + offset - np.where(is_measured, batch.values, 0)
        d_out = (np.where(is_measured, error, 0) * weight).astype(np.float32)
        d_hidden = np.where(hidden > 0, d_out @ heads.T, np.float32(0))
        rows, column = np.unique(batch.bits.indices, return_inverse=True)
        narrow = sparse.csr_array((batch.bits.data, column, batch.bits.indptr), shape=(batch.bits.shape[0], rows.size))
        first = RowUpdate(
            n_rows=self.first.shape[0], rows=rows.astype(np.int64), values=np.asarray(narrow.T @ d_hidden)
        )
        rest = [d_hidden.sum(axis=0), (hidden.T @ d_out).reshape(-1), d_out.sum(axis=0)]
        return Gradient(rows=first, rest=np.concatenate(rest))


class Adagrad:
    """The server's optimiser; a row without a gradient is left alone (Duchi et al. 2011, JMLR 12:2121)."""

    def __init__(self, network: Network) -> None:
        """Start with no history."""
        self.network = network
        self._first, self._rest = np.zeros_like(network.first), np.zeros_like(network.rest)

    def step(self, rows: Rows, first: Floats, rest: Floats) -> None:
        """Take one step down the mean gradient.

        Args:
            rows: Of the first layer.
            first: (len(rows), n_hidden), their gradient.
            rest: Of everything else.
        """
        for start in range(0, rows.size, 64):  # a block stays in the cache
            block, slope = rows[start : start + 64], first[start : start + 64]
            history = self._first[block] + slope * slope
            self._first[block] = history
            self.network.first[block] -= LEARNING_RATE * slope / (np.sqrt(history) + EPSILON)
        self._rest += rest * rest
        self.network.rest -= LEARNING_RATE * rest / (np.sqrt(self._rest) + EPSILON)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summed:
    """One sum as its contributors and the server see it; what a check repeats under masks.

    Args:
        step: Counted from 0.
        touched: One bitmap of rows per partner, carried rows included.
        rows: That were summed.
        vectors: Each partner's (len(rows) * n_hidden + the rest,) float32.
        layout: Of these vectors.
        exponents: Scales.
        result: Without masks.
    """

    step: int
    touched: list[npt.NDArray[np.bool_]]
    rows: Rows
    vectors: list[Floats]
    layout: Layout
    exponents: tuple[int, ...]
    result: WeightedSum


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """Rows in one step: touched by anybody, summed, and carried on by a partner in the mean."""

    n_touched: int
    n_summed: int
    n_carried: float
    n_clipped: int


Check = Callable[[Summed], None]


def sum_encoded(vectors: Sequence[Floats], layout: Layout, exponents: tuple[int, ...]) -> WeightedSum:
    """The sum of all partners' vectors in fixed point, each of weight 1, without masks."""
    header = RoundHeader(
        session=bytes(32),
        round_index=0,
        tier=Tier.COMMIT_THEN_MASK,
        word_bytes=4,
        length=layout.length,
        degree=len(vectors) - 1,
        weight_bits=0,
        exponents=exponents,
        layout_digest=layout.digest,
        model_digest=MODEL,
        contributors=tuple(f"partner-{i:02d}" for i in range(len(vectors))),
    )
    words = aligned_words(header.n_words, header.dtype)
    words[:] = 0
    for vector in vectors:
        encode_onto(words, vector, layout, header, 1)
    return decode_sum(words, layout, header, header.contributors)


class Consortium:
    """Partners and a server in one arm, step by step."""

    def __init__(self, network: Network, arm: Arm, n_partners: int, check: Check) -> None:
        """Args: the network to train, how to sum, among how many, and who sees every secure sum."""
        self.network, self.arm, self._check = network, arm, check
        self._adagrad = Adagrad(network)
        self._exponents: tuple[int, ...] = FIRST_EXPONENTS
        n_rows, n_hidden = network.first.shape
        nothing = RowUpdate(n_rows=n_rows, rows=np.empty(0, np.int64), values=np.empty((0, n_hidden), np.float32))
        self._carried = [nothing] * n_partners
        self._n_steps = 0

    def step(self, batches: Sequence[Tasks]) -> StepCounts:
        """Every partner's gradient, their sum, and a step of the server."""
        gradients = [self.network.gradient(batch) for batch in batches]
        updates = [gradient.rows for gradient in gradients]
        n_touched = int(np.any([update.touched for update in updates], axis=0).sum())
        rests = [gradient.rest for gradient in gradients]
        n_clipped = 0
        if self.arm is Arm.PLAIN:
            rows, first, rest = _plain_sum(updates, rests)
        else:
            rows, first, rest, n_clipped = self._secure_sum(updates, rests)
        self._adagrad.step(rows, first / np.float32(len(batches)), rest / np.float32(len(batches)))
        self._n_steps += 1
        n_carried = float(np.mean([carried.rows.size for carried in self._carried]))
        return StepCounts(n_touched=n_touched, n_summed=rows.size, n_carried=n_carried, n_clipped=n_clipped)

    def _secure_sum(self, updates: list[RowUpdate], rests: list[Floats]) -> tuple[Rows, Floats, Floats, int]:
        if self.arm is Arm.SPARSE:
            updates = [update.plus(carried) for update, carried in zip(updates, self._carried, strict=True)]
        touched = [update.touched for update in updates]
        counts = np.sum(touched, axis=0).astype(np.uint16)
        rows = common_rows(counts, MIN_COUNT) if self.arm is Arm.SPARSE else np.flatnonzero(counts)
        parted = [update.release(rows) for update in updates]
        if self.arm is Arm.SPARSE:
            self._carried = [carried for _, carried in parted]
        vectors = [np.concatenate([released, rest]) for (released, _), rest in zip(parted, rests, strict=True)]
        n_hidden = self.network.first.shape[1]
        behind = Layout(names=("bias", "heads", "offset"), lengths=self.network.lengths)
        layout = sparse_layout("first", rows, n_hidden, behind)
        result = sum_encoded(vectors, layout, self._exponents)
        self._check(
            Summed(
                step=self._n_steps,
                touched=touched,
                rows=rows,
                vectors=vectors,
                layout=layout,
                exponents=self._exponents,
                result=result,
            )
        )
        self._exponents = next_exponents(result)
        n_first = rows.size * n_hidden
        first = result.values[:n_first].astype(np.float32).reshape(-1, n_hidden)
        return rows, first, result.values[n_first:].astype(np.float32), result.n_clipped


def _plain_sum(updates: Sequence[RowUpdate], rests: Sequence[Floats]) -> tuple[Rows, Floats, Floats]:
    rows = np.flatnonzero(np.any([update.touched for update in updates], axis=0))
    first = np.zeros((rows.size, updates[0].values.shape[1]), dtype=np.float32)
    for update in updates:
        first[np.searchsorted(rows, update.rows)] += update.values
    return rows, first, np.sum(rests, axis=0)


def normalised_rmse(measured: Floats, predicted: Floats, min_values: int) -> Vector:
    """(n_tasks,) float64 root mean square error over that of predicting 0, the mean of the standardised values.

    NaN for tasks with fewer than `min_values` measured values.
    """
    is_measured = np.isfinite(measured)
    truth = np.where(is_measured, measured, 0).astype(np.float64)
    error = np.where(is_measured, predicted - truth, 0)
    ratio = np.sqrt((error**2).sum(axis=0) / np.maximum((truth**2).sum(axis=0), np.finfo(np.float64).tiny))
    return np.where(is_measured.sum(axis=0) >= min_values, ratio, np.nan)
