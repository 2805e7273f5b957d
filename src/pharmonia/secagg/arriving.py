"""Masked updates added to a round of tier A while they arrive: nobody holds a whole one.

READ THIS FIRST: `Arriving.add` reads one update's frame to its end; several may be read side by side, each by a thread
of its own. Who sent it, under which header and how many words is checked before a word is added, whether the frame is
undamaged only at its end, so that an update that breaks off leaves a total that nobody can use: `Arriving.round` says
so. A round that shall outlive a lost partner (tier B) adds whole updates (`ServerRound.add`).
"""

from collections.abc import Iterable, Iterator
from threading import Lock

import numpy as np

from pharmonia.base.errors import MessageError
from pharmonia.secagg.header import Tier, Words
from pharmonia.secagg.messages import Kind, MaskedUpdate
from pharmonia.secagg.server import ServerRound
from pharmonia.secagg.wire import CHECK_BYTES, MAGIC, PREFIX_BYTES, Check, number_of, text_of

_CHUNK_BYTES = 1 << 20  # of words that are added at once
_ON_THE_WAY = -1  # updates in a total to which parts are added: no state of the round is at one with it
_MAX_FIELD_BYTES = 64  # an id; the other fields before the words are shorter


class Arriving:
    """The updates of one round on their way into its total.

    Guarantees:
        one_thread_adds: This object's lock is held while words are added or the round's state changes, and only then.
        a_broken_total_is_not_used: Once an update broke off or was refused, the round is lost.
    """

    def __init__(self, opened: ServerRound) -> None:
        """Opened: a round to which nothing was added; it is used up.

        Raises:
            MessageError: Updates were added to it, or it is of tier B.
        """
        if opened.header.tier is not Tier.COMMIT_THEN_MASK or opened.arrived or opened.total.n_added:
            raise MessageError(f"round {opened.header.round_index} takes whole updates only")
        self._round = opened
        self._lock = Lock()
        self._n_whole = 0
        self._is_lost = False
        opened.total.words.fill(0)
        opened.total.n_added = _ON_THE_WAY

    def add(self, length: int, parts: Iterable[bytes]) -> None:
        """Add the update in a frame.

        Args:
            length: Of the frame.
            parts: The frame, from its beginning.

        Raises:
            MessageError: No masked update, damaged or cut short, or one that `ServerRound.add` refuses.
        """
        try:
            self._add(_Frame(length, parts))
        except BaseException:
            self._is_lost = True
            raise

    def _add(self, frame: "_Frame") -> None:
        update = _read_head(frame)
        with self._lock:
            self._round.check(update)
            self._round = self._round.with_arrived(update)  # a second update of this partner is refused from here on
        total, start = self._round.total.words, 0
        for words in _words(frame, update.words.dtype):
            with self._lock:
                np.add(total[start : start + words.size], words, out=total[start : start + words.size])
            start += words.size
        frame.require_end()
        with self._lock:
            self._n_whole += 1

    def round(self) -> ServerRound:
        """The round with all updates that were added.

        Raises:
            MessageError: One was refused, broke off or is still on its way.
        """
        with self._lock:
            if self._is_lost or self._n_whole != len(self._round.arrived):
                raise MessageError(f"round {self._round.header.round_index} is lost: an update did not arrive whole")
            self._round.total.n_added = self._n_whole
            return self._round


class _Frame:
    """A frame of so many bytes that is read from its beginning and checked on the way."""

    def __init__(self, length: int, parts: Iterable[bytes]) -> None:
        self.n_left = length - CHECK_BYTES  # before the check
        self._parts = iter(parts)
        self._part = memoryview(b"")
        self._check = Check()

    def take(self, n: int) -> bytes:
        """The next bytes of what is checked."""
        if n > self.n_left:
            raise MessageError("a frame is cut short")
        self.n_left -= n
        taken = self._next(n)
        self._check.update(taken)
        return taken

    def field(self) -> bytes:
        """The next short field."""
        size = number_of(self.take(PREFIX_BYTES))
        if size > _MAX_FIELD_BYTES:
            raise MessageError(f"a masked update has no field of {size} bytes before its words")
        return self.take(size)

    def require_end(self) -> None:
        """Refuse a frame that is damaged, or longer than it was said to be."""
        if self._next(CHECK_BYTES) != self._check.value() or self._part or any(self._parts):
            raise MessageError("a frame's check does not match: it is damaged or truncated")

    def _next(self, n: int) -> bytes:
        pieces = []
        while n:
            if not self._part:
                self._part = memoryview(self._read())
            piece, self._part = self._part[:n], self._part[n:]
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)

    def _read(self) -> bytes:
        part = next(self._parts, None)
        if part is None:
            raise MessageError("a frame is cut short")
        return part


def _read_head(frame: _Frame) -> MaskedUpdate:
    """The update with words that are not here yet, of the type and number that it says."""
    magic, kind = frame.take(len(MAGIC)), frame.take(1)[0]
    if magic != MAGIC or kind not in set(Kind):
        raise MessageError(f"expected a frame of version {MAGIC!r} and a known kind, got {magic!r} and {kind}")
    if kind != Kind.MASKED_UPDATE:
        raise MessageError(f"expected a MaskedUpdate frame, got {Kind(kind).name.title().replace('_', '')}")
    partner, round_digest, seed_digest, boxes, size = (frame.field() for _ in range(5))
    n_bytes = number_of(frame.take(PREFIX_BYTES))
    if size not in (b"\x02", b"\x04") or n_bytes != frame.n_left or n_bytes % size[0] or boxes:
        raise MessageError("a masked update of tier A holds whole words of 2 or 4 bytes and no boxes")
    pending = np.broadcast_to(np.zeros((), dtype=np.dtype(f"<u{size[0]}")), n_bytes // size[0])
    return MaskedUpdate(
        partner=text_of(partner), round_digest=round_digest, words=pending, seed_digest=seed_digest, boxes=()
    )


def _words(frame: _Frame, dtype: np.dtype[np.unsignedinteger]) -> Iterator[Words]:
    """The words after the head, some at a time."""
    while frame.n_left:
        yield np.frombuffer(frame.take(min(frame.n_left, _CHUNK_BYTES)), dtype=dtype)
