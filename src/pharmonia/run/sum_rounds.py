"""One secure sum between the coordinator and the partners, in both tiers: what is sent, in order. Coordinator's side.

READ THIS FIRST: `CommitThenMask` needs every partner; `DropoutTolerant` goes on with those who are left. What a partner
answers is in `run.protection`, the protocol itself in `secagg`.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, TypeVar

from pharmonia.base.errors import MessageError, RoundLostError
from pharmonia.learn.messages import Done, Message, Repeat, SessionRequest, decode, encode, is_learning_frame
from pharmonia.run.cohorts import STATISTICS, Cohorts, Place, place_of
from pharmonia.run.engine import Engine, Exchange, Incoming, exchange, exchange_each
from pharmonia.secagg.arriving import Arriving
from pharmonia.secagg.fixedpoint import WeightedSum
from pharmonia.secagg.messages import KeyOffers, MaskedUpdate, Ready, Reveal, SurvivorSignature
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.messages import encode as encode_secure
from pharmonia.secagg.roster import Directory, KeyOffer, Roster, sorted_ids
from pharmonia.secagg.server import RoundPlan, ServerRound, open_round

SecureT = TypeVar("SecureT", KeyOffer, Ready, MaskedUpdate, SurvivorSignature, Reveal)
RosterOf = Callable[[bytes], Roster]  # the consortium's, for a session
SESSION_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What sums took.

    Args:
        bytes_to_partners: Frames sent.
        bytes_from_partners: Frames received.
        wall_s: Seconds until the last answers.
        cpu_s: CPU seconds of the parties.
    """

    bytes_to_partners: int = 0
    bytes_from_partners: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def plus(self, other: "Traffic | Exchange") -> "Traffic":
        """Both together."""
        return Traffic(
            bytes_to_partners=self.bytes_to_partners + other.bytes_to_partners,
            bytes_from_partners=self.bytes_from_partners + other.bytes_from_partners,
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
        )


class Rounds(Protocol):
    """A session of secure sums."""

    def start(self) -> Traffic:
        """Open a new session: signed keys from each partner, and all of them to each."""
        ...

    def sum(self, ask: Message, plan: RoundPlan, among: tuple[str, ...] | None = None) -> tuple[WeightedSum, Traffic]:
        """Ask for contributions and add them up; among exactly these partners, where a sum of theirs is made again."""
        ...

    def tell(self, message: Message) -> None:
        """Tell every partner that is there something to which there is nothing to say."""
        ...


class CommitThenMask:
    """Tier A: every partner contributes, or the round is lost."""

    def __init__(self, engine: Engine, roster_of: RosterOf) -> None:
        self._engine = engine
        self._roster_of = roster_of
        self._directory: Directory | None = None

    def start(self) -> Traffic:
        """Open a new session.

        Raises:
            UnreachableError: A partner is away.
            KeyExchangeError: A key that its pinned identity did not sign.
        """
        roster = self._roster_of(os.urandom(SESSION_BYTES))
        asked = exchange(self._engine, encode(SessionRequest(session=roster.session)))
        self._directory = _directory(roster, [_expected(KeyOffer, frame) for frame in asked.replies])
        told = exchange(self._engine, encode_secure(KeyOffers(offers=self._directory.offers)))
        require_done(told.replies)
        return Traffic().plus(asked).plus(told)

    def sum(self, ask: Message, plan: RoundPlan, among: tuple[str, ...] | None = None) -> tuple[WeightedSum, Traffic]:
        """Ask every partner for a contribution, who are all `among` whom it can be made, and add them up.

        Raises:
            UnreachableError: A partner is away.
            MessageError: An answer that is none to this request.
        """
        _require_cohort(among, self._engine.partners)
        asked = exchange(self._engine, encode(ask))  # a broadcast is as long as the model: nobody keeps it
        readies = [_expected(Ready, frame) for frame in asked.replies]
        server = open_round(_opened(self._directory), plan, readies)
        arriving = Arriving(server)
        masked = exchange_each(
            self._engine, encode_secure(server.header), lambda _, reply: arriving.add(reply.length, reply.parts())
        )
        return arriving.round().finish(), Traffic().plus(asked).plus(masked)

    def tell(self, message: Message) -> None:
        """Tell every partner.

        Raises:
            UnreachableError: A partner is away.
        """
        require_done(exchange(self._engine, encode(message)).replies)


