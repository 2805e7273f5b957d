"""A partner's side of a rehearsal: zeros instead of data, and a key of its own instead of the partner's."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError, RosterError
from pharmonia.governance.plan import RunPlan
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.learner import State, Tensors
from pharmonia.learn.messages import Broadcast
from pharmonia.run.engine import FrameHandler
from pharmonia.run.party import Party
from pharmonia.run.planned import tier_of
from pharmonia.run.preflight_rehearsal import Part, decode_roster, is_rehearsal, rehearsed_tensors, unwrap, wrap
from pharmonia.run.protection import Masked, SecureTerms
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.roster import Member


class Rehearsing:
    """A site that takes part in rehearsals too; all other frames go to the site as they come.

    Guarantees:
        a_rehearsal_holds_nothing_of_ours: Its party has neither data nor a key that anybody knows us by.
    """

    def __init__(self, site: FrameHandler, partner: str, plan: Callable[[], RunPlan]) -> None:
        """Plan: the one that lies at the site, read when a rehearsal begins."""
        self._site = site
        self._partner = partner
        self._plan = plan
        self._key: IdentityKey | None = None
        self._party: Party | None = None
        self._opened = ExitStack()

    def handle(self, frame: bytes) -> bytes:
        """The answer of the rehearsal's party, or the site's.

        Raises:
            MessageError: A part out of order, or no part at all.
            RosterError: The rehearsal is among others than the plan's partners.
            PharmoniaError: As the site's own `handle`.
        """
        if not is_rehearsal(frame):
            self.close()
            return self._site.handle(frame)
        if frame == wrap(Part.IDENTITY, b""):
            self.close()
            self._key = IdentityKey.generate()
            return wrap(Part.IDENTITY, self._key.public)
        if self._party is None:
            self._party = self._begin(decode_roster(unwrap(Part.ROSTER, frame)))
            return wrap(Part.ROSTER, b"")
        return wrap(Part.CARRY, self._party.handle(unwrap(Part.CARRY, frame)))

    def close(self) -> None:
        """Forget the rehearsal."""
        self._key, self._party = None, None
        self._opened.close()

    def _begin(self, identities: dict[str, bytes]) -> Party:
        plan, key = self._plan(), self._key
        if key is None:
            raise MessageError("a rehearsal begins with an identity")
        if sorted(identities) != list(plan.partners) or identities.get(self._partner) != key.public:
            raise RosterError(f"a rehearsal of {plan.label} is among its partners, with the identity that we gave")
        folder = Path(self._opened.enter_context(TemporaryDirectory(prefix="pharmonia-rehearsal-")))
        terms = SecureTerms(
            partner=self._partner,
            identity=key,
            members=tuple(Member(id=partner, identity=identities[partner]) for partner in plan.partners),
            n_colluders=plan.aggregation.n_colluders,
            ring_degree=plan.aggregation.ring_degree,
            tier=tier_of(plan),
        )
        return Party(_Zeros(rehearsed_tensors(plan)), Masked(terms, folder), folder)


class _Zeros:
    """A learner that has learned nothing from no data."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    @property
    def sum_tensors(self) -> Tensors:
        """Those of the plan's network."""
        return self._tensors

    @property
    def statistics_tensors(self) -> Tensors:
        """None that a rehearsal asks for."""
        return ("nothing",), (1,)

    @property
    def best_private_part(self) -> Vector:
        """Nothing is private."""
        return np.empty(0)

    def statistics(self) -> Contribution:
        """One zero."""
        return Contribution(weight=1, values=np.zeros(1, dtype=np.float32))

    def contribute(self, broadcast: Broadcast) -> Contribution:  # noqa: ARG002 - the same at every step
        """Zeros, with the least weight."""
        return Contribution(weight=1, values=np.zeros(sum(self._tensors[1]), dtype=np.float32))

    def note_best(self, best_round: int) -> None:
        """There is none."""

    def private_state(self) -> tuple[State, int]:
        """Nothing to remember."""
        return {}, -1

    def restore(self, state: State, candidate_round: int) -> None:
        """Nothing was remembered."""
