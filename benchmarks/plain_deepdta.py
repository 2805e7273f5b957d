"""The plain PyTorch formulation of DeepDTA, on expanded batches; the reference.

Written from the description of Ozturk et al. 2018; kernels as in DeepPurpose's setting of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainDeepDta(nn.Module):
    """A row of SMILES tokens and one of residue tokens per pair, three convolutions each, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_xd = nn.Embedding(66, 128)
        self.conv_xd_1 = nn.Conv1d(128, 32, 4)
        self.conv_xd_2 = nn.Conv1d(32, 64, 6)
        self.conv_xd_3 = nn.Conv1d(64, 96, 8)
        self.embedding_xt = nn.Embedding(26, 128)
        self.conv_xt_1 = nn.Conv1d(128, 32, 4)
        self.conv_xt_2 = nn.Conv1d(32, 64, 8)
        self.conv_xt_3 = nn.Conv1d(64, 96, 12)
        self.fc1 = nn.Linear(192, 1024)
        self.fc2 = nn.Linear(1024, 1024)
        self.fc3 = nn.Linear(1024, 512)
        self.out = nn.Linear(512, 1)

    def forward(self, smiles_tokens: Tensor, tokens: Tensor) -> Tensor:
        """(n_rows,) from (n_rows, 100) and (n_rows, 1000) int64 tokens."""
        x = self.embedding_xd(smiles_tokens).transpose(1, 2)
        for conv in (self.conv_xd_1, self.conv_xd_2, self.conv_xd_3):
            x = F.relu(conv(x))
        xt = self.embedding_xt(tokens).transpose(1, 2)
        for conv in (self.conv_xt_1, self.conv_xt_2, self.conv_xt_3):
            xt = F.relu(conv(xt))
        hidden = torch.cat((x.amax(dim=2), xt.amax(dim=2)), 1)
        hidden = F.dropout(F.relu(self.fc1(hidden)), p=0.1, training=self.training)
        hidden = F.dropout(F.relu(self.fc2(hidden)), p=0.1, training=self.training)
        predicted: Tensor = self.out(F.relu(self.fc3(hidden))).squeeze(1)
        return predicted
