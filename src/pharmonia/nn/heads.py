"""Heads of a multi-task network: scores of labelled pairs only, and their losses."""

import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import embedding_bag

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import UpdateError
from pharmonia.nn.dropout import dropout
from pharmonia.nn.heads_names import TaskKind
from pharmonia.nn.matmul import linear
from pharmonia.nn.sparse import check_indptr, row_places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelRows:
    """The labels of one head by compound, in CSR form, not copied.

    Args:
        indptr: (n_rows + 1,) int64, from 0 to the number of labels.
        column: (n_labels,) int32, the head's column.
        value: (n_labels,) float32: 0 or 1 in classification, else the measured value.
        censor: (n_labels,) int8: 0 as measured, +1 the true value is above, -1 it is below.
        weight: (n_labels,) float32, of the label in the loss; not negative.
        n_columns: Of the head.

    Raises:
        UpdateError: Arrays that do not belong together, or values that no loss takes.
    """

    indptr: npt.NDArray[np.int64]
    column: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    censor: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float32]
    n_columns: int

    def __post_init__(self) -> None:
        n_labels = self.column.size
        check_indptr(self.indptr, n_labels)
        if any(array.shape != (n_labels,) for array in (self.column, self.value, self.censor, self.weight)):
            raise UpdateError(f"expected {n_labels} values, censors and weights")
        if n_labels and not 0 <= self.column.min() <= self.column.max() < self.n_columns:
            raise UpdateError(f"a label is of a task outside the head's {self.n_columns}")
        if not np.isfinite(self.value).all() or not np.isfinite(self.weight).all() or (self.weight < 0).any():
            raise UpdateError("labels must be finite, and their weights finite and not negative")
        for name in ("indptr", "column", "value", "censor", "weight"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))

    def __len__(self) -> int:
        """Number of compounds."""
        return self.indptr.size - 1

    def take(self, rows: npt.NDArray[np.int64]) -> "LabelRows":
        """The labels of these compounds, in this order."""
        indptr, places = row_places(self.indptr, rows)
        return LabelRows(
            indptr=indptr,
            column=self.column[places],
            value=self.value[places],
            censor=self.censor[places],
            weight=self.weight[places],
            n_columns=self.n_columns,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """The pairs of compound and column that a head scores for a minibatch, both ways round; int32."""

    indptr: Tensor  # (n_rows + 1,)
    columns: Tensor  # (n_pairs,)
    column_ptr: Tensor  # (n_columns + 1,)
    rows_by_column: Tensor  # (n_pairs,)
    order: Tensor  # (n_pairs,) int64: pairs by column

    @classmethod
    def of(cls, labels: LabelRows) -> "PairBatch":
        """The pairs of these labels, in their order."""
        n_labels = labels.column.size
        pointers, columns = labels.indptr.astype(np.int32), np.array(labels.column)
        shape = (len(labels), labels.n_columns)
        by_column = sparse.csr_matrix((np.arange(n_labels, dtype=np.int32), columns, pointers), shape=shape).tocsc()
        return cls(
            torch.from_numpy(pointers),
            torch.from_numpy(columns),
            torch.from_numpy(by_column.indptr),
            torch.from_numpy(by_column.indices),
            torch.from_numpy(by_column.data.astype(np.int64)),
        )


def sampled_linear(hidden: Tensor, weight: Tensor, bias: Tensor, pairs: PairBatch) -> Tensor:
    """(n_pairs,) hidden[row] . weight[column] + bias[column], for these pairs and no others.

    Args:
        hidden: (n_rows, width).
        weight: (n_columns, width).
        bias: (n_columns,).
        pairs: Of rows and columns.
    """
    result: Tensor = _SampledLinear.apply(hidden, weight, bias, pairs)  # type: ignore[no-untyped-call]
    return result


class _SampledLinear(torch.autograd.Function):
    """A sampled product forward; backward, two sums of rows weighted by the pairs' gradients."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, pairs: PairBatch) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.pairs = pairs
        if not len(pairs.columns):
            return hidden.new_zeros(0)
        wanted = _pattern(pairs, hidden, len(weight))
        scores: Tensor = torch.sparse.sampled_addmm(wanted, hidden, weight.t(), beta=0.0).values()
        return scores + bias[pairs.columns.long()]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        hidden, weight = ctx.saved_tensors
        pairs, grad = ctx.pairs, grads[0].contiguous()
        for_hidden, for_weight, for_bias, _ = ctx.needs_input_grad
        if not len(grad):
            return torch.zeros_like(hidden), torch.zeros_like(weight), weight.new_zeros(len(weight)), None
        by_column = grad[pairs.order]
        return (
            _weighted_sums(weight, pairs.columns, pairs.indptr, grad) if for_hidden else None,
            _weighted_sums(hidden, pairs.rows_by_column, pairs.column_ptr, by_column) if for_weight else None,
            torch.bincount(pairs.columns, grad, len(weight)).to(grad.dtype) if for_bias else None,
            None,
        )


def _pattern(pairs: PairBatch, hidden: Tensor, n_columns: int) -> Tensor:
    """The pairs as a sparse matrix of zeros; PyTorch's word that such matrices are new is not for our users."""
    zeros = hidden.new_zeros(len(pairs.columns))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            pairs.indptr, pairs.columns, zeros, size=(len(hidden), n_columns), check_invariants=False
        )


