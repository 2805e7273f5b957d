"""Which partners' sites are there for a job, look by look: who was lost, and who is back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RollCall:
    """What the sites said at one look.

    Args:
        at_work: Names of the sites that have a process for the job.
        answering: Names of the sites that said anything.
    """

    at_work: frozenset[str]
    answering: frozenset[str]


class Attendance:
    """Who is at work on one job."""

    def __init__(self, absent: frozenset[str]) -> None:
        """Absent: partners that were not there when the job began."""
        self._absent = absent
        self._seen: frozenset[str] = frozenset()
        self._missing: frozenset[str] = frozenset()

    @property
    def absent(self) -> frozenset[str]:
        """Partners that take no part: lost, or not there when the job began."""
        return self._absent

    def lost(self, roll: RollCall) -> frozenset[str]:
        """Sites that had a process and have had none at this look and the one before; told once."""
        missing = self._seen - roll.at_work
        lost = (missing & self._missing) - self._absent
        self._seen, self._missing = self._seen | roll.at_work, missing
        self._absent |= lost
        return lost

    def back(self, roll: RollCall) -> frozenset[str]:
        """Absent partners whose sites answer: a new job would have them."""
        return self._absent & roll.answering
