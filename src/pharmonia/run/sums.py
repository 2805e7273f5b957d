"""Sums over the partners, secure or plain: the coordinator's side. Read `Sums` first."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError
from pharmonia.learn.contributions import Contribution, federated_average
from pharmonia.learn.messages import Done, Message, Repeat, SessionRequest, decode, encode, is_learning_frame
from pharmonia.run.engine import Engine, Exchange, Incoming, exchange, exchange_each
from pharmonia.run.tensors import MAGNITUDE_BITS, magnitude_layout
from pharmonia.secagg.fixedpoint import HEADROOM_BITS, WeightedSum, clip_limit, next_exponents
from pharmonia.secagg.header import MAX_EXPONENT, Layout, Tier
from pharmonia.secagg.messages import KeyOffers, MaskedUpdate, Ready
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.messages import encode as encode_secure
from pharmonia.secagg.roster import Directory, KeyOffer, Member, Roster, sorted_ids
from pharmonia.secagg.server import RoundPlan, open_round

MAX_REPEATS = 8  # of a sum with clipped elements
COARSER_BITS = 4
MAX_WEIGHT_BITS = 24
SecureT = TypeVar("SecureT", KeyOffer, Ready, MaskedUpdate)


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnersSum:
    """What a sum over the partners gave, and took.

    Args:
        mean: (length,) float64, the contributions averaged by their weights.
        total_weight: Sum of the weights.
        n_clipped: Elements that no scale could hold; 0 in plain sums.
        traffic: Of this sum.
    """

    mean: Vector
    total_weight: int
    n_clipped: int
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be summed.

    Args:
        frame_of: From the index of a sum and whether it is of magnitudes, the message that asks the partners for it.
        layout: Of the contributions' values.
        model_digest: 32 bytes, of the shared vector that they start from.
        weight_bits: Weights are at most 2^weight_bits.
    """

    frame_of: Callable[[int, bool], Message]
    layout: Layout
    model_digest: bytes
    weight_bits: int


Scales = dict[str, list[int]]  # exponents by layout digest
Ask = Callable[[], Message]  # makes the message that asks for a sum


class Sums(Protocol):
    """Sums over the partners of an engine."""

    def start(self) -> Traffic:
        """Agree on keys, where sums need them."""
        ...

    def collect(self, request: Request) -> PartnersSum:
        """Ask every partner for a contribution and add them up."""
        ...

    @property
    def scales(self) -> Scales:
        """What a resumed run needs to sum on the same grid."""
        ...

    def restore(self, scales: Scales) -> None:
        """Take up the scales of an earlier process."""
        ...


