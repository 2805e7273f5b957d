"""The plain PyTorch Geometric formulation of GraphDTA's GIN network, on expanded batches; the reference."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GINConv, global_add_pool

from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix


class PlainGin(nn.Module):
    """One graph and one token row per pair, as the published network has it."""

    def __init__(self, norm: str, dropout: Callable[[Tensor], Tensor] | None = None) -> None:
        """Norm "batch" or "layer"; dropout: what to use for F.dropout, so that tests can share masks."""
        super().__init__()
        self._dropout = dropout or (lambda rows: F.dropout(rows, p=0.2, training=self.training))
        for layer in range(1, 6):
            mlp = nn.Sequential(nn.Linear(78 if layer == 1 else 32, 32), nn.ReLU(), nn.Linear(32, 32))
            self.add_module(f"conv{layer}", GINConv(mlp))
            self.add_module(f"bn{layer}", nn.BatchNorm1d(32) if norm == "batch" else nn.LayerNorm(32))
        self.fc1_xd = nn.Linear(32, 128)
        self.embedding_xt = nn.Embedding(26, 128)
        self.conv_xt_1 = nn.Conv1d(1000, 32, 8)
        self.fc1_xt = nn.Linear(32 * 121, 128)
        self.fc1 = nn.Linear(256, 1024)
        self.fc2 = nn.Linear(1024, 256)
        self.out = nn.Linear(256, 1)

    def forward(self, graphs: Batch, tokens: Tensor) -> Tensor:
        """(n_rows,) from a batch of n_rows graphs and (n_rows, 1000) tokens."""
        x = graphs.x
        for layer in range(1, 6):
            x = F.relu(self.get_submodule(f"conv{layer}")(x, graphs.edge_index))
            x = self.get_submodule(f"bn{layer}")(x)
        x = F.relu(self.fc1_xd(global_add_pool(x, graphs.batch)))
        x = self._dropout(x)
        xt = self.conv_xt_1(self.embedding_xt(tokens)).view(-1, 32 * 121)
        xc = torch.cat((x, self.fc1_xt(xt)), 1)
        xc = self._dropout(F.relu(self.fc1(xc)))
        xc = self._dropout(F.relu(self.fc2(xc)))
        predicted: Tensor = self.out(xc).squeeze(1)
        return predicted


def graph_list(graphs: MolGraphs, dtype: torch.dtype = torch.float32) -> list[Data]:
    """One `Data` object per unique compound."""
    result = []
    for compound in range(graphs.n_compounds):
        one = graphs.take(np.array([compound]))
        source = np.repeat(np.arange(one.n_atoms), np.diff(one.neighbour_offsets))
        edges = torch.from_numpy(np.stack((source, one.neighbours)).astype(np.int64))
        x = torch.from_numpy(one.features[one.atom_type]).to(dtype)
        result.append(Data(x=x, edge_index=edges))
    return result


def expand(
    data: list[Data], tokens: TokenMatrix, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]
) -> tuple[Batch, Tensor]:
    """The expanded batch of the pairs: a copy of the graph and of the token row for each."""
    batch = Batch.from_data_list([data[index] for index in compound])
    return batch, torch.from_numpy(tokens[target].astype(np.int64))
