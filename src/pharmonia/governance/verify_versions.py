"""Which version of the agreement judges what stands at a place of a ledger, for who verifies and who appends."""

from collections.abc import Sequence

from pharmonia.base.errors import AgreementError, LedgerError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.events import AgreementAdopted, Event
from pharmonia.governance.ledger import Entry
from pharmonia.governance.verify_rules import Version


class Versions:
    """All accepted versions of an agreement, oldest first."""

    def __init__(self, agreements: Sequence[Agreement]) -> None:
        """Agreements: as `AgreementHistory` checked them.

        Raises:
            AgreementError: There is none.
        """
        if not agreements:
            raise AgreementError("the agreement has no version that enough partners signed; ask for a signed one")
        self.all = tuple(Version.of(agreement) for agreement in agreements)
        self._digests = tuple(agreement.digest for agreement in agreements)

    def in_force(self, n_adopted: int) -> Version:
        """The version in force after so many adoptions: the founding one before any, our newest one after more."""
        return self.all[min(max(n_adopted, 1), len(self.all)) - 1]

    def judging(self, events: Sequence[Event], n_adopted: int) -> Version:
        """The version whose keys sign an entry of these events, after so many adoptions.

        An entry that begins with adoptions, each the next version that we have, is judged by the last of them: who
        signs it may have lost the keys of those between, or not have been a partner.
        """
        n = n_adopted
        for event in events:
            if event != self._next_adoption(n):
                break
            n += 1
        return self.in_force(n)

    def after(self, entry: Entry, n_adopted: int) -> int:
        """How many versions are in force after an entry.

        Raises:
            LedgerError: It puts one in force that is not the next, or not the one that the partners signed.
        """
        for event in entry.events:
            if not isinstance(event, AgreementAdopted):
                continue
            expected = self._next_adoption(n_adopted)
            n_adopted += 1
            if event.version != n_adopted:
                raise LedgerError(f"it puts version {event.version} of the agreement in force; {n_adopted} is next")
            if expected is not None and event != expected:
                raise LedgerError(f"version {n_adopted} of the agreement is not the one that the partners signed")
        return n_adopted

    def _next_adoption(self, n_adopted: int) -> AgreementAdopted | None:
        if n_adopted >= len(self.all):
            return None
        return AgreementAdopted(version=n_adopted + 1, agreement=self._digests[n_adopted])


def unsigned(entry: Entry, version: Version) -> str:
    """Why an entry is not signed as the version that judges it asks for; empty if it is."""
    key = version.keys.get(entry.key)
    agreement = version.agreement
    if key is None:
        try:
            agreement.key(entry.key)
        except AgreementError as error:
            return str(error)
        return f"{agreement.name}, version {agreement.version}: the key {entry.key} signs nothing"
    if entry.at > version.ends[entry.key]:
        ended = f"the key {entry.key} of {version.owners[entry.key]} ended {version.ends[entry.key]}"
        return f"{agreement.name}, version {agreement.version}: {ended}; amend the agreement with another"
    if not entry.is_signed_by(key):
        return f"the signature is not of {entry.key}, the key of {version.owners[entry.key]}"
    return ""
