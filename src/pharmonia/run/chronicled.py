"""An engine under a plan: what it carries is on the ledger first."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pharmonia.base.errors import (
    PharmoniaError,
    RefusedError,
)
from pharmonia.learn.messages import Finish, decode, is_learning_frame
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.engine import Engine, Exchange, Incoming, OnReply
from pharmonia.run.refusals import Refusal, decode_refusal, is_refusal
from pharmonia.secagg.header import RoundHeader
from pharmonia.secagg.messages import SurvivorSet
from pharmonia.secagg.messages import decode as decode_secure


class Chronicled:
    """An engine whose rounds and refusals are on the ledger before their frames go on."""

    def __init__(self, engine: Engine, chronicle: Chronicle, contributors: Sequence[str], *, masked: bool) -> None:
        """Contributors: partners of a plain round, which has no header to name them."""
        self._engine = engine
        self._chronicle = chronicle
        self._contributors = tuple(contributors)
        self._masked = masked
        self._session = secrets.token_hex(32)  # of a plain run; a secure one has its own
        self._n_plain = 0

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        return self._engine.partners

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """Carry the frames; a header is recorded before it, a refusal before any error, and not handed on.

        Raises:
            RefusedError: A party refuses; with the reasons of all who do.
            PharmoniaError: As `Engine.carry`, whoever refuses besides.
        """
        for frame in set(frames.values()):
            self._note(frame)
        refusals: dict[str, Refusal] = {}

        def hand_on(partner: str, reply: Incoming) -> None:
            short = reply.at_hand
            if short is not None and is_refusal(short):
                refusals[partner] = decode_refusal(short)
            else:
                on_reply(partner, reply)

        absent = self._chronicle.absent  # to them no header goes that is not on their copy
        there = {partner: frame for partner, frame in frames.items() if partner not in absent}
        try:
            exchange = self._engine.carry(there, hand_on)
        except BaseException:
            for partner in self.partners:
                if partner in refusals:
                    with suppress(PharmoniaError):  # nothing hides what ended the exchange
                        self._chronicle.declined(refusals[partner])
            raise
        if refusals:
            ordered = [refusals[partner] for partner in self.partners if partner in refusals]
            self._chronicle.refused(ordered)
            raise RefusedError("; ".join(refusal.reason for refusal in ordered))
        gone = {partner: f"{partner}: its ledger cannot be reached" for partner in frames if partner in absent}
        return replace(exchange, lost={**gone, **exchange.lost})

    def _note(self, frame: bytes) -> None:
        if self._masked and not is_learning_frame(frame):
            message = decode_secure(frame)
            if isinstance(message, RoundHeader):
                session, digest = message.session.hex(), message.digest.hex()
                self._chronicle.opened(session, message.round_index, digest, message.contributors)
            elif isinstance(message, SurvivorSet):
                self._chronicle.stayed(message.survivors)
        elif not self._masked and not isinstance(decode(frame), Finish):
            digest = hashlib.sha256(frame).hexdigest()
            self._chronicle.opened(self._session, self._n_plain, digest, self._contributors)
            self._n_plain += 1
