"""What one may choose in a network; known without loading PyTorch."""

from enum import StrEnum


class Model(StrEnum):
    """Which network predicts the affinity of a pair."""

    GIN = "gin"  # GraphDTA's GINConvNet, Nguyen et al. 2021, doi:10.1093/bioinformatics/btaa921
    GCN = "gcn"  # its GCNNet
    GAT = "gat"  # its GATNet
    GAT_GCN = "gat-gcn"  # its GAT_GCN
    DEEPDTA = "deepdta"  # Ozturk et al. 2018, doi:10.1093/bioinformatics/bty593
    LIGAND_ONLY = "ligand-only"  # GIN without the target: what compounds alone tell
    TARGET_ONLY = "target-only"  # GIN without the compound: what targets alone tell


class Norm(StrEnum):
    """Which normalisation follows each graph layer."""

    BATCH = "batch"  # as GraphDTA
    LAYER = "layer"  # as FedDTI


NORMED_MODELS = frozenset({Model.GIN, Model.LIGAND_ONLY})  # the others have no normalisation
