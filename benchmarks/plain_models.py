"""The plain formulation of every network, and the batches it reads."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.nn.choices import Model, Norm
from plain_deepdta import PlainDeepDta
from plain_graphdta import (
    PlainGat,
    PlainGatGcn,
    PlainGcn,
    PlainGin,
    PlainLigandOnly,
    PlainTargetOnly,
    expand,
    graph_list,
)


def plain_model(model: Model, norm: Norm) -> nn.Module:
    """The plain formulation of a network."""
    plain: nn.Module
    match model:
        case Model.GIN:
            plain = PlainGin(norm)
        case Model.GCN:
            plain = PlainGcn()
        case Model.GAT:
            plain = PlainGat()
        case Model.GAT_GCN:
            plain = PlainGatGcn()
        case Model.DEEPDTA:
            plain = PlainDeepDta()
        case Model.LIGAND_ONLY:
            plain = PlainLigandOnly(norm)
        case Model.TARGET_ONLY:
            plain = PlainTargetOnly()
    return plain


class PlainEntities:
    """What the plain formulation of a network keeps of each compound and target, expanded per batch."""

    def __init__(
        self,
        model: Model,
        graphs: MolGraphs,
        tokens: TokenMatrix,
        smiles_tokens: TokenMatrix,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._data = [] if model is Model.DEEPDTA else graph_list(graphs, dtype)
        self._tokens, self._smiles_tokens = tokens, smiles_tokens

    def batch(
        self, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]
    ) -> tuple[Batch | Tensor, Tensor]:
        """A copy of the compound and of the target for each pair."""
        if self._data:
            return expand(self._data, self._tokens, compound, target)
        as_rows = (self._smiles_tokens[compound], self._tokens[target])
        smiles_tokens, tokens = (torch.from_numpy(rows.astype(np.int64)) for rows in as_rows)
        return smiles_tokens, tokens
