"""A partner's side of secure sums: pure transitions from a session and a message to a session and a message.

READ THIS FIRST: `commit`, `prepare_mask` and `masked_update` are a round of tier A; `sign_survivors` and `reveal` end
one of tier B. A refused message leaves the session as it was.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import HeaderError, KeyExchangeError, MessageError, ReplayError, SurvivorsError
from pharmonia.secagg.fixedpoint import Values, encode_counts_onto, encode_onto
from pharmonia.secagg.header import MAX_ROUND, Layout, RoundHeader, Tier, neighbours
from pharmonia.secagg.keys import IdentityKey, SessionKey, pair_keys
from pharmonia.secagg.masks import SEED_BYTES, MaskSum, open_box, seal_shares, sum_masks
from pharmonia.secagg.messages import ConfirmedSurvivors, MaskedUpdate, Ready, Reveal, SurvivorSet, SurvivorSignature
from pharmonia.secagg.records import MaskRecord
from pharmonia.secagg.roster import Directory, is_signed
from pharmonia.secagg.streams import mask_key
from pharmonia.secagg.survivors import refusal
from pharmonia.secagg.wire import digest, u64

KEPT_RECORDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Between rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """READY is said; a header may come."""

    round_index: int
    layout: Layout
    model_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A masked update has left in tier B; a set of survivors may come."""

    header: RoundHeader
    own_share: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A set of survivors is signed; its confirmation may come."""

    header: RoundHeader
    own_share: bytes = field(repr=False)
    survivors: SurvivorSet


Phase = Idle | Committed | Masked | Signed
PhaseT = TypeVar("PhaseT", Committed, Masked, Signed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outgoing:
    """What masking an update gives, in the order in which the shell must act on it.

    Args:
        record: To be on disk before anything is sent.
        message: To be sent then.
        session: To go on with.
    """

    record: MaskRecord
    message: MaskedUpdate
    session: "PartnerSession"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnerSession:
    """A partner within one session; made by `open_session`.

    Guarantees:
        no_two_updates_under_one_header: A round is masked once, and only a higher one after it.
        no_update_under_two_rosters: The same update is never masked again among other contributors; in tier B, once we
            have signed the survivors of its sum, among others than these.
        a_clipped_update_is_noise: What leaves for an update with elements beyond the clip limit does not depend on it.
        too_few_contributors_are_refused: A header or set of survivors below the minimum gets nothing.
        one_answer_per_round: After one set of survivors is signed, no other is, and it is answered once.
    """

    partner: str
    identity: IdentityKey = field(repr=False)
    directory: Directory
    pair_keys: Mapping[str, bytes] = field(repr=False)
    records: tuple[MaskRecord, ...]  # the latest, oldest first
    phase: Phase = field(repr=False)

    @property
    def last_round(self) -> int:
        """The highest round that was masked; -1 before the first."""
        return max((record.round_index for record in self.records), default=-1)

    def commit(self, round_index: int, layout: Layout, model_digest: bytes) -> tuple["PartnerSession", Ready]:
        """Say READY for a round; the step that it replaces, if any, is given up.

        Raises:
            ReplayError: Not above the last round that was masked.
        """
        if not self.last_round < round_index <= MAX_ROUND:
            raise ReplayError(f"{self.partner}: round {round_index} comes after {self.last_round}; nothing was masked")
        ready = Ready(
            partner=self.partner,
            session=self.directory.roster.session,
            round_index=round_index,
            layout_digest=layout.digest,
            model_digest=model_digest,
        )
        phase = Committed(round_index=round_index, layout=layout, model_digest=model_digest)
        return replace(self, phase=phase), ready

    def check_header(self, header: RoundHeader) -> None:
        """Refuse a header that `prepare_mask` would refuse, before any time is spent on it; raises as that does."""
        self._check(header)

    def prepare_mask(self, header: RoundHeader) -> MaskSum:
        """The sum of our masks under a header; it needs no update, so it can be made while the partner trains.

        Raises:
            HeaderError: The header breaks our terms, or is not for what we committed to.
            ReplayError: Its round is one that was masked.
            MessageError: We did not say READY.
        """
        self._check(header)
        seed = os.urandom(SEED_BYTES) if header.tier is Tier.DROPOUT_TOLERANT else b""
        return sum_masks(header, self.partner, self.pair_keys, seed)

    def masked_update(self, mask: MaskSum, values: Values, weight: int) -> Outgoing:
        """Encode an update onto its mask.

        Args:
            mask: Of `prepare_mask`; spent by this call.
            values: (length,) float32 or float64, in the committed layout.
            weight: 1 to W_max of the header.

        Raises:
            UpdateError: The update cannot be used.
            ReplayError: The same update was masked among other contributors, or the round is one that was masked.
            HeaderError, MessageError: As `prepare_mask`; a mask used before.
        """
        header = mask.header
        layout = self._check(header).layout
        if header.is_counts:
            raise MessageError(f"round {header.round_index} sums counts, not values")
        words = mask.take()
        extent = encode_onto(words, values, layout, header, weight)
        print_ = digest("update", layout.digest, u64(weight), extent.extrema) if extent.extrema else b""
        return self._outgoing(mask, words, print_)

    def masked_counts(self, mask: MaskSum, touched: npt.NDArray[np.bool_]) -> Outgoing:
        """Add the bitmap of touched rows onto its mask; else as `masked_update`."""
        header = mask.header
        layout = self._check(header).layout
        if not header.is_counts:
            raise MessageError(f"round {header.round_index} sums values, not counts")
        words = mask.take()
        encode_counts_onto(words, touched)
        print_ = digest("counts", layout.digest, np.packbits(touched).tobytes()) if touched.any() else b""
        return self._outgoing(mask, words, print_)

    def _outgoing(self, mask: MaskSum, words: npt.NDArray[np.unsignedinteger], print_: bytes) -> Outgoing:
        header = mask.header
        record = MaskRecord(
            session=header.session,
            round_index=header.round_index,
            update_digest=print_,
            contributors_digest=_contributors_digest(header.contributors),
        )
        if any(record.is_same_update_elsewhere(other) for other in self.records):
            raise ReplayError(f"{self.partner}: this update was masked among other contributors; draw a new step")
        phase: Phase = Idle()
        boxes: tuple[bytes, ...] = ()
        if header.tier is Tier.DROPOUT_TOLERANT:
            threshold = self.directory.roster.share_threshold(len(header.contributors))
            boxes, own = seal_shares(header, self.partner, self.pair_keys, mask, threshold)
            phase = Masked(header=header, own_share=own)
        message = MaskedUpdate(
            partner=self.partner,
            round_digest=header.digest,
            words=words,
            seed_digest=digest("seed", mask.seed) if mask.seed else b"",
            boxes=boxes,
        )
        records = (*self.records, record)[-KEPT_RECORDS:]
        return Outgoing(record=record, message=message, session=replace(self, records=records, phase=phase))

    def sign_survivors(self, survivors: SurvivorSet) -> tuple["PartnerSession", SurvivorSignature]:
        """Vouch for the set of survivors of our last round.

        Raises:
            SurvivorsError: Another round's set, one without us, one that may not be unmasked, or a second one.
        """
        if isinstance(self.phase, Signed):
            raise SurvivorsError(f"{self.partner} has signed the survivors of this round; a second set gets nothing")
        phase = self._expect(Masked)
        header = phase.header
        if survivors.round_digest != header.digest or self.partner not in survivors.survivors:
            raise SurvivorsError(f"{self.partner}: these are not the survivors of our round, or we are not among them")
        if reason := refusal(self.directory.roster, header, survivors.survivors):
            raise SurvivorsError(f"{self.partner} signs no such survivors: {reason}")
        signature = SurvivorSignature(
            partner=self.partner, round_digest=header.digest, signature=self.identity.sign(survivors.text)
        )
        signed = Signed(header=header, own_share=phase.own_share, survivors=survivors)
        among = replace(self.records[-1], contributors_digest=_contributors_digest(survivors.survivors))
        return replace(self, phase=signed, records=(*self.records[:-1], among)), signature

    def reveal(self, confirmed: ConfirmedSurvivors) -> tuple["PartnerSession", Reveal]:
        """Our shares of the survivors' self-masks and our round keys with lost neighbours, once.

        Raises:
            SurvivorsError: Not the set that we signed, too few valid signatures on it, or a box that does not open.
        """
        phase = self._expect(Signed)
        header, alive = phase.header, phase.survivors.survivors
        if confirmed.survivors != phase.survivors:
            raise SurvivorsError(f"{self.partner}: these are not the survivors that we signed")
        self._check_signatures(header, confirmed)
        others = [other for other in alive if other != self.partner]
        if len(confirmed.boxes) != len(others):
            raise SurvivorsError(f"{self.partner}: expected {len(others)} boxes, got {len(confirmed.boxes)}")
        rh = header.digest
        shares = {self.partner: phase.own_share}
        for other, box in zip(others, confirmed.boxes, strict=True):
            shares[other] = open_box(rh, other, self.partner, self.pair_keys[other], box)
        lost = [other for other in neighbours(header, self.partner) if other not in alive]
        answer = Reveal(
            partner=self.partner,
            round_digest=rh,
            shares=tuple(shares[other] for other in alive),
            mask_keys=tuple(mask_key(self.pair_keys[other], rh) for other in lost),
        )
        return replace(self, phase=Idle()), answer

    def _check_signatures(self, header: RoundHeader, confirmed: ConfirmedSurvivors) -> None:
        roster = self.directory.roster
        needed = roster.share_threshold(len(header.contributors))
        foreign = set(confirmed.signers) - set(confirmed.survivors.survivors)
        if foreign or len(confirmed.signers) < needed:
            raise SurvivorsError(f"{needed} survivors must sign, got {confirmed.signers}")
        for signer, signature in zip(confirmed.signers, confirmed.signatures, strict=True):
            if not is_signed(roster.identity_of(signer), signature, confirmed.survivors.text):
                raise SurvivorsError(f"{self.partner}: {signer} did not sign these survivors")

    def _check(self, header: RoundHeader) -> Committed:
        if header.round_index <= self.last_round:
            raise ReplayError(f"{self.partner}: round {header.round_index} was masked before; nothing leaves")
        phase = self._expect(Committed)
        _check_terms(self.directory, header, self.partner)
        if (header.round_index, header.model_digest) != (phase.round_index, phase.model_digest):
            raise HeaderError(f"{self.partner}: not the round or model of our READY for round {phase.round_index}")
        n_scales = 0 if header.is_counts else len(phase.layout.lengths)
        layout = (header.layout_digest, header.length, len(header.exponents))
        if layout != (phase.layout.digest, phase.layout.length, n_scales):
            raise HeaderError(f"{self.partner}: round {header.round_index} is for another layout than ours")
        return phase

    def _expect(self, kind: type[PhaseT]) -> PhaseT:
        if not isinstance(self.phase, kind):
            raise MessageError(f"{self.partner} is {type(self.phase).__name__}, not {kind.__name__}: out of order")
        return self.phase


def _contributors_digest(partners: tuple[str, ...]) -> bytes:
    return digest("contributors", *map(str.encode, partners))


def _check_terms(directory: Directory, header: RoundHeader, partner: str) -> None:
    roster, ids = directory.roster, header.contributors
    n = len(ids)
    if header.session != roster.session or not set(ids) <= set(directory.partners) or partner not in ids:
        raise HeaderError(f"{partner}: a round of another session, with foreign partners or without us: {ids}")
    if n < roster.min_contributors:
        raise HeaderError(f"{partner}: {n} contributors cannot hide us; the agreement asks {roster.min_contributors}")
    if header.degree != roster.degree(n):
        raise HeaderError(f"{partner}: {n} partners have {roster.degree(n)} neighbours each, not {header.degree}")


def open_session(
    *, partner: str, identity: IdentityKey, key: SessionKey, directory: Directory, records: tuple[MaskRecord, ...] = ()
) -> PartnerSession:
    """A session with its pair keys derived.

    Args:
        partner: Our id.
        identity: Our long-term key, which signs survivors.
        key: Our session key; not needed after this call.
        directory: Everyone's checked session keys.
        records: What the shell persisted for this session, oldest first.

    Raises:
        KeyExchangeError: The directory does not hold our key, or our identity is not the pinned one.
        ReplayError: Records of another session.
    """
    if any(record.session != directory.roster.session for record in records):
        raise ReplayError(f"{partner}: the records are of another session")
    if directory.roster.identity_of(partner) != identity.public:
        raise KeyExchangeError(f"{partner}: the roster pins another identity than ours")
    keys = pair_keys(directory, partner, key)
    return PartnerSession(
        partner=partner,
        identity=identity,
        directory=directory,
        pair_keys=keys,
        records=records[-KEPT_RECORDS:],
        phase=Idle(),
    )
