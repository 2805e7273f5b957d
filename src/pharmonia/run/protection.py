"""How a partner's contributions leave it: masked, or in research runs as they are. A partner's side of sums."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pharmonia.base.errors import HeaderError, MessageError, ReplayError
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import Done, Repeat, SessionRequest, encode
from pharmonia.run.cohorts import COHORTS_FILE, Cohorts, Place
from pharmonia.run.files import write_private
from pharmonia.run.grids import Grids, require_magnitude_grid
from pharmonia.run.tensors import magnitude_layout, magnitudes
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.keys import IdentityKey, SessionKey, make_offer
from pharmonia.secagg.messages import ConfirmedSurvivors, KeyOffers, SurvivorSet
from pharmonia.secagg.messages import Message as SecureMessage
from pharmonia.secagg.messages import encode as encode_secure
from pharmonia.secagg.partner import PartnerSession, open_session
from pharmonia.secagg.roster import Directory, Member, Roster

RECORD_FILE = "last-mask.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureTerms:
    """What a partner insists on before anything leaves it; between companies the signed agreement says it.

    Args:
        partner: Our id.
        identity: Our long-term key.
        members: Every partner's id and pinned identity, sorted by id.
        n_colluders: Partners that may pool what they see with the server without learning another's update.
        ring_degree: Neighbours of each partner when more than 10 take part.
        tier: What a lost partner costs.
    """

    partner: str
    identity: IdentityKey = field(repr=False)
    members: tuple[Member, ...]
    n_colluders: int
    ring_degree: int
    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A contribution that was asked for and is not made yet.

    Args:
        place: In the run.
        sum_index: Of the sum that it is for.
        magnitudes: Whether that sum is of magnitudes.
        layout: Of its values.
        model_digest: 32 bytes, of the shared vector that it starts from.
        make: Trains and returns it; called once.
    """

    place: Place
    sum_index: int
    magnitudes: bool
    layout: Layout
    model_digest: bytes
    make: Callable[[], Contribution]


class Protection(Protocol):
    """What a party does with its contributions."""

    @property
    def masks(self) -> bool:
        """Whether the coordinator sees nothing but sums."""
        ...

    def start_session(self, request: SessionRequest) -> bytes:
        """The answer to the start of a session."""
        ...

    def announce(self, work: Work) -> bytes:
        """The answer to a request for a contribution."""
        ...

    def repeat(self, request: Repeat) -> bytes:
        """The answer to a request for the last contribution again, or for its magnitudes."""
        ...

    def answer(self, message: SecureMessage) -> bytes:
        """The answer to a message of secure aggregation."""
        ...

    @property
    def last(self) -> Contribution:
        """The last contribution in the clear; a simulation checks sums against it, no frame asks for it."""
        ...


class InTheClear:
    """Contributions leave as they are: for research, and for a partner who trains with nobody."""

    def __init__(self) -> None:
        self._last: Contribution | None = None

    @property
    def masks(self) -> bool:
        """No."""
        return False

    def start_session(self, request: SessionRequest) -> bytes:
        """Refuse: there is no session to open."""
        raise MessageError(f"this party takes part in a plain run, not in session {request.session.hex()}")

    def announce(self, work: Work) -> bytes:
        """Make the contribution and send it."""
        self._last = None  # room for the next
        self._last = work.make()
        return encode(self._last)

    def repeat(self, request: Repeat) -> bytes:
        """Refuse: a plain sum has no scale to be found."""
        raise MessageError(f"sum {request.sum_index} of a plain run cannot be repeated")

    def answer(self, message: SecureMessage) -> bytes:
        """Refuse: nothing is masked here."""
        raise MessageError(f"this party takes part in a plain run and expects no {type(message).__name__}")

    @property
    def last(self) -> Contribution:
        """The last contribution."""
        if self._last is None:
            raise MessageError("nothing was contributed yet")
        return self._last


