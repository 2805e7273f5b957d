"""Scenarios of one's own: who measured what, by a function in a file beside the battery."""

import math
from dataclasses import dataclass

import numpy as np

from pharmonia.base.errors import OptionError, PartitionError
from pharmonia.base.owncode import OwnCode
from pharmonia.data.interactions import Interactions
from pharmonia.data.ownership import NOBODY, Owners

KIND = "scenario"  # `def scenario_by_vendor(interactions, n_partners, number, rng)` makes the scenario `by-vendor`


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScenario:
    """One way of sharing out rows that Pharmonia does not know; as text `by-vendor` or `by-vendor:0.3`.

    Args:
        code: The file.
        name: Of the scenario in it.
        parameter: The number after the colon; None without one.

    Raises:
        OptionError: The file has no such scenario, or the number is not finite.
    """

    code: OwnCode
    name: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in (known := self.code.names(KIND)):
            raise OptionError(f"no scenario {self.name!r} in {self.code.file}; it has {', '.join(known) or 'none'}")
        if self.parameter is not None and not math.isfinite(self.parameter):
            raise OptionError(f"the number of scenario {self.name} must be finite, got {self.parameter}")

    def __str__(self) -> str:
        """What battery files call it."""
        if self.parameter is None:
            return self.name
        return f"{self.name}:{np.format_float_positional(self.parameter, trim='-')}"

    @property
    def identity(self) -> str:
        """What run ids know it by: its text, and the file's digest."""
        return f"{self}@{self.code.digest}"

    def owners(self, interactions: Interactions, n_partners: int, rng: np.random.Generator) -> Owners:
        """(n_rows,) int16: what the function says.

        Raises:
            OptionError: The function failed.
            PartitionError: What it returned is not one owner per row, from 0 to n_partners - 1, or -1 for nobody.
        """
        n_rows = len(interactions.pairs)
        owner = np.asarray(self.code.call(KIND, self.name, interactions, n_partners, self.parameter, rng))
        where = f"{self.code.file}: the scenario {self.name} must return one owner per row"
        if owner.shape != (n_rows,) or not np.issubdtype(owner.dtype, np.integer):
            raise PartitionError(f"{where}, {n_rows:,} whole numbers; got {owner.dtype} of shape {owner.shape}")
        if owner.min() < NOBODY or owner.max() >= n_partners:
            raise PartitionError(
                f"{where}, 0 to {n_partners - 1}, or {NOBODY} for nobody; got {owner.min()} to {owner.max()}"
            )
        return owner.astype(np.int16)
