"""The plain PyTorch Geometric formulations of GraphDTA's networks, on expanded batches; the references.

Written from the description of Nguyen et al. 2021 and the published layers' names and sizes.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, global_add_pool, global_max_pool, global_mean_pool

from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix


class PlainNetwork(nn.Module):
    """One graph and one token row per pair: protein convolution with positions as channels, and a head."""

    def __init__(self, n_hidden: int) -> None:
        """The width of the head's second hidden layer."""
        super().__init__()
        self.embedding_xt = nn.Embedding(26, 128)
        self.conv_xt_1 = nn.Conv1d(1000, 32, 8)
        self.fc1_xt = nn.Linear(32 * 121, 128)
        self.fc1 = nn.Linear(256, 1024)
        self.fc2 = nn.Linear(1024, n_hidden)
        self.out = nn.Linear(n_hidden, 1)

    def forward(self, graphs: Batch, tokens: Tensor) -> Tensor:
        """(n_rows,) from a batch of n_rows graphs and (n_rows, 1000) tokens."""
        return self.head(torch.cat((self.compounds(graphs), self.targets(tokens)), 1))

    def compounds(self, graphs: Batch) -> Tensor:
        """(n_rows, 128)."""
        raise NotImplementedError

    def targets(self, tokens: Tensor) -> Tensor:
        """(n_rows, 128)."""
        convolved = self.conv_xt_1(self.embedding_xt(tokens)).view(-1, 32 * 121)
        encoded: Tensor = self.fc1_xt(convolved)
        return encoded

    def head(self, both: Tensor) -> Tensor:
        """(n_rows,)."""
        hidden = self.drop(F.relu(self.fc1(both)))
        hidden = self.drop(F.relu(self.fc2(hidden)))
        predicted: Tensor = self.out(hidden).squeeze(1)
        return predicted

    def drop(self, rows: Tensor) -> Tensor:
        """Dropout at GraphDTA's rate."""
        return F.dropout(rows, p=0.2, training=self.training)


class PlainGin(PlainNetwork):
    """GINConvNet, with its BatchNorm or LayerNorm in its place."""

    def __init__(self, norm: str) -> None:
        """Norm "batch" or "layer"."""
        super().__init__(256)
        for layer in range(1, 6):
            mlp = nn.Sequential(nn.Linear(78 if layer == 1 else 32, 32), nn.ReLU(), nn.Linear(32, 32))
            self.add_module(f"conv{layer}", GINConv(mlp))
            self.add_module(f"bn{layer}", nn.BatchNorm1d(32) if norm == "batch" else nn.LayerNorm(32))
        self.fc1_xd = nn.Linear(32, 128)

    def compounds(self, graphs: Batch) -> Tensor:
        """(n_rows, 128)."""
        x = graphs.x
        for layer in range(1, 6):
            x = F.relu(self.get_submodule(f"conv{layer}")(x, graphs.edge_index))
            x = self.get_submodule(f"bn{layer}")(x)
        return self.drop(F.relu(self.fc1_xd(global_add_pool(x, graphs.batch))))


class PlainLigandOnly(PlainGin):
    """GINConvNet whose head sees the compound alone."""

    def __init__(self, norm: str) -> None:
        """Norm "batch" or "layer"."""
        super().__init__(norm)
        del self.embedding_xt, self.conv_xt_1, self.fc1_xt
        self.fc1 = nn.Linear(128, 1024)

    def forward(self, graphs: Batch, tokens: Tensor) -> Tensor:  # noqa: ARG002
        """(n_rows,)."""
        return self.head(self.compounds(graphs))


class PlainTargetOnly(PlainNetwork):
    """GINConvNet whose head sees the target alone."""

    def __init__(self) -> None:
        super().__init__(256)
        self.fc1 = nn.Linear(128, 1024)

    def forward(self, graphs: Batch, tokens: Tensor) -> Tensor:  # noqa: ARG002
        """(n_rows,)."""
        return self.head(self.targets(tokens))


class PlainGcn(PlainNetwork):
    """GCNNet."""

    def __init__(self) -> None:
        super().__init__(512)
        self.conv1 = GCNConv(78, 78)
        self.conv2 = GCNConv(78, 156)
        self.conv3 = GCNConv(156, 312)
        self.fc_g1 = nn.Linear(312, 1024)
        self.fc_g2 = nn.Linear(1024, 128)

    def compounds(self, graphs: Batch) -> Tensor:
        """(n_rows, 128)."""
        x = graphs.x
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x, graphs.edge_index))
        x = self.drop(F.relu(self.fc_g1(global_max_pool(x, graphs.batch))))
        return self.drop(self.fc_g2(x))


class PlainGat(PlainNetwork):
    """GATNet."""

    def __init__(self) -> None:
        super().__init__(256)
        del self.conv_xt_1, self.fc1_xt
        self.gcn1 = GATConv(78, 78, heads=10, dropout=0.2)
        self.gcn2 = GATConv(780, 128, dropout=0.2)
        self.fc_g1 = nn.Linear(128, 128)
        self.conv_xt1 = nn.Conv1d(1000, 32, 8)
        self.fc_xt1 = nn.Linear(32 * 121, 128)

    def compounds(self, graphs: Batch) -> Tensor:
        """(n_rows, 128)."""
        x = F.elu(self.gcn1(self.drop(graphs.x), graphs.edge_index))
        x = F.relu(self.gcn2(self.drop(x), graphs.edge_index))
        return F.relu(self.fc_g1(global_max_pool(x, graphs.batch)))

    def targets(self, tokens: Tensor) -> Tensor:
        """(n_rows, 128)."""
        convolved = F.relu(self.conv_xt1(self.embedding_xt(tokens))).view(-1, 32 * 121)
        encoded: Tensor = self.fc_xt1(convolved)
        return encoded


class PlainGatGcn(PlainNetwork):
    """GAT_GCN."""

    def __init__(self) -> None:
        super().__init__(512)
        self.conv1 = GATConv(78, 78, heads=10)
        self.conv2 = GCNConv(780, 780)
        self.fc_g1 = nn.Linear(1560, 1500)
        self.fc_g2 = nn.Linear(1500, 128)

    def compounds(self, graphs: Batch) -> Tensor:
        """(n_rows, 128)."""
        x = F.relu(self.conv1(graphs.x, graphs.edge_index))
        x = F.relu(self.conv2(x, graphs.edge_index))
        pooled = torch.cat((global_max_pool(x, graphs.batch), global_mean_pool(x, graphs.batch)), 1)
        encoded: Tensor = self.fc_g2(self.drop(F.relu(self.fc_g1(pooled))))
        return encoded


def graph_list(graphs: MolGraphs, dtype: torch.dtype = torch.float32) -> list[Data]:
    """One `Data` object per unique compound; its edges by the atom they lead to, so that masks can be compared."""
    result = []
    for compound in range(graphs.n_compounds):
        one = graphs.take(np.array([compound]))
        centre = np.repeat(np.arange(one.n_atoms), np.diff(one.neighbour_offsets))
        edges = torch.from_numpy(np.stack((one.neighbours, centre)).astype(np.int64))
        x = torch.from_numpy(one.features[one.atom_type]).to(dtype)
        result.append(Data(x=x, edge_index=edges))
    return result


def expand(
    data: list[Data], tokens: TokenMatrix, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]
) -> tuple[Batch, Tensor]:
    """The expanded batch of the pairs: a copy of the graph and of the token row for each."""
    batch = Batch.from_data_list([data[index] for index in compound])
    return batch, torch.from_numpy(tokens[target].astype(np.int64))
