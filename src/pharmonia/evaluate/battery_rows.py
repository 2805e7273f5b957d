"""Whether settings that are compared under one seed were tested on the same rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Sameness(StrEnum):
    """What is known of the test rows behind a comparison."""

    SAME = "the same"
    DIFFERENT = "different"
    UNKNOWN = "not noted"  # as many, in results of a version that did not note which


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsTested:
    """The test rows of one cell."""

    n_rows: int
    digest: str | None  # of which rows they are; None: not noted


def sameness(comparisons: Iterable[Sequence[RowsTested]]) -> Sameness:
    """Of all comparisons together: different if those of one are, the same only if those of each are known to be."""
    answer = Sameness.SAME
    for cells in comparisons:
        if len({cell.n_rows for cell in cells}) > 1 or len({cell.digest for cell in cells} - {None}) > 1:
            return Sameness.DIFFERENT
        if len(cells) > 1 and any(cell.digest is None for cell in cells):
            answer = Sameness.UNKNOWN
    return answer
