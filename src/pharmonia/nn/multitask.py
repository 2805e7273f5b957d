"""A network of many tasks: a trunk on sparse bits that partners share, and heads that they do not.

The architecture is that of SparseChem (Arany et al. 2022, arXiv:2203.04676; Heyndrickx et al. 2024,
doi:10.1021/acs.jcim.3c00799): only its function, not its code.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pharmonia.base.errors import UpdateError
from pharmonia.nn.dropout import dropout
from pharmonia.nn.heads import DenseLinear, LabelRows, PairBatch, TaskHead
from pharmonia.nn.heads_names import HeadName
from pharmonia.nn.sparse import BitBatch, BitRows, SparseLinear

FloatTable = npt.NDArray[np.float32]
CHUNK_ROWS = 4096


class Trunk(nn.Module):
    """Input and middle layers: sparse linear, then ReLU, dropout and linear for each further size.

    Its output is the last linear layer's, without activation: the embedding.
    """

    def __init__(self, n_bits: int, sizes: tuple[int, ...], dropout_rate: float) -> None:
        """Sizes: widths of the layers, the last one the embedding's; at least one.

        Raises:
            UpdateError: No layer.
        """
        super().__init__()
        if not sizes:
            raise UpdateError("a trunk needs at least one layer")
        self.input = SparseLinear(n_bits, sizes[0])
        self.middle = nn.ModuleList(DenseLinear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes))
        self.width, self._dropout_rate = sizes[-1], dropout_rate

    def forward(self, bits: BitBatch) -> Tensor:
        """(n_rows, width) embeddings."""
        rows: Tensor = self.input(bits)
        for layer in self.middle:
            rows = rows.relu()
            if self._dropout_rate:
                rows = dropout(rows, self._dropout_rate, training=self.training)
            rows = layer(rows)
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class HeadBatch:
    """The labels of a minibatch for one head."""

    pairs: PairBatch
    value: Tensor  # (n_pairs,) float, as are the others
    censor: Tensor
    weight: Tensor

    @classmethod
    def of(cls, labels: LabelRows, dtype: torch.dtype) -> "HeadBatch":
        """These labels as tensors of a dtype."""
        value, censor, weight = (
            torch.from_numpy(np.array(array)).to(dtype) for array in (labels.value, labels.censor, labels.weight)
        )
        return cls(PairBatch.of(labels), value, censor, weight)


@dataclass(frozen=True, slots=True, eq=False)
class MultitaskBatch:
    """A minibatch: compounds, and their labels by head."""

    bits: BitBatch
    heads: Mapping[HeadName, HeadBatch]

    @classmethod
    def of(cls, bits: BitRows, labels: Mapping[HeadName, LabelRows], dtype: torch.dtype) -> "MultitaskBatch":
        """The batch of these compounds and labels, in the network's dtype."""
        return cls(BitBatch.of(bits), {name: HeadBatch.of(rows, dtype) for name, rows in labels.items()})


class MultitaskNetwork(nn.Module):
    """Heads on a trunk, or on a trunk of the partner's own beside a frozen one that was trained with others."""

    def __init__(self, trunk: Trunk, heads: Mapping[HeadName, TaskHead], frozen: Trunk | None = None) -> None:
        """Frozen: not trained any further; its embedding comes first."""
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name.value: head for name, head in heads.items()})
        self.frozen = None if frozen is None else frozen.requires_grad_(requires_grad=False)

    def head(self, name: HeadName) -> TaskHead:
        """One head.

        Raises:
            UpdateError: This network has none of that name.
        """
        head = dict(self.heads.items()).get(name.value)
        if not isinstance(head, TaskHead):
            raise UpdateError(f"this network has no {name.value} head")
        return head

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.trunk.input.weight.dtype

    @property
    def sparse_layers(self) -> tuple[SparseLinear, ...]:
        """The trained layers whose gradients come block by block."""
        return (self.trunk.input,)

    def train(self, mode: bool = True) -> "MultitaskNetwork":
        """PyTorch's, but a frozen trunk stays in evaluation."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def embedding(self, bits: BitBatch) -> Tensor:
        """(n_rows, width), of the frozen trunk first where there is one."""
        own: Tensor = self.trunk(bits)
        if self.frozen is None:
            return own
        with torch.no_grad():
            other = self.frozen(bits)
        return torch.cat((other, own), dim=1)

    def losses(self, batch: MultitaskBatch) -> dict[HeadName, Tensor]:
        """(n_pairs,) of each head's labels, without their weights."""
        embedding = self.embedding(batch.bits)
        found = {}
        for name, part in batch.heads.items():
            head = self.head(name)
            found[name] = head.losses(head(embedding, part.pairs), part.pairs, part.value, part.censor)
        return found

    @torch.no_grad()
    def predict_pairs(self, bits: BitRows, labels: Mapping[HeadName, LabelRows]) -> dict[HeadName, FloatTable]:
        """(n_labels,) per head: probabilities, or values in the unit of the assay, in the order of the labels."""
        self.eval()
        parts: dict[HeadName, list[FloatTable]] = {name: [np.empty(0, dtype=np.float32)] for name in labels}
        for rows in chunks(len(bits)):
            embedding = self.embedding(BitBatch.of(bits.take(rows)))
            for name, head_labels in labels.items():
                head, pairs = self.head(name), PairBatch.of(head_labels.take(rows))
                parts[name].append(head.natural(head(embedding, pairs), pairs.columns).float().numpy())
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    @torch.no_grad()
    def predict_table(self, bits: BitRows, name: HeadName) -> FloatTable:
        """(n_rows, n_tasks) of one head, every task of every compound; as `predict_pairs`."""
        self.eval()
        head = self.head(name)
        parts = [head.natural(head.table(self.embedding(BitBatch.of(bits.take(rows))))) for rows in chunks(len(bits))]
        return _stacked(parts, len(head.bias))

    @torch.no_grad()
    def embed(self, bits: BitRows) -> FloatTable:
        """(n_rows, width) embeddings of compounds, before any activation."""
        self.eval()
        parts = [self.embedding(BitBatch.of(bits.take(rows))) for rows in chunks(len(bits))]
        return _stacked(parts, self.trunk.width + (0 if self.frozen is None else self.frozen.width))


def chunks(n_rows: int) -> list[npt.NDArray[np.int64]]:
    """Row numbers in order, a few thousand at a time."""
    return [np.arange(start, min(start + CHUNK_ROWS, n_rows)) for start in range(0, n_rows, CHUNK_ROWS)]


def _stacked(parts: list[Tensor], width: int) -> FloatTable:
    table: FloatTable = torch.cat([torch.empty(0, width), *(part.float() for part in parts)]).numpy()
    return table
