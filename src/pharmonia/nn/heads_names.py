"""Which heads a multi-task network has; known without loading PyTorch."""

from enum import StrEnum


class TaskKind(StrEnum):
    """What a task predicts."""

    CLASSIFICATION = "classification"  # the probability of a positive
    REGRESSION = "regression"  # a value, possibly measured only as "above" or "below"


class HeadName(StrEnum):
    """One head: what its tasks predict, and whether they are a partner's own or the catalogue's.

    The catalogue's tasks are assays that several partners run, such as commercial panels. Their head is part of what
    the partners share, so that all of them train one column per assay (Heyndrickx et al. 2024,
    doi:10.1021/acs.jcim.3c00799).
    """

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    CATALOGUE_CLASSIFICATION = "catalogue_classification"
    CATALOGUE_REGRESSION = "catalogue_regression"

    @staticmethod
    def of(kind: TaskKind, *, is_catalogue: bool) -> "HeadName":
        """The head of a task."""
        return HeadName(f"catalogue_{kind.value}" if is_catalogue else kind.value)

    @property
    def kind(self) -> TaskKind:
        """What its tasks predict."""
        return TaskKind(self.value.removeprefix("catalogue_"))

    @property
    def is_catalogue(self) -> bool:
        """Whether its weights are shared between the partners."""
        return self.value.startswith("catalogue_")
