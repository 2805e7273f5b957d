"""The partners' copies of the ledger, asked all at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Protocol, TypeVar

from pharmonia.base.errors import UnreachableError
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import Entry
from pharmonia.run.witness import Witness

ResultT = TypeVar("ResultT")


class LedgerCopy(Protocol):
    """A partner's copy of the ledger: in this process (`Witness`), or on its own machine (`RemoteWitness`)."""

    @property
    def partner(self) -> str:
        """Whose it is."""
        ...

    @property
    def public(self) -> PublicKey:
        """What the partner signs with."""
        ...

    def catch_up(self, other: Witness) -> None:
        """Take what the other copy has and this one does not yet."""
        ...

    def take(self, entries: Sequence[Entry]) -> None:
        """Append entries; on the partner's disk when this returns."""
        ...

    def cosign(self, offered: SignedCheckpoint, coordinator: PublicKey) -> SignedCheckpoint:
        """The offered checkpoint with the partner's signature."""
        ...

    def keep(self, signed: SignedCheckpoint) -> None:
        """Append a checkpoint."""
        ...


class Copies:
    """Copies of the ledger; where a run goes on without a lost partner, those of the partners that are there.

    A copy that falls behind catches up when its partner is back: a run begins with it.
    """

    def __init__(self, copies: Sequence[LedgerCopy], *, goes_on: bool) -> None:
        """Goes on: a copy that cannot be reached is left out from then on, and no error."""
        self._copies = tuple(copies)
        self._goes_on = goes_on
        self._present = self._copies

    @property
    def goes_on(self) -> bool:
        """Whether a copy that cannot be reached is no error."""
        return self._goes_on

    @property
    def all(self) -> tuple[LedgerCopy, ...]:
        """Every partner's."""
        return self._copies

    @property
    def present(self) -> tuple[LedgerCopy, ...]:
        """Those that could be reached so far."""
        return self._present

    def each(self, do: Callable[[LedgerCopy], ResultT]) -> list[ResultT]:
        """What each copy that is present gives, in order."""

        def attempt(copy: LedgerCopy) -> list[tuple[LedgerCopy, ResultT]]:
            try:
                return [(copy, do(copy))]
            except UnreachableError:
                if not self._goes_on:
                    raise
                return []

        given = list(chain.from_iterable(of_each(self._present, attempt)))
        self._present = tuple(copy for copy, _ in given)
        return [gift for _, gift in given]


def of_each(copies: Sequence[LedgerCopy], do: Callable[[LedgerCopy], ResultT]) -> list[ResultT]:
    """What each of these copies gives, in order; all are asked at once, as they may be far away."""
    if not copies:
        return []
    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(do, copies))