def _weighted_sums(table: Tensor, indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    return embedding_bag(indices, table, indptr, mode="sum", per_sample_weights=weights, include_last_offset=True)


class DenseLinear(nn.Linear):
    """A linear layer by the faster matrix product, initialised as SparseChem does: Xavier, bias 0.1."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        nn.init.xavier_uniform_(self.weight, gain=nn.init.calculate_gain("relu"))
        nn.init.constant_(self.bias, 0.1)

    def forward(self, rows: Tensor) -> Tensor:
        """(n_rows, n_out)."""
        return linear(rows, self.weight, self.bias)


class TaskHead(nn.Module):
    """One column per task on top of the trunk's embedding.

    Activation (ReLU in classification, tanh in regression), dropout, then optional layers of the same, then columns.
    A regression head predicts in units of its own spread around its centre; `natural` gives the unit of the assay, so
    that nobody has to remember how the labels were normalised.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, kind: TaskKind, width: int, hidden: tuple[int, ...], n_tasks: int, dropout_rate: float) -> None:
        super().__init__()
        self.kind, self._dropout_rate = kind, dropout_rate
        sizes = (width, *hidden)
        self.layers = nn.ModuleList(DenseLinear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes))
        bound = sizes[-1] ** -0.5  # not of the number of tasks: a task starts the same whatever else a partner has
        self.weight = nn.Parameter(torch.empty(n_tasks, sizes[-1]).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_tasks))
        if kind is TaskKind.REGRESSION:
            self.register_buffer("centre", torch.zeros(n_tasks))
            self.register_buffer("spread", torch.ones(n_tasks))

    def forward(self, embedding: Tensor, pairs: PairBatch) -> Tensor:
        """(n_pairs,) logits, or values in units of the spread around the centre."""
        return sampled_linear(self._hidden(embedding), self.weight, self.bias, pairs)

    def table(self, embedding: Tensor) -> Tensor:
        """(n_rows, n_tasks) of the same for every task: for prediction, where every task is asked for."""
        return linear(self._hidden(embedding), self.weight, self.bias)

    def _hidden(self, embedding: Tensor) -> Tensor:
        rows = self._active(embedding)
        for layer in self.layers:
            rows = self._active(layer(rows))
        return rows

    def _active(self, rows: Tensor) -> Tensor:
        rows = rows.relu() if self.kind is TaskKind.CLASSIFICATION else rows.tanh()
        return dropout(rows, self._dropout_rate, training=self.training) if self._dropout_rate else rows

    def natural(self, raw: Tensor, columns: Tensor | None = None) -> Tensor:
        """Probabilities, or values in the unit of the assay.

        Args:
            raw: Of `forward` with the pairs' columns, or of `table` without.
            columns: (n_pairs,) of the pairs.
        """
        if self.kind is TaskKind.CLASSIFICATION:
            return raw.sigmoid()
        if columns is None:
            return raw * self.spread + self.centre
        return raw * self.spread[columns.long()] + self.centre[columns.long()]

    def losses(self, raw: Tensor, pairs: PairBatch, value: Tensor, censor: Tensor) -> Tensor:
        """(n_pairs,) of each label, without its weight.

        Classification: cross entropy in nats. Regression: squared error in units of the spread; zero where the
        prediction lies on the side of the measured value on which the true value is known to lie.

        Args:
            raw: Of `forward`.
            pairs: The same.
            value: (n_pairs,) 0 or 1, or measured values in the unit of the assay.
            censor: (n_pairs,) as in `LabelRows`.
        """
        if self.kind is TaskKind.CLASSIFICATION:
            return F.binary_cross_entropy_with_logits(raw, value, reduction="none")
        columns = pairs.columns.long()
        excess = raw - (value - self.centre[columns]) / self.spread[columns]
        return excess.masked_fill(excess * censor > 0, 0.0).square()