class Masked:
    """Contributions leave masked, under terms that this partner checks for itself (`secagg.partner`).

    Guarantees:
        nothing_leaves_unmasked: A request for a contribution gets READY; only a checked header gets a masked one.
        masks_while_training: The sum of masks is made in a thread of its own while the contribution is made.
        everybody_or_nothing: In tier A, nothing is masked but among all partners of the terms.
        one_cohort_per_contribution: In tier B, as `Cohorts`, in this session and in every later one of the run.
        only_coarser_and_seldom, nothing_is_asked_about_a_weight: As `Grids`, before our contribution is looked at.
    """

    def __init__(self, terms: SecureTerms, folder: Path) -> None:
        """Folder: where the record of the last mask is kept."""
        self._terms = terms
        self._record_file = folder / RECORD_FILE
        self._cohorts = Cohorts(folder / COHORTS_FILE)
        self._roster: Roster | None = None
        self._key: SessionKey | None = None
        self._session: PartnerSession | None = None
        self._work: Work | None = None
        self._made: _Made | None = None
        self._of_magnitudes = False
        self._grids = Grids()  # of the contribution that is asked for or was made last
        self._summed: tuple[Place, bytes] | None = None  # place and start of what was last masked

    @property
    def masks(self) -> bool:
        """Yes."""
        return True

    @property
    def members(self) -> tuple[Member, ...]:
        """Every partner's id and pinned identity."""
        return self._terms.members

    def start_session(self, request: SessionRequest) -> bytes:
        """A signed key for the session; whatever an earlier one had left undone is given up.

        Raises:
            MessageError: The session is the one before.
        """
        terms = self._terms
        if self._roster is not None and self._roster.session == request.session:
            raise MessageError(f"{terms.partner}: session {request.session.hex()} has begun before; use a new one")
        self._roster = Roster(
            session=request.session,
            members=terms.members,
            n_colluders=terms.n_colluders,
            ring_degree=terms.ring_degree,
        )
        self._key, self._session, self._work, self._made = SessionKey.generate(), None, None, None
        return encode_secure(make_offer(self._roster, terms.partner, terms.identity, self._key))

    def announce(self, work: Work) -> bytes:
        """READY for the sum; the work is done when its header has come."""
        answer = self._commit(work.sum_index, work.layout, work.model_digest, of_magnitudes=work.magnitudes)
        self._work, self._made, self._grids = work, None, Grids()
        return answer

    def repeat(self, request: Repeat) -> bytes:
        """READY to mask the last contribution again, for another scale among the same contributors."""
        made = self._made
        if made is None:
            raise MessageError(f"{self._terms.partner}: nothing was contributed that could be summed again")
        return self._commit(request.sum_index, made.layout, made.model_digest, of_magnitudes=request.magnitudes)

    def _commit(self, sum_index: int, layout: Layout, model_digest: bytes, *, of_magnitudes: bool) -> bytes:
        summed = magnitude_layout(layout) if of_magnitudes else layout
        self._session, ready = self._open().commit(sum_index, summed, model_digest)
        self._of_magnitudes = of_magnitudes
        return encode_secure(ready)

    def answer(self, message: SecureMessage) -> bytes:
        """Open the session with everyone's keys, mask the contribution under a header, or help to unmask the sum."""
        match message:
            case KeyOffers():
                self._agree(message)
                return encode(Done())
            case RoundHeader():
                return self._mask(message)
            case SurvivorSet():
                return self._sign(message)
            case ConfirmedSurvivors():
                self._session, reveal = self._open().reveal(message)
                return encode_secure(reveal)
            case _:
                raise MessageError(f"{self._terms.partner}: a coordinator does not send {type(message).__name__}")

    def _agree(self, offers: KeyOffers) -> None:
        if self._roster is None or self._key is None:
            raise MessageError(f"{self._terms.partner}: no session was begun")
        self._session = open_session(
            partner=self._terms.partner,
            identity=self._terms.identity,
            key=self._key,
            directory=Directory(roster=self._roster, offers=offers.offers),
        )
        self._key = None  # used for one key exchange

    def _mask(self, header: RoundHeader) -> bytes:
        session = self._open()
        session.check_header(header)
        grids = self._checked_grids(header)
        self._check_cohort(header)
        with ThreadPoolExecutor(1) as beside:
            pending = beside.submit(session.prepare_mask, header)
            made = self._make()
            mask = pending.result()
        if self._of_magnitudes:
            outgoing = session.masked_update(mask, magnitudes(made.contribution, made.layout), weight=1)
        else:
            outgoing = session.masked_update(mask, made.contribution.values, made.contribution.weight)
        write_private(self._record_file, outgoing.record.to_bytes())  # before anything leaves
        self._session, self._grids = outgoing.session, grids
        return encode_secure(outgoing.message)

    def _checked_grids(self, header: RoundHeader) -> Grids:
        if self._of_magnitudes:
            require_magnitude_grid(header, len(self._terms.members))
            return self._grids
        return self._grids.then(header)

    def _check_cohort(self, header: RoundHeader) -> None:
        if header.tier is not self._terms.tier:
            raise HeaderError(f"{self._terms.partner}: round {header.round_index} is not summed as the terms say")
        of = self._last_made() if self._work is None else self._work
        self._summed = (of.place, of.model_digest)
        if header.tier is Tier.COMMIT_THEN_MASK:  # always among the same, so that there is nothing to remember
            missing = {member.id for member in self._terms.members}.difference(header.contributors)
            if missing:
                raise HeaderError(
                    f"{self._terms.partner}: round {header.round_index} leaves out {', '.join(sorted(missing))}; "
                    "everybody is in it, or nothing is masked"
                )
        elif not set(self._cohorts.of(*self._summed) or ()) <= set(header.contributors):
            raise ReplayError(f"{self._terms.partner}: these contributions were summed among others; nothing is masked")

    def _sign(self, survivors: SurvivorSet) -> bytes:
        session, signature = self._open().sign_survivors(survivors)
        if self._summed is None:
            raise MessageError(f"{self._terms.partner}: nothing was masked")
        self._cohorts.settle(*self._summed, survivors.survivors)  # before the signature leaves
        self._session = session
        return encode_secure(signature)

    def _make(self) -> "_Made":
        if self._work is not None:
            work = self._work
            made = work.make()
            self._made = _Made(place=work.place, layout=work.layout, model_digest=work.model_digest, contribution=made)
            self._work = None  # and with it all that it was made from
        return self._last_made()

    def _last_made(self) -> "_Made":
        if self._made is None:
            raise MessageError(f"{self._terms.partner}: no contribution was asked for")
        return self._made

    def _open(self) -> PartnerSession:
        if self._session is None:
            raise MessageError(f"{self._terms.partner}: the session is not open")
        return self._session

    @property
    def last(self) -> Contribution:
        """The last contribution, in the clear."""
        if self._made is None:
            raise MessageError("nothing was contributed yet")
        return self._made.contribution


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """A contribution, and what it was made for."""

    place: Place
    layout: Layout
    model_digest: bytes
    contribution: Contribution = field(repr=False)
