"""How a partner trains in a round; known without loading PyTorch."""

from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.errors import OptionError
from pharmonia.nn.choices import Norm

MAX_SEED = 2**32 - 1


class Optimiser(StrEnum):
    """How a partner follows its gradients."""

    ADAM = "adam"  # Kingma and Ba 2015, arXiv:1412.6980
    SGD = "sgd"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What a partner does in a round; all of it changes results.

    Args:
        norm: Normalisation in the network.
        optimiser: Its state stays at the partner from round to round.
        learning_rate: Above 0.
        batch_size: Rows per step, at least 2.
        local_epochs: Passes over the training rows per round, at least 1.

    Raises:
        OptionError: A value is out of range.
    """

    norm: Norm
    optimiser: Optimiser
    learning_rate: float
    batch_size: int
    local_epochs: int

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < 10:
            raise OptionError(f"the learning rate must be above 0 and below 10, got {self.learning_rate}")
        if self.batch_size < 2:
            raise OptionError(f"the batch size must be at least 2, got {self.batch_size}")
        if self.local_epochs < 1:
            raise OptionError(f"the local epochs must be at least 1, got {self.local_epochs}")
