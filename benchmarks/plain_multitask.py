"""A plain multi-task step: COO sparse product, every task's score for every compound, Adam with PyTorch's defaults.

The yardstick of `qsar_step.py` and, in float64, of the tests. Written from the function's description in
arXiv:2203.04676 and doi:10.1021/acs.jcim.3c00799.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pharmonia.nn.heads import LabelRows
from pharmonia.nn.heads_names import HeadName, TaskKind
from pharmonia.nn.multitask import MultitaskNetwork, Trunk
from pharmonia.nn.sparse import BitRows


def coo(bits: BitRows, dtype: torch.dtype) -> Tensor:
    """The compounds as a COO tensor."""
    lengths = torch.from_numpy(bits.indptr[1:] - bits.indptr[:-1])
    rows = torch.repeat_interleave(torch.arange(len(bits)), lengths)
    places = torch.stack((rows, torch.from_numpy(bits.indices.astype("int64"))))
    ones = torch.ones(len(rows), dtype=dtype)
    return torch.sparse_coo_tensor(places, ones, (len(bits), bits.n_columns), is_coalesced=True, check_invariants=False)


class PlainTrunk(nn.Module):
    """Sparse linear, then ReLU and linear for each further size."""

    def __init__(self, n_bits: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_bits, sizes[0]))
        self.bias = nn.Parameter(torch.empty(sizes[0]))
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, bits: Tensor) -> Tensor:
        """(n_rows, width)."""
        rows: Tensor = torch.sparse.mm(bits, self.weight) + self.bias
        for layer in self.linears:
            rows = layer(F.relu(rows))
        return rows


class PlainMultitask(nn.Module):
    """A trunk and one dense head per name; no dropout, which a test would have to share."""

    def __init__(
        self, n_bits: int, sizes: tuple[int, ...], hidden: tuple[int, ...], n_tasks: dict[HeadName, int]
    ) -> None:
        super().__init__()
        self.trunk = PlainTrunk(n_bits, sizes)
        widths = (sizes[-1], *hidden)
        self.heads = nn.ModuleDict(
            {
                name.value: nn.Sequential(
                    *(nn.Linear(a, b) for a, b in itertools.pairwise(widths)), nn.Linear(widths[-1], n)
                )
                for name, n in n_tasks.items()
            }
        )
        self.scales = {name: (torch.zeros(n), torch.ones(n)) for name, n in n_tasks.items()}

    def table(self, embedding: Tensor, name: HeadName) -> Tensor:
        """(n_rows, n_tasks) of a head."""
        rows = embedding
        head = self.heads[name.value]
        if not isinstance(head, nn.Sequential):
            raise TypeError(f"{name} has no layers")
        for layer in head:
            rows = layer(F.relu(rows) if name.kind is TaskKind.CLASSIFICATION else torch.tanh(rows))
        return rows

    def loss(self, bits: BitRows, labels: dict[HeadName, LabelRows]) -> Tensor:
        """Sum over all labels of weight times loss; every task of every compound is scored for it."""
        embedding = self.trunk(coo(bits, self.trunk.weight.dtype))
        total = torch.zeros((), dtype=self.trunk.weight.dtype)
        for name, part in labels.items():
            lengths = torch.from_numpy(part.indptr[1:] - part.indptr[:-1])
            rows = torch.repeat_interleave(torch.arange(len(part)), lengths)
            columns = torch.from_numpy(part.column.astype("int64"))
            score: Tensor = self.table(embedding, name)[rows, columns]
            value, weight = (torch.tensor(array, dtype=score.dtype) for array in (part.value, part.weight))
            if name.kind is TaskKind.CLASSIFICATION:
                losses = F.binary_cross_entropy_with_logits(score, value, reduction="none")
            else:
                centre, spread = (scale.to(score.dtype)[columns] for scale in self.scales[name])
                excess = score - (value - centre) / spread
                censor = torch.tensor(part.censor)
                satisfied = ((censor > 0) & (excess > 0)) | ((censor < 0) & (excess < 0))
                losses = torch.where(satisfied, 0.0, excess**2)
            total = total + (losses * weight).sum()
        return total


def copy_weights(ours: MultitaskNetwork, plain: PlainMultitask) -> None:
    """Give the plain network our weights."""
    trunk = ours.trunk
    with torch.no_grad():
        plain.trunk.weight.copy_(trunk.input.weight)
        plain.trunk.bias.copy_(trunk.input.bias)
        _copy_state(trunk.middle, plain.trunk.linears)
        for name, sequence in plain.heads.items():
            head = ours.head(HeadName(name))
            if not isinstance(sequence, nn.Sequential):
                raise TypeError(f"{name} has no layers")
            *inner, last = sequence
            _copy_state(head.layers, nn.ModuleList(inner))
            last.load_state_dict({"weight": head.weight, "bias": head.bias})
            if head.kind is TaskKind.REGRESSION:
                plain.scales[HeadName(name)] = (head.centre.clone(), head.spread.clone())


def _copy_state(ours: nn.ModuleList, plain: nn.ModuleList) -> None:
    plain.load_state_dict(ours.state_dict())


def plain_trunk_of(ours: Trunk) -> PlainTrunk:
    """A plain trunk with our weights."""
    shape = ours.input.weight.shape
    sizes = (int(shape[1]), *(int(layer.bias.shape[0]) for layer in ours.middle if isinstance(layer, nn.Linear)))
    plain = PlainTrunk(int(shape[0]), sizes).to(ours.input.weight.dtype)
    with torch.no_grad():
        plain.weight.copy_(ours.input.weight)
        plain.bias.copy_(ours.input.bias)
        _copy_state(ours.middle, plain.linears)
    return plain