class DropoutTolerant:
    """Tier B: a partner that goes away is left out, as long as enough are left to hide among.

    Guarantees:
        one_cohort_per_contribution: What was proposed to be summed among some is not proposed among others, also by a
            later process: `Cohorts` remembers it, by step of the run and by model.
        who_is_away_stays_away: Until the next session.
    """

    def __init__(self, engine: Engine, roster_of: RosterOf, cohorts: Cohorts, min_cohort: int) -> None:
        """Min cohort: partners that a sum is made of at least, besides what its secrecy needs."""
        self._engine = engine
        self._min_cohort = min_cohort
        self._roster_of = roster_of
        self._cohorts = cohorts
        self._directory: Directory | None = None
        self._place: Place = STATISTICS  # of the contributions that were last asked for
        self._present: tuple[str, ...] = tuple(engine.partners)

    def start(self) -> Traffic:
        """Open a new session among those who are there.

        Raises:
            RoundLostError: Too few are.
            KeyExchangeError: A key that its pinned identity did not sign.
        """
        self._present = tuple(self._engine.partners)
        roster = self._roster_of(os.urandom(SESSION_BYTES))
        request = encode(SessionRequest(session=roster.session))
        offers, asked = self._gather(KeyOffer, dict.fromkeys(self._engine.partners, request))
        if len(offers) < roster.min_contributors:
            raise RoundLostError(f"{len(offers)} partners are there; a sum takes {roster.min_contributors}")
        self._directory = _directory(roster, offers)
        told = self._tell(encode_secure(KeyOffers(offers=self._directory.offers)), self._directory.partners)
        return asked.plus(told)

    def sum(self, ask: Message, plan: RoundPlan, among: tuple[str, ...] | None = None) -> tuple[WeightedSum, Traffic]:
        """Ask those who are there for a contribution, and add up those that come.

        Raises:
            RoundLostError: Too few are there, or others than `among` or than an earlier process had proposed for this
                sum.
            ReplayError: It was made too long ago to say among whom.
            MessageError: An answer that is none to this request.
        """
        if not isinstance(ask, Repeat):
            self._place = place_of(ask)
        cohort = self._cohorts.of(self._place, plan.model_digest) if among is None else among
        _require_cohort(cohort, self._present)
        asked = self._present if cohort is None else cohort
        readies, traffic = self._gather(Ready, dict.fromkeys(asked, encode(ask)))
        server = open_round(_opened(self._directory), plan, readies)
        self._require_enough(server.header.contributors)
        _require_cohort(cohort, server.header.contributors)
        server, took = self._masked(server)
        traffic = traffic.plus(took)
        server, survivors = server.propose()
        self._require_enough(survivors.survivors)
        _require_cohort(cohort, survivors.survivors)
        self._cohorts.settle(self._place, plan.model_digest, survivors.survivors)
        signatures, took = self._gather(SurvivorSignature, dict.fromkeys(survivors.survivors, encode_secure(survivors)))
        traffic = traffic.plus(took)
        for signature in signatures:
            server = server.add_signature(signature)
        server, confirmed = server.confirm()
        reveals, took = self._gather(Reveal, {name: encode_secure(one) for name, one in confirmed.items()})
        for reveal in reveals:
            server = server.add_reveal(reveal)
        return server.finish(), traffic.plus(took)

    def _require_enough(self, partners: tuple[str, ...]) -> None:
        if len(partners) < self._min_cohort:
            raise RoundLostError(f"{len(partners)} partners are left; the agreement asks for {self._min_cohort}")

    def tell(self, message: Message) -> None:
        """Tell those who are there."""
        self._tell(encode(message), self._present)

    def _tell(self, frame: bytes, partners: Iterable[str]) -> Traffic:
        replies: list[bytes] = []
        told = self._carry(dict.fromkeys(partners, frame), lambda _, reply: replies.append(reply.whole()))
        require_done(replies)
        return Traffic().plus(told)

    def _masked(self, server: ServerRound) -> tuple[ServerRound, Traffic]:
        """With the masked updates that arrive whole: one that breaks off leaves no trace in the sum."""
        one_at_a_time = Lock()

        def add(_: str, reply: Incoming) -> None:
            nonlocal server
            update = _expected(MaskedUpdate, reply.whole())
            with one_at_a_time:
                server = server.add(update)

        header = encode_secure(server.header)
        told = self._carry(dict.fromkeys(server.header.contributors, header), add)
        return server, Traffic().plus(told)

    def _gather(self, kind: type[SecureT], frames: Mapping[str, bytes]) -> tuple[list[SecureT], Traffic]:
        """The messages of those who answer, in no order."""
        found: list[SecureT] = []
        told = self._carry(frames, lambda _, reply: found.append(_expected(kind, reply.whole())))
        return found, Traffic().plus(told)

    def _carry(self, frames: Mapping[str, bytes], on_reply: Callable[[str, Incoming], None]) -> Exchange:
        told = self._engine.carry(frames, on_reply)
        if told.lost:
            self._present = tuple(partner for partner in self._present if partner not in told.lost)
        return told


def _directory(roster: Roster, offers: Iterable[KeyOffer]) -> Directory:
    found = {offer.partner: offer for offer in offers}
    return Directory(roster=roster, offers=tuple(found[partner] for partner in sorted_ids(list(found))))


def _opened(directory: Directory | None) -> Directory:
    if directory is None:
        raise MessageError("the session of secure sums is not open")
    return directory


def _require_cohort(cohort: tuple[str, ...] | None, partners: tuple[str, ...]) -> None:
    missing = sorted(set(cohort or ()).difference(partners))
    if missing:
        raise RoundLostError(
            f"this sum was begun among {', '.join(cohort or ())} and is made among no others; bring back "
            f"{', '.join(missing)}"
        )


def require_done(replies: Iterable[bytes]) -> None:
    """Refuse any answer but Done.

    Raises:
        MessageError: A partner said something else.
    """
    for frame in replies:
        if not is_learning_frame(frame) or not isinstance(decode(frame), Done):
            raise MessageError("a partner did not confirm what it was told")


def _expected(kind: type[SecureT], frame: bytes) -> SecureT:
    message = decode_secure(frame)
    if not isinstance(message, kind):
        raise MessageError(f"expected a {kind.__name__} frame, got {type(message).__name__}")
    return message
