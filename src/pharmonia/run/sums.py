"""Sums over the partners, secure or plain: the coordinator's side. Read `Sums` first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError, RoundLostError
from pharmonia.learn.contributions import Contribution, federated_average
from pharmonia.learn.messages import Message, Repeat, decode, encode
from pharmonia.run.cohorts import Cohorts
from pharmonia.run.engine import Engine, exchange
from pharmonia.run.grids import COARSER_BITS, MAGNITUDE_BITS, WEIGHT_BITS, is_coarser, magnitude_exponents
from pharmonia.run.sum_rounds import CommitThenMask, DropoutTolerant, Rounds, Traffic, require_done
from pharmonia.run.tensors import magnitude_layout
from pharmonia.secagg.fixedpoint import HEADROOM_BITS, WeightedSum, next_exponents
from pharmonia.secagg.header import MAX_EXPONENT, Layout, Tier
from pharmonia.secagg.roster import Member, Roster
from pharmonia.secagg.server import RoundPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnersSum:
    """What a sum over the partners gave, and took.

    Args:
        mean: (length,) float64, the contributions averaged by their weights.
        total_weight: Sum of the weights.
        n_clipped: Elements clipped in the sum that the mean is of: 0, for a sum with clipped elements is not used.
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
    """

    frame_of: Callable[[int, bool], Message]
    layout: Layout
    model_digest: bytes


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

    def tell(self, message: Message) -> None:
        """Tell every partner."""
        require_done(exchange(self._engine, encode(message)).replies)


class SecureSums:
    """The coordinator learns the sum and no contribution (`secagg`).

    Before a layout's first sum, the scales of its tensors are found from a sum of magnitudes, one number a tensor;
    later ones follow from the last sum. A sum with clipped elements is noise and is not used: it is made again on a
    coarser grid, of the same contributions among the same contributors; if one of those has gone away, or no grid is
    coarse enough, the round is lost.
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
            RoundLostError: Too many were, or one while a sum was made again (tier B); or elements are clipped on every
                grid.
        """
        name = request.layout.digest.hex()
        exponents, traffic = self._scales.get(name), Traffic()
        if is_new := exponents is None:
            exponents, traffic = self._find_scales(lambda index: request.frame_of(index, True), request)
            found, took = self._sum(_repeated, request, exponents)
        else:
            found, took = self._sum(lambda index: request.frame_of(index, False), request, exponents)
        traffic = traffic.plus(took)
        if found.n_clipped:
            found, took = self._again(found, request, scales_are_new=is_new)
            traffic = traffic.plus(took)
        self._scales[name] = list(next_exponents(found))
        return PartnersSum(
            mean=found.mean(), total_weight=found.total_weight, n_clipped=found.n_clipped, traffic=traffic
        )

    def _again(self, clipped: WeightedSum, request: Request, *, scales_are_new: bool) -> tuple[WeightedSum, Traffic]:
        """The sum of the same contributions among the same partners, on a grid that holds them."""
        found, among, traffic = clipped, clipped.contributors, Traffic()
        for n_repeats, bits in enumerate(COARSER_BITS):
            last = found.header.exponents
            coarser = tuple(max(exponent - bits, -MAX_EXPONENT) for exponent in last)
            if n_repeats == 0 and not scales_are_new:
                fitting, took = self._find_scales(_repeated_magnitudes, request, among)
                traffic = traffic.plus(took)
                both = tuple(map(min, fitting, last))  # the partners mask it again on a coarser grid only
                coarser = both if is_coarser(both, last) else coarser
            if not is_coarser(coarser, last):
                break
            found, took = self._sum(_repeated, request, coarser, among)
            traffic = traffic.plus(took)
            if not found.n_clipped:
                return found, traffic
        raise RoundLostError(f"{found.n_clipped} elements are too large for the coarsest grid; the sum is not made")

    def _find_scales(
        self, ask: Ask, request: Request, among: tuple[str, ...] | None = None
    ) -> tuple[list[int], Traffic]:
        """Exponents that suit the geometric mean of the partners' largest |x w| of each tensor."""
        layout = magnitude_layout(request.layout)
        coarse = magnitude_exponents(len(layout.lengths), self._n_members)
        found, traffic = self._rounds.sum(*self._planned(ask, request, layout, coarse, weight_bits=0), among)
        logs = np.floor(found.mean() - WEIGHT_BITS).astype(int)
        room = coarse[0] + MAGNITUDE_BITS
        fits = np.clip(room - HEADROOM_BITS - 1 - logs, -MAX_EXPONENT, MAX_EXPONENT)
        return [int(exponent) for exponent in fits], traffic

    def _sum(
        self, ask: Ask, request: Request, exponents: Sequence[int], among: tuple[str, ...] | None = None
    ) -> tuple[WeightedSum, Traffic]:
        planned = self._planned(ask, request, request.layout, exponents, weight_bits=WEIGHT_BITS)
        return self._rounds.sum(*planned, among)

    def _planned(
        self, ask: Ask, request: Request, layout: Layout, exponents: Sequence[int], *, weight_bits: int
    ) -> tuple[Message, RoundPlan]:
        plan = RoundPlan(
            round_index=self._n_sums,
            tier=self._tier,
            layout=layout,
            model_digest=request.model_digest,
            exponents=tuple(exponents),
            weight_bits=weight_bits,
        )
        self._n_sums += 1
        return ask(plan.round_index), plan

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
