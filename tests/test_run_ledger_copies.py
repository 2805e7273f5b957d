"""The copies of a ledger by themselves: one that cannot be reached is left out, or an error."""

from collections.abc import Sequence

import pytest

from governance_cases import OWNERS, key_of
from pharmonia.base.errors import EngineError, LedgerError, PharmoniaError, UnreachableError
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import Entry
from pharmonia.run.copies import Copies, LedgerCopy
from pharmonia.run.witness import Witness


class Numbered:
    """A copy that answers with its name, or fails."""

    def __init__(self, partner: str) -> None:
        self.partner = partner
        self.error: PharmoniaError | None = None
        self.n_asked = 0

    @property
    def public(self) -> PublicKey:
        return key_of(self.partner).public

    def name(self) -> str:
        self.n_asked += 1
        if self.error is not None:
            raise self.error
        return self.partner

    def catch_up(self, other: Witness) -> None:
        raise NotImplementedError

    def take(self, entries: Sequence[Entry]) -> None:
        raise NotImplementedError

    def cosign(self, offered: SignedCheckpoint, coordinator: PublicKey) -> SignedCheckpoint:
        raise NotImplementedError

    def keep(self, signed: SignedCheckpoint) -> None:
        raise NotImplementedError


def named(copy: LedgerCopy) -> str:
    if not isinstance(copy, Numbered):
        raise TypeError(f"{copy}")
    return copy.name()


def test_a_copy_that_cannot_be_reached_is_left_out_from_then_on() -> None:
    made = [Numbered(name) for name in OWNERS]
    copies = Copies(made, goes_on=True)
    assert copies.each(named) == list(OWNERS)
    made[1].error = UnreachableError("away")
    assert copies.each(named) == [OWNERS[0], OWNERS[2]]
    made[1].error = None
    assert copies.each(named) == [OWNERS[0], OWNERS[2]]  # it is behind until it has caught up
    assert copies.present == (made[0], made[2])
    assert copies.all == tuple(made)
    assert [one.n_asked for one in made] == [3, 2, 3]


def test_nobody_may_be_left() -> None:
    made = [Numbered(name) for name in OWNERS]
    copies = Copies(made, goes_on=True)
    for one in made:
        one.error = UnreachableError("away")
    assert copies.each(named) == copies.each(named) == []
    assert copies.present == ()


def test_a_copy_that_cannot_be_reached_is_an_error_where_the_run_does_not_go_on() -> None:
    made = [Numbered(name) for name in OWNERS]
    copies = Copies(made, goes_on=False)
    made[1].error = UnreachableError("away")
    with pytest.raises(UnreachableError):
        copies.each(named)
    assert copies.present == tuple(made)


@pytest.mark.parametrize("error", [LedgerError("two histories"), EngineError("failed")], ids=lambda e: type(e).__name__)
def test_what_else_fails_at_a_copy_is_an_error_everywhere(error: PharmoniaError) -> None:
    made = [Numbered(name) for name in OWNERS]
    copies = Copies(made, goes_on=True)
    made[1].error = error
    with pytest.raises(type(error)):
        copies.each(named)
    assert copies.present == tuple(made)


def test_what_is_none_is_no_absence() -> None:
    copies = Copies([Numbered(name) for name in OWNERS], goes_on=True)
    assert copies.each(lambda copy: None) == [None] * 3
    assert len(copies.present) == 3
