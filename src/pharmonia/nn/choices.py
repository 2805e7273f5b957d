"""What one may choose in a network; known without loading PyTorch."""

from enum import StrEnum


class Norm(StrEnum):
    """Which normalisation follows each graph layer."""

    BATCH = "batch"  # as GraphDTA
    LAYER = "layer"  # as FedDTI