class PlainSums:
    """Contributions arrive in the clear and are averaged in float64: for research, and for one partner alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._n_sums = 0

    def start(self) -> Traffic:
        """Nothing to agree on."""
        return Traffic()

    def collect(self, request: Request) -> PartnersSum:
        """Ask every partner for a contribution and average them.

        Raises:
            MessageError: An answer that is none to this request.
        """
        told = exchange(self._engine, encode(request.frame_of(self._n_sums, False)))
        self._n_sums += 1
        contributions = [_contribution(frame, request.layout) for frame in told.replies]
        return PartnersSum(
            mean=federated_average(contributions),
            total_weight=sum(contribution.weight for contribution in contributions),
            n_clipped=0,
            traffic=Traffic().plus(told),
        )

    @property
    def scales(self) -> Scales:
        """None: float64 has no grid to choose."""
        return {}

    def restore(self, scales: Scales) -> None:
        """Nothing to take up."""


class SecureSums:
    """The coordinator learns the sum and no contribution (`secagg`, tier A).

    Before a layout's first sum, the scales of its tensors are found from a sum of magnitudes, one number a tensor;
    later ones follow from the last sum. A sum with clipped elements is made again on a coarser grid, of the same
    contributions among the same contributors.
    """

    def __init__(self, engine: Engine, members: Sequence[Member], *, n_colluders: int, ring_degree: int) -> None:
        """Members: every partner of the engine, sorted by id."""
        self._engine = engine
        self._members = tuple(members)
        self._n_colluders = n_colluders
        self._ring_degree = ring_degree
        self._directory: Directory | None = None
        self._scales: Scales = {}
        self._n_sums = 0

    def start(self) -> Traffic:
        """Open a new session: signed keys from each partner, and all of them to each.

        Raises:
            KeyExchangeError: A key that its pinned identity did not sign.
        """
        roster = Roster(
            session=os.urandom(32),
            members=self._members,
            n_colluders=self._n_colluders,
            ring_degree=self._ring_degree,
        )
        asked = exchange(self._engine, encode(SessionRequest(session=roster.session)))
        offers = {offer.partner: offer for offer in _expect(KeyOffer, asked)}
        ordered = tuple(offers[partner] for partner in sorted_ids(list(offers)))
        self._directory = Directory(roster=roster, offers=ordered)
        told = exchange(self._engine, encode_secure(KeyOffers(offers=ordered)))
        require_done(told)
        self._n_sums = 0
        return Traffic().plus(asked).plus(told)

    def collect(self, request: Request) -> PartnersSum:
        """Ask every partner for a contribution and learn their weighted mean.

        Raises:
            MessageError: An answer that is none to this request.
            RoundLostError: A partner was lost on the way.
        """
        name = request.layout.digest.hex()
        exponents, traffic = self._scales.get(name), Traffic()
        if exponents is None:
            exponents, traffic = self._find_scales(partial(request.frame_of, self._n_sums, True), request)
            ask: Ask = self._repeat(of_magnitudes=False)
        else:
            ask = partial(request.frame_of, self._n_sums, False)
        for n_repeats in range(MAX_REPEATS + 1):
            found, took = self._sum(ask, request, request.layout, exponents)
            traffic = traffic.plus(took)
            if not found.n_clipped:
                break
            exponents = [max(exponent - COARSER_BITS, -MAX_EXPONENT) for exponent in exponents]
            if n_repeats == 0:
                exponents, took = self._find_scales(self._repeat(of_magnitudes=True), request)
                traffic = traffic.plus(took)
            ask = self._repeat(of_magnitudes=False)
        self._scales[name] = list(next_exponents(found, request.layout, tuple(exponents)))
        return PartnersSum(
            mean=found.mean(), total_weight=found.total_weight, n_clipped=found.n_clipped, traffic=traffic
        )

    def _repeat(self, *, of_magnitudes: bool) -> Ask:
        return partial(Repeat, sum_index=self._n_sums, magnitudes=of_magnitudes)

    def _find_scales(self, ask: Ask, request: Request) -> tuple[list[int], Traffic]:
        """Exponents that suit the geometric mean of the partners' largest |x w| of each tensor."""
        layout = magnitude_layout(request.layout)
        room = math.floor(math.log2(float(clip_limit(len(self._members)))))
        coarse = [room - MAGNITUDE_BITS] * len(layout.lengths)
        plan = replace(request, weight_bits=0)
        found, traffic = self._sum(ask, plan, layout, coarse)
        logs = np.floor(found.mean() - request.weight_bits).astype(int)
        fits = np.clip(room - HEADROOM_BITS - 1 - logs, -MAX_EXPONENT, MAX_EXPONENT)
        return [int(exponent) for exponent in fits], traffic

    def _sum(self, ask: Ask, request: Request, layout: Layout, exponents: Sequence[int]) -> tuple[WeightedSum, Traffic]:
        if self._directory is None:
            raise MessageError("the session of secure sums is not open")
        plan = RoundPlan(
            round_index=self._n_sums,
            tier=Tier.COMMIT_THEN_MASK,
            layout=layout,
            model_digest=request.model_digest,
            exponents=tuple(exponents),
            weight_bits=request.weight_bits,
        )
        self._n_sums += 1
        asked = exchange(self._engine, encode(ask()))  # a broadcast is as long as the model: nobody keeps it
        server = open_round(self._directory, plan, _expect(Ready, asked))

        one_at_a_time = Lock()

        def add(_: str, reply: Incoming) -> None:
            nonlocal server
            with one_at_a_time:
                server = server.add(_expected(MaskedUpdate, reply.whole()))

        masked = exchange_each(self._engine, encode_secure(server.header), add)
        return server.finish(), Traffic().plus(asked).plus(masked)

    @property
    def scales(self) -> Scales:
        """Exponents of each layout's next sum."""
        return {name: list(exponents) for name, exponents in self._scales.items()}

    def restore(self, scales: Scales) -> None:
        """Take up the exponents of an earlier process, so that a resumed run sums on the same grid."""
        self._scales = {name: list(exponents) for name, exponents in scales.items()}


def require_done(told: Exchange) -> None:
    """Refuse any answer but Done.

    Raises:
        MessageError: A partner said something else.
    """
    for frame in told.replies:
        if not is_learning_frame(frame) or not isinstance(decode(frame), Done):
            raise MessageError("a partner did not confirm what it was told")


def _contribution(frame: bytes, layout: Layout) -> Contribution:
    message = decode(frame)
    if not isinstance(message, Contribution) or message.values.size != layout.length:
        raise MessageError(f"expected a contribution of {layout.length} values, got {type(message).__name__}")
    return message


def _expect(kind: type[SecureT], told: Exchange) -> list[SecureT]:
    return [_expected(kind, frame) for frame in told.replies]


def _expected(kind: type[SecureT], frame: bytes) -> SecureT:
    message = decode_secure(frame)
    if not isinstance(message, kind):
        raise MessageError(f"expected a {kind.__name__} frame, got {type(message).__name__}")
    return message
