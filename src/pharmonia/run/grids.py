"""On which grids contributions are summed, as both sides know it: what a partner insists on, a coordinator keeps to."""

import math
from dataclasses import dataclass

from pharmonia.base.errors import HeaderError, ReplayError
from pharmonia.secagg.fixedpoint import clip_limit
from pharmonia.secagg.header import MAX_WEIGHT_BITS, RoundHeader

WEIGHT_BITS = MAX_WEIGHT_BITS  # of every sum of contributions, so that a header asks nothing about a weight
MAGNITUDE_BITS = 8  # |log2| stays below 2^8
COARSER_BITS = (4, 4, 4, 4, 8, 8, 16, 16)  # by how much each repeat of a sum with clipped elements is coarser
MAX_REPEATS = len(COARSER_BITS)


def magnitude_exponents(n_tensors: int, n_members: int) -> tuple[int, ...]:
    """The one grid on which magnitudes are summed: none of them can be clipped on it.

    Args:
        n_tensors: Of the contributions.
        n_members: Of the consortium; fewer may contribute.
    """
    room = math.floor(math.log2(float(clip_limit(n_members))))
    return (room - MAGNITUDE_BITS,) * n_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Grids:
    """The grids on which a partner has masked one contribution, and what it masks again.

    Guarantees:
        only_coarser_and_seldom: A contribution is masked again on a coarser grid only, at most MAX_REPEATS times.
        nothing_is_asked_about_a_weight: A header with other weight bits than the run's is refused, whatever our weight.

    Args:
        last: Exponents under which it was masked last; empty before.
        n: How often it was masked.
    """

    last: tuple[int, ...] = ()
    n: int = 0

    def then(self, header: RoundHeader) -> "Grids":
        """With the grid of one more sum of the contribution's values.

        Raises:
            HeaderError: Other weight bits than all sums have.
            ReplayError: A grid that is not coarser than the last, or one repeat too many.
        """
        if header.weight_bits != WEIGHT_BITS:
            raise HeaderError(f"round {header.round_index} has {header.weight_bits} weight bits, not {WEIGHT_BITS}")
        if self.n > MAX_REPEATS:
            raise ReplayError(f"this contribution was masked again {MAX_REPEATS} times; it is not masked once more")
        if self.n and not is_coarser(header.exponents, self.last):
            raise ReplayError(
                "this contribution was masked on as coarse a grid; it takes a coarser one to mask it again"
            )
        return Grids(last=header.exponents, n=self.n + 1)


def is_coarser(exponents: tuple[int, ...], than: tuple[int, ...]) -> bool:
    """Whether no tensor's grid is finer, and at least one coarser."""
    return exponents != than and all(one <= other for one, other in zip(exponents, than, strict=True))


def require_magnitude_grid(header: RoundHeader, n_members: int) -> None:
    """Refuse any header for magnitudes but the one that all know beforehand.

    Raises:
        HeaderError: Another grid, or weights.
    """
    if header.weight_bits or header.exponents != magnitude_exponents(len(header.exponents), n_members):
        raise HeaderError(f"round {header.round_index} is not on the grid of magnitudes")
