"""The server's side of secure sums: it opens rounds, adds masked updates and learns their sum.

READ THIS FIRST: `open_round`, `add` and `finish` are a round of tier A; in tier B `propose`, `add_signature`,
`confirm`, `add_reveal` and `finish` follow the uploads. Each step gives the next state; a refused message leaves the
state as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import MessageError, RoundLostError, SurvivorsError
from pharmonia.secagg.fixedpoint import WeightedSum, decode_counts, decode_sum
from pharmonia.secagg.header import Layout, RoundHeader, Tier, Words
from pharmonia.secagg.messages import (
    ConfirmedSurvivors,
    MaskedUpdate,
    Ready,
    Reveal,
    SurvivorSet,
    SurvivorSignature,
)
from pharmonia.secagg.roster import Directory, is_signed, sorted_ids
from pharmonia.secagg.streams import add_streams, aligned_words
from pharmonia.secagg.survivors import refusal
from pharmonia.secagg.unmasking import check_reveal, unmasking_streams

ValueT = TypeVar("ValueT")


class _Total:
    """The running sum, added to in place: vectors are too large to keep one per state."""

    __slots__ = ("n_added", "words")

    def __init__(self, header: RoundHeader) -> None:
        self.words = aligned_words(header.n_words, header.dtype)
        self.n_added = 0

    def add(self, words: Words) -> None:
        if self.n_added:
            np.add(self.words, words, out=self.words)
        else:
            np.copyto(self.words, words)
        self.n_added += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """What the server asks of a round.

    Args:
        round_index: Above every earlier one of the session.
        tier: Per header.
        layout: Of the vectors.
        model_digest: Of the model that the updates start from.
        exponents: One scale per tensor; empty to sum counts.
        weight_bits: Weights are at most 2^weight_bits; 0 to sum counts.
    """

    round_index: int
    tier: Tier
    layout: Layout
    model_digest: bytes
    exponents: tuple[int, ...]
    weight_bits: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerRound:
    """A round between its header and its sum.

    Guarantees:
        only_the_sum_is_learnt: The words of one partner are added to the total and not kept.
    """

    directory: Directory
    layout: Layout
    header: RoundHeader
    total: _Total = field(repr=False)
    arrived: Mapping[str, MaskedUpdate] = field(repr=False)  # without their words
    survivors: SurvivorSet | None = None
    signatures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    is_confirmed: bool = False
    reveals: Mapping[str, Reveal] = field(default_factory=dict, repr=False)

    def add(self, update: MaskedUpdate) -> "ServerRound":
        """Add a masked update to the sum; this state is used up.

        Raises:
            MessageError: Masked under another header, twice, too late, of a wrong size, or to a used state.
        """
        self.check(update)
        if self.total.n_added != len(self.arrived):
            raise MessageError(f"round {self.header.round_index} has gone on from this state")
        self.total.add(update.words)
        return self.with_arrived(update)

    def check(self, update: MaskedUpdate) -> None:
        """Refuse an update that `add` would refuse, whatever its words; raises as that does."""
        header, partner = self.header, update.partner
        n_boxes = len(header.contributors) - 1 if header.tier is Tier.DROPOUT_TOLERANT else 0
        if self.survivors or partner not in header.contributors or partner in self.arrived:
            raise MessageError(f"round {header.round_index} expects no update from {partner}")
        if update.round_digest != header.digest:
            raise MessageError(f"{partner} masked under another header than that of round {header.round_index}")
        if update.words.shape != (header.n_words,) or update.words.dtype != header.dtype:
            raise MessageError(f"{partner}: expected {header.n_words} words, got {update.words.shape}")
        if len(update.boxes) != n_boxes or bool(update.seed_digest) != bool(n_boxes):
            raise MessageError(f"{partner}: expected {n_boxes} boxes, got {len(update.boxes)}")

    def with_arrived(self, update: MaskedUpdate) -> "ServerRound":
        """The state once the update's words are in the total; of the update all else is kept."""
        kept = replace(update, words=np.empty(0, dtype=self.header.dtype))
        return replace(self, arrived=_with(self.arrived, update.partner, kept))

    @property
    def missing(self) -> tuple[str, ...]:
        """Contributors whose masked update has not arrived."""
        return tuple(partner for partner in self.header.contributors if partner not in self.arrived)

    def propose(self) -> tuple["ServerRound", SurvivorSet]:
        """Close the uploads of tier B and name the survivors, once.

        Raises:
            RoundLostError: Too few are left to unmask.
            MessageError: Tier A, or proposed before.
        """
        if self.header.tier is not Tier.DROPOUT_TOLERANT or self.survivors:
            raise MessageError(f"round {self.header.round_index} names survivors once, and only in tier B")
        alive = tuple(partner for partner in self.header.contributors if partner in self.arrived)
        if reason := refusal(self.directory.roster, self.header, alive):
            raise RoundLostError(f"round {self.header.round_index}: {reason}")
        survivors = SurvivorSet(round_digest=self.header.digest, survivors=alive)
        return replace(self, survivors=survivors), survivors

    def add_signature(self, message: SurvivorSignature) -> "ServerRound":
        """Take a survivor's signature on the set.

        Raises:
            SurvivorsError: Not a survivor's, or not on this set.
        """
        survivors = self._survivors()
        if message.partner not in survivors.survivors or message.round_digest != survivors.round_digest:
            raise SurvivorsError(f"{message.partner} is no survivor of round {self.header.round_index}")
        identity = self.directory.roster.identity_of(message.partner)
        if not is_signed(identity, message.signature, survivors.text):
            raise SurvivorsError(f"{message.partner}: the signature is not on the survivors that we proposed")
        return replace(self, signatures=_with(self.signatures, message.partner, message.signature))

    def confirm(self) -> tuple["ServerRound", Mapping[str, ConfirmedSurvivors]]:
        """What to send to each survivor that signed: enough signatures, and its boxes.

        Raises:
            RoundLostError: Too few signed.
        """
        survivors = self._survivors()
        threshold = self._threshold()
        if len(self.signatures) < threshold:
            raise RoundLostError(f"{len(self.signatures)} survivors signed; {threshold} are needed")
        signers = tuple(sorted_ids(list(self.signatures))[:threshold])
        messages = {
            partner: ConfirmedSurvivors(
                survivors=survivors,
                signers=signers,
                signatures=tuple(self.signatures[signer] for signer in signers),
                boxes=tuple(self._box(sender, partner) for sender in survivors.survivors if sender != partner),
            )
            for partner in self.signatures
        }
        return replace(self, is_confirmed=True), MappingProxyType(messages)

    def _box(self, sender: str, recipient: str) -> bytes:
        others = [partner for partner in self.header.contributors if partner != sender]
        return self.arrived[sender].boxes[others.index(recipient)]

    def add_reveal(self, reveal: Reveal) -> "ServerRound":
        """Take a survivor's shares and round keys.

        Raises:
            MessageError: Not from a survivor that signed, twice, of another round, or of a wrong size.
        """
        if not self.is_confirmed or reveal.partner not in self.signatures or reveal.partner in self.reveals:
            raise MessageError(f"round {self.header.round_index} expects no reveal from {reveal.partner}")
        check_reveal(self.header, self._survivors().survivors, reveal)
        return replace(self, reveals=_with(self.reveals, reveal.partner, reveal))

    def finish(self) -> WeightedSum:
        """The sum of values; the state is used up.

        Raises:
            RoundLostError: A masked update (tier A) or a needed reveal (tier B) has not come.
            MessageError: The round sums counts; shares that do not fit; or a used state.
        """
        if self.header.is_counts:
            raise MessageError(f"round {self.header.round_index} sums counts, not values")
        contributors = self._unmask()
        return decode_sum(self.total.words, self.layout, self.header, contributors)

    def finish_counts(self) -> npt.NDArray[np.uint16]:
        """(length,) counts; otherwise as `finish`."""
        if not self.header.is_counts:
            raise MessageError(f"round {self.header.round_index} sums values, not counts")
        self._unmask()
        return decode_counts(self.total.words)

    def _unmask(self) -> tuple[str, ...]:
        if self.total.n_added != len(self.arrived):
            raise MessageError(f"round {self.header.round_index} has gone on from this state")
        if self.header.tier is Tier.COMMIT_THEN_MASK:
            if self.missing:
                raise RoundLostError(f"round {self.header.round_index}: {', '.join(self.missing)} went after READY")
            contributors = self.header.contributors
        else:
            contributors = self._survivors().survivors
            if len(self.reveals) < self._threshold():
                raise RoundLostError(f"{len(self.reveals)} survivors answered; {self._threshold()} are needed")
            seeds = {partner: self.arrived[partner].seed_digest for partner in contributors}
            answers = [self.reveals[partner] for partner in sorted_ids(list(self.reveals))]
            add_streams(self.total.words, unmasking_streams(self.header, seeds, answers, self._threshold()))
        self.total.n_added += 1  # used up
        return contributors

    def _survivors(self) -> SurvivorSet:
        if self.survivors is None:
            raise MessageError(f"round {self.header.round_index} has not named its survivors")
        return self.survivors

    def _threshold(self) -> int:
        return self.directory.roster.share_threshold(len(self.header.contributors))


