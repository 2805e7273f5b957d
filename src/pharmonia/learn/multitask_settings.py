"""How a partner trains a network of many tasks in a round; known without loading PyTorch."""

from dataclasses import dataclass

from pharmonia.base.errors import OptionError
from pharmonia.learn.settings import Method, Optimiser, Private
from pharmonia.nn.heads_names import HeadName, TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class MultitaskSettings:
    """The network, and what a partner does in a round; all of it changes results.

    Args:
        n_bits: Columns of the compounds' features.
        trunk: Widths of the shared layers, the last one the embedding's.
        head: Widths of layers between the embedding and a partner's own tasks; empty for none.
        dropout: Share of activations that a layer drops, from 0 to below 1.
        regression_weight: Of regression against classification, above 0 and below 1: losses of classification count
            2 (1 - w), of regression 2 w.
        catalogue_classification: Names of the classification tasks that partners share, ascending.
        catalogue_regression: The same for regression.
        optimiser: Its state stays at the partner from round to round; for the shared layers in FedSGD, at the
            coordinator.
        learning_rate: Above 0.
        drop_round: From this round on, the learning rate is 0.3 of what it was; SparseChem's recipe is half-way.
        batch_size: Compounds per step; with FedSGD, of all partners together.
        local_epochs: Passes over the compounds per round; with FedSGD it is 1.

    Raises:
        OptionError: A value is out of range.
    """

    n_bits: int
    trunk: tuple[int, ...]
    head: tuple[int, ...]
    dropout: float
    regression_weight: float
    catalogue_classification: tuple[str, ...]
    catalogue_regression: tuple[str, ...]
    optimiser: Optimiser
    learning_rate: float
    drop_round: int
    batch_size: int
    local_epochs: int

    def __post_init__(self) -> None:
        if self.n_bits < 1 or not self.trunk or min((*self.trunk, *self.head)) < 1:
            raise OptionError(f"expected bits and widths of at least 1, got {self.n_bits}, {self.trunk}, {self.head}")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"the dropout must be at least 0 and below 1, got {self.dropout}")
        if not 0 < self.regression_weight < 1:
            raise OptionError(f"the regression weight must be above 0 and below 1, got {self.regression_weight}")
        for names in (self.catalogue_classification, self.catalogue_regression):
            if list(names) != sorted(set(names)):
                raise OptionError("the catalogue's tasks must be in ascending order, each once")
        if not 0 < self.learning_rate < 10:
            raise OptionError(f"the learning rate must be above 0 and below 10, got {self.learning_rate}")
        counts = {"drop round": self.drop_round, "batch size": self.batch_size, "local epochs": self.local_epochs}
        for name, value in counts.items():
            if value < 1:
                raise OptionError(f"the {name} must be at least 1, got {value}")

    def catalogue(self, kind: TaskKind) -> tuple[str, ...]:
        """Names of the shared tasks of a kind, in the order of their head's columns."""
        return self.catalogue_classification if kind is TaskKind.CLASSIFICATION else self.catalogue_regression

    @property
    def catalogue_sizes(self) -> dict[HeadName, int]:
        """Columns of the shared heads that there are."""
        sizes = {HeadName.of(kind, is_catalogue=True): len(self.catalogue(kind)) for kind in TaskKind}
        return {name: size for name, size in sizes.items() if size}

    def loss_weight(self, kind: TaskKind) -> float:
        """What multiplies the losses of a kind."""
        return 2.0 * (self.regression_weight if kind is TaskKind.REGRESSION else 1.0 - self.regression_weight)

    def rate_at(self, round_index: int) -> float:
        """The learning rate in a round."""
        return self.learning_rate * (1.0 if round_index < self.drop_round else 0.3)


def check_method(method: Method) -> None:
    """Refuse a method that means nothing here.

    Raises:
        OptionError: It names a private part; heads are private in any case, and there are no norms.
    """
    if method.private is not Private.NOTHING:
        raise OptionError(f"{method}: with many tasks each partner's heads are private anyway, and nothing else can be")
