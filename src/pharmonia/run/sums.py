"""Sums over the partners, secure or plain: the coordinator's side. Read `Sums` first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError, RoundLostError
from pharmonia.learn.contributions import Contribution, federated_average
from pharmonia.learn.messages import Message, Repeat, decode, encode
from pharmonia.run.cohorts import Cohorts
from pharmonia.run.engine import Engine, exchange
from pharmonia.run.sum_rounds import CommitThenMask, DropoutTolerant, Rounds, Traffic, require_done
from pharmonia.run.tensors import MAGNITUDE_BITS, magnitude_layout
from pharmonia.secagg.fixedpoint import HEADROOM_BITS, WeightedSum, clip_limit, next_exponents
from pharmonia.secagg.header import MAX_EXPONENT, Layout, Tier
from pharmonia.secagg.roster import Member, Roster
from pharmonia.secagg.server import RoundPlan

MAX_REPEATS = 8  # of a sum with clipped elements
COARSER_BITS = 4
MAX_WEIGHT_BITS = 24


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
Ask = Callable[[int], Message]  # from the index of a sum, the message that asks for it


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

    def tell(self, message: Message) -> None:
        """Tell the partners something to which there is nothing to say."""
        ...

    @property
    def may_change(self) -> bool:
        """Whether partners come and go, so that a later sum may be of more rows than an earlier one was."""
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

    @property
    def may_change(self) -> bool:
        """No: a sum is of every partner's."""
        return False

    def tell(self, message: Message) -> None:
        """Tell every partner."""
        require_done(exchange(self._engine, encode(message)).replies)


class SecureSums:
    """The coordinator learns the sum and no contribution (`secagg`).

    Before a layout's first sum, the scales of its tensors are found from a sum of magnitudes, one number a tensor;
    later ones follow from the last sum. A sum with clipped elements is made again on a coarser grid, of the same
    contributions among the same contributors; if one of those has gone away, it stands as it is.
    """

    def __init__(
        self,
        engine: Engine,
        members: Sequence[Member],
        *,
        n_colluders: int,
        ring_degree: int,
        cohorts: Cohorts | None = None,
        min_cohort: int = 2,
    ) -> None:
        """Make sums; `start` opens their session.

        Args:
            engine: Reaches the partners.
            members: Every partner of the engine, sorted by id.
            n_colluders: As the parties hold it.
            ring_degree: As the parties hold it.
            cohorts: Remembers among whom was summed, where sums go on without a partner that goes away (tier B); None
                where it ends them (tier A).
            min_cohort: In tier B, partners that a sum is made of at least, besides what its secrecy needs.
        """

        def roster_of(session: bytes) -> Roster:
            return Roster(session=session, members=tuple(members), n_colluders=n_colluders, ring_degree=ring_degree)

        self._n_members = len(members)
        self._tier = Tier.COMMIT_THEN_MASK if cohorts is None else Tier.DROPOUT_TOLERANT
        self._rounds: Rounds = (
            CommitThenMask(engine, roster_of)
            if cohorts is None
            else DropoutTolerant(engine, roster_of, cohorts, min_cohort)
        )
        self._scales: Scales = {}
        self._n_sums = 0

    def start(self) -> Traffic:
        """Open a new session: signed keys from each partner, and all of them to each.

        Raises:
            KeyExchangeError: A key that its pinned identity did not sign.
        """
        traffic = self._rounds.start()
        self._n_sums = 0
        return traffic

    def collect(self, request: Request) -> PartnersSum:
        """Ask the partners for a contribution and learn their weighted mean.

        Raises:
            MessageError: An answer that is none to this request.
            UnreachableError: A partner was lost on the way (tier A).
            RoundLostError: Too many were (tier B).
        """
        name, n_present = request.layout.digest.hex(), self._rounds.n_present
        exponents, traffic = self._scales.get(name), Traffic()
        if exponents is None:
            exponents, traffic = self._find_scales(lambda index: request.frame_of(index, True), request)
            found, took = self._sum(_repeated, request, request.layout, exponents)
        else:
            found, took = self._sum(lambda index: request.frame_of(index, False), request, request.layout, exponents)
        traffic = traffic.plus(took)
        for n_repeats in range(MAX_REPEATS):
            if not found.n_clipped or self._rounds.n_present < n_present:
                break
            coarser = [max(exponent - COARSER_BITS, -MAX_EXPONENT) for exponent in exponents]
            try:
                if n_repeats == 0:
                    coarser, took = self._find_scales(_repeated_magnitudes, request)
                    traffic = traffic.plus(took)
                found, took = self._sum(_repeated, request, request.layout, coarser)
            except RoundLostError:  # a partner went away, and with others these contributions are not summed
                break
            exponents, traffic = coarser, traffic.plus(took)
        self._scales[name] = list(next_exponents(found))
        return PartnersSum(
            mean=found.mean(), total_weight=found.total_weight, n_clipped=found.n_clipped, traffic=traffic
        )

    def _find_scales(self, ask: Ask, request: Request) -> tuple[list[int], Traffic]:
        """Exponents that suit the geometric mean of the partners' largest |x w| of each tensor."""
        layout = magnitude_layout(request.layout)
        room = math.floor(math.log2(float(clip_limit(self._n_members))))
        coarse = [room - MAGNITUDE_BITS] * len(layout.lengths)
        plan = replace(request, weight_bits=0)
        found, traffic = self._sum(ask, plan, layout, coarse)
        logs = np.floor(found.mean() - request.weight_bits).astype(int)
        fits = np.clip(room - HEADROOM_BITS - 1 - logs, -MAX_EXPONENT, MAX_EXPONENT)
        return [int(exponent) for exponent in fits], traffic

    def _sum(self, ask: Ask, request: Request, layout: Layout, exponents: Sequence[int]) -> tuple[WeightedSum, Traffic]:
        plan = RoundPlan(
            round_index=self._n_sums,
            tier=self._tier,
            layout=layout,
            model_digest=request.model_digest,
            exponents=tuple(exponents),
            weight_bits=request.weight_bits,
        )
        self._n_sums += 1
        return self._rounds.sum(ask(plan.round_index), plan)

    @property
    def may_change(self) -> bool:
        """In tier B."""
        return self._tier is Tier.DROPOUT_TOLERANT

    def tell(self, message: Message) -> None:
        """Tell the partners that are there."""
        self._rounds.tell(message)

    @property
    def scales(self) -> Scales:
        """Exponents of each layout's next sum."""
        return {name: list(exponents) for name, exponents in self._scales.items()}

    def restore(self, scales: Scales) -> None:
        """Take up the exponents of an earlier process, so that a resumed run sums on the same grid."""
        self._scales = {name: list(exponents) for name, exponents in scales.items()}


def _repeated(index: int) -> Message:
    return Repeat(sum_index=index, magnitudes=False)


def _repeated_magnitudes(index: int) -> Message:
    return Repeat(sum_index=index, magnitudes=True)


def _contribution(frame: bytes, layout: Layout) -> Contribution:
    message = decode(frame)
    if not isinstance(message, Contribution) or message.values.size != layout.length:
        raise MessageError(f"expected a contribution of {layout.length} values, got {type(message).__name__}")
    return message
