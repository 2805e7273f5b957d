"""Parties reduced to their protection, and a net on which frames and answers are lost, read and changed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import (
    PharmoniaError,
    UnreachableError,
)
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import Broadcast, Done, Repeat, SessionRequest, decode, encode, is_learning_frame
from pharmonia.learn.messages import Message as LearnMessage
from pharmonia.run.cohorts import COHORTS_FILE, Cohorts, place_of
from pharmonia.run.engine import Exchange, OnReply
from pharmonia.run.protection import Masked, SecureTerms, Work
from pharmonia.run.sums import PartnersSum, Request, Scales, SecureSums
from pharmonia.run.tensors import VALIDATION, digest_of
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.messages import (
    ConfirmedSurvivors,
    KeyOffers,
    Message,
    SurvivorSet,
)
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.roster import Member

LAYOUT = Layout(names=("wide", "one"), lengths=(60, 1))
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve")
FOUR, THREE = NAMES[:4], NAMES[:3]
SERVER = "server"  # its folder
IDENTITIES = {name: IdentityKey.generate() for name in NAMES}

Kind = type[LearnMessage] | type[Message]
STEPS: dict[str, Kind] = {
    "key offer": SessionRequest,
    "key offers told": KeyOffers,
    "READY": Broadcast,
    "header": RoundHeader,
    "survivors": SurvivorSet,
    "confirmation": ConfirmedSurvivors,
}
AFTER_UPDATE = ("survivors", "confirmation")  # the masked update has arrived by then


def message_in(frame: bytes) -> LearnMessage | Message:
    return decode(frame) if is_learning_frame(frame) else decode_secure(frame)


def start(number: int) -> Vector:
    """A shared vector for each number."""
    return np.array([float(number), 0.5])


def contribution(index: int, number: int = 0, scale: float = 1e-3) -> Contribution:
    """What a partner contributes that starts from the vector of that number."""
    rng = np.random.default_rng([index, number])
    values = np.append(rng.normal(scale=scale, size=60), 7.5).astype(np.float32)
    return Contribution(weight=100 + index, values=values)


class Vault:
    """A party reduced to its protection: from one start, it contributes the same vector whenever it is asked."""

    def __init__(self, protection: Masked, index: int) -> None:
        self.protection = protection
        self.index = index
        self.scale = 1e-3
        self.n_made = 0

    def handle(self, frame: bytes) -> bytes:
        if not is_learning_frame(frame):
            return self.protection.answer(decode_secure(frame))
        match decode(frame):
            case SessionRequest() as request:
                return self.protection.start_session(request)
            case Repeat() as request:
                return self.protection.repeat(request)
            case Broadcast(sum_index=index, magnitudes=magnitudes, parameters=parameters, train=train) as request:
                digest = digest_of(parameters)
                make = partial(self._make, int(parameters[0])) if train else self._validate
                work = Work(
                    place=place_of(request),
                    sum_index=index,
                    magnitudes=magnitudes,
                    layout=LAYOUT if train else VALIDATION,
                    model_digest=digest,
                    make=make,
                )
                return self.protection.announce(work)
            case _:
                return encode(Done())

    def _make(self, number: int) -> Contribution:
        self.n_made += 1
        return self.contribution(number)

    def _validate(self) -> Contribution:
        self.n_made += 1
        return Contribution(weight=1, values=np.array([0.0, 0.0, 2.5 + self.index, 30.0], dtype=np.float32))

    def contribution(self, number: int) -> Contribution:
        return contribution(self.index, number, self.scale)


@dataclass(frozen=True)
class BrokenOff:
    """An answer whose end does not come."""

    frame: bytes

    @property
    def length(self) -> int:
        return len(self.frame)

    @property
    def at_hand(self) -> bytes | None:
        return None

    def parts(self) -> Iterator[bytes]:
        yield self.frame[: len(self.frame) // 2]
        raise UnreachableError("broke off")

    def whole(self) -> bytes:
        return b"".join(self.parts())


@dataclass(frozen=True)
class Whole(BrokenOff):
    """An answer that takes its time."""

    def parts(self) -> Iterator[bytes]:
        yield self.frame


@dataclass
class Net:
    """An engine over vaults, on whose lines frames and answers are lost, read and changed."""

    vaults: dict[str, Vault]
    is_lost: Callable[[str, LearnMessage | Message], bool] = lambda name, message: False
    breaks_off: Callable[[str, LearnMessage | Message], bool] = lambda name, message: False
    change: Callable[[str, bytes], bytes] = lambda name, frame: frame
    ignores_refusals: bool = False  # as a server does that wants to learn more
    lost: dict[str, str] = field(default_factory=dict)
    sent: list[tuple[str, LearnMessage | Message]] = field(default_factory=list)
    answered: list[tuple[str, LearnMessage | Message]] = field(default_factory=list)
    refused: dict[str, PharmoniaError] = field(default_factory=dict)

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(self.vaults)

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        for name, frame in frames.items():
            try:
                self._carry(name, frame, on_reply)
            except UnreachableError as error:
                self.lost[name] = str(error)
        lost = {name: self.lost[name] for name in frames if name in self.lost}
        return Exchange(replies=(), bytes_to_partners=1, bytes_from_partners=1, wall_s=0.0, cpu_s=0.0, lost=lost)

    def _carry(self, name: str, frame: bytes, on_reply: OnReply) -> None:
        message = message_in(frame)
        self.sent.append((name, message))
        if name in self.lost or self.is_lost(name, message):
            raise UnreachableError(f"{name} is away")
        try:
            reply = self.vaults[name].handle(self.change(name, frame))
        except PharmoniaError as error:
            self.refused[name] = error
            if self.ignores_refusals:
                raise UnreachableError(f"{name} refuses") from error
            raise
        self.answered.append((name, message_in(reply)))
        on_reply(name, BrokenOff(reply) if self.breaks_off(name, message) else Whole(reply))

    def n_answered(self, kind: Kind) -> int:
        return sum(isinstance(message, kind) for _, message in self.answered)

    def asked(self, kind: Kind) -> list[str]:
        return [name for name, message in self.sent if isinstance(message, kind)]

    def repair(self) -> None:
        """Everybody can be reached again, and what was said is forgotten."""
        self.is_lost = self.breaks_off = lambda name, message: False
        self.change = lambda name, frame: frame
        self.ignores_refusals = False
        for record in (self.lost, self.refused, self.sent, self.answered):
            record.clear()


def members(names: tuple[str, ...]) -> tuple[Member, ...]:
    return tuple(Member(id=name, identity=IDENTITIES[name].public) for name in names)


def consortium(folder: Path, names: tuple[str, ...] = FOUR, tier: Tier = Tier.DROPOUT_TOLERANT) -> Net:
    """Vaults with folders of their own; one partner may collude."""
    vaults = {}
    for index, name in enumerate(NAMES):
        terms = SecureTerms(
            partner=name, identity=IDENTITIES[name], members=members(names), n_colluders=1, ring_degree=4, tier=tier
        )
        if name in names:
            vaults[name] = Vault(Masked(terms, folder / name), index)
    return Net(vaults)


def sums_over(net: Net, folder: Path, tier: Tier = Tier.DROPOUT_TOLERANT) -> SecureSums:
    """The coordinator, as a new process would be."""
    cohorts = Cohorts(folder / SERVER / COHORTS_FILE) if tier is Tier.DROPOUT_TOLERANT else None
    return SecureSums(net, members(net.partners), n_colluders=1, ring_degree=4, cohorts=cohorts)


def request(number: int) -> Request:
    """For contributions of that round, which start from the shared vector of that number."""
    return request_from(number, start(number))


def request_from(round_index: int, parameters: Vector, *, train: bool = True) -> Request:
    """For contributions of a round that start from a shared vector."""
    return Request(
        frame_of=lambda index, magnitudes: Broadcast(
            sum_index=index, magnitudes=magnitudes, round_index=round_index, step=0, n_steps=1, train=train, save=False,
            best_round=-1, parameters=parameters,
        ),
        layout=LAYOUT if train else VALIDATION,
        model_digest=digest_of(parameters),
    )  # fmt: skip


SCALES: Scales = {LAYOUT.digest.hex(): [36, 24], VALIDATION.digest.hex(): [12] * 4}


def started(net: Net, folder: Path, tier: Tier = Tier.DROPOUT_TOLERANT) -> SecureSums:
    """At work on a grid that is known, so that a sum takes one round."""
    sums = sums_over(net, folder, tier)
    sums.start()
    sums.restore(SCALES)
    return sums


def expected(folder: Path, names: tuple[str, ...], number: int) -> PartnersSum:
    """What tier A gives over exactly these partners, on the same grid."""
    tier = Tier.COMMIT_THEN_MASK
    found = started(consortium(folder, names, tier), folder, tier).collect(request(number))
    assert found.n_clipped == 0
    return found


def assert_is_sum_of(found: PartnersSum, folder: Path, names: tuple[str, ...], number: int = 0) -> None:
    other = expected(folder / f"expected-{number}", names, number)
    np.testing.assert_array_equal(found.mean, other.mean)
    assert found.total_weight == other.total_weight == sum(contribution(NAMES.index(name)).weight for name in names)


def without(names: tuple[str, ...], *lost: str) -> tuple[str, ...]:
    return tuple(name for name in names if name not in lost)


def at(step: str, *lost: str) -> Callable[[str, LearnMessage | Message], bool]:
    return lambda name, message: name in lost and isinstance(message, STEPS[step])