def _with(mapping: Mapping[str, ValueT], key: str, value: ValueT) -> Mapping[str, ValueT]:
    return MappingProxyType({**mapping, key: value})


def open_round(directory: Directory, plan: RoundPlan, readies: Sequence[Ready]) -> ServerRound:
    """A round among those who said READY; send its header to each of them.

    Raises:
        MessageError: A READY for another session, round, layout or model, from a stranger, or a second one.
        RoundLostError: Fewer than a sum may be made of.
    """
    expected = (directory.roster.session, plan.round_index, plan.layout.digest, plan.model_digest)
    for ready in readies:
        if (ready.session, ready.round_index, ready.layout_digest, ready.model_digest) != expected:
            raise MessageError(f"{ready.partner} is ready for something else than round {plan.round_index}")
    ids = [ready.partner for ready in readies]
    if len(set(ids)) != len(ids) or not set(ids) <= set(directory.partners):
        raise MessageError(f"expected one READY from each partner of the session, got {sorted(ids)}")
    if len(ids) < directory.roster.min_contributors:
        raise RoundLostError(f"{len(ids)} partners are ready; a sum takes {directory.roster.min_contributors}")
    header = RoundHeader(
        session=directory.roster.session,
        round_index=plan.round_index,
        tier=plan.tier,
        word_bytes=4 if plan.exponents else 2,
        length=plan.layout.length,
        degree=directory.roster.degree(len(ids)),
        weight_bits=plan.weight_bits,
        exponents=plan.exponents,
        layout_digest=plan.layout.digest,
        model_digest=plan.model_digest,
        contributors=tuple(sorted_ids(ids)),
    )
    if plan.exponents and len(plan.exponents) != len(plan.layout.lengths):
        raise MessageError(f"{len(plan.layout.lengths)} tensors need a scale each, got {len(plan.exponents)}")
    return ServerRound(directory=directory, layout=plan.layout, header=header, total=_Total(header), arrived={})
